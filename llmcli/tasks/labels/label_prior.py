"""A model's prior of labels: what it answers when the text says nothing; measured once and kept in the cache."""

from __future__ import annotations

import json
import math
import zlib
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from llmcli.backends.base import Backend
from llmcli.files import private_files
from llmcli.tasks.labels.label_scores import label_logprobs, mean_prior
from llmcli.tasks.runner.task_run import ask_all
from llmcli.types import Request

_COUNTED_SAMPLES = "samples"
_MAX_PRIOR = 50.0
"""Nats. A label that is rarer than this has no usable prior."""


def measure_prior(backend: Backend, requests: Sequence[Request], directory: Path | None) -> dict[str, float] | None:
    """Return the log-probabilities of the labels without content, by contextual calibration (see ``label_scores``).

    ``requests`` score the labels for content-free texts (Zhao et al. 2021: "N/A", "[MASK]", the empty text), with the
    prompt that records get. The result is kept in ``directory`` (None: not kept) with what it depends on: the model's
    weights, the rendered messages and the labels. None: there are no such texts, or the server only counts sampled
    answers, which are too coarse to divide by. Raises the failure of a request.
    """
    if not requests:
        return None
    key = prior_key(backend.info().model_id, requests)
    file = None if directory is None else directory / f"{zlib.crc32(key.encode()):08x}.json"
    known = _load_prior(file, key, requests[0].candidates)
    if known is not None:
        return known
    found: list[Mapping[str, float]] = []
    for group in (requests[:1], requests[1:]):  # a server that only counts samples is asked once
        for answer in ask_all(backend, group):
            if answer.method == _COUNTED_SAMPLES:
                return None
            found.append(label_logprobs(answer.scores))
    prior = mean_prior(found)
    if not all(math.isfinite(value) and value > -_MAX_PRIOR for value in prior.values()):
        return None
    _save_prior(file, key, prior)
    return prior


def prior_key(model_id: str, requests: Sequence[Request]) -> str:
    """Return everything that a prior depends on, as a text. It is kept with the prior: a hash takes 3 ms to import."""
    said = [[[message.role.value, message.content] for message in request.messages] for request in requests]
    return json.dumps([model_id, said, list(requests[0].candidates)])


def _load_prior(file: Path | None, key: str, labels: Sequence[str]) -> dict[str, float] | None:
    """Return a prior that was kept; None if there is none that can be used."""
    if file is None:
        return None
    try:
        kept = json.loads(file.read_bytes())
    except (OSError, ValueError, RecursionError):  # the prior is then measured again
        return None
    prior = kept.get("prior") if isinstance(kept, dict) and kept.get("key") == key else None
    if not isinstance(prior, dict) or list(prior) != list(labels):
        return None
    if not all(isinstance(value, float | int) and math.isfinite(value) for value in prior.values()):
        return None
    return prior


def _save_prior(file: Path | None, key: str, prior: Mapping[str, float]) -> None:
    if file is not None:
        with suppress(OSError):  # a cache that cannot be written costs a few requests at the next start
            private_files.make_directory(file.parent)
            private_files.replace_file(file, json.dumps({"key": key, "prior": prior}).encode())
