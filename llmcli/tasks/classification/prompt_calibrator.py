"""Probabilities of labels from a regression on the labelled texts of a prompt file, made once for each model.

A small model's hidden states tell more about a text than its answer does. The prompt file brings texts with their labels
(``labelled_texts``); the model reads them once, and a regularized softmax regression on its hidden states says what they
mean. It replaces the correction by content-free texts, and costs no further evaluation for a record.
"""

from __future__ import annotations

import base64
import json
import math
import struct
import zlib
from collections.abc import Mapping, Sequence
from contextlib import suppress
from operator import mul
from pathlib import Path
from typing import Any

from llmcli.backends.base import Backend, run_requests
from llmcli.errors import RequestRejected, Unsupported
from llmcli.files import private_files
from llmcli.frozen_dataclass import frozen
from llmcli.tasks.calibration.feature_blocks import state_values, text_values
from llmcli.tasks.classification.label_scores import to_probabilities
from llmcli.tasks.execution.response_buffer import ResponseBuffer, raise_request_error, require_finished
from llmcli.types import HiddenStates, Request

MIN_PARAMETERS = 10_000_000
MAX_PARAMETERS = 200_000_000
"""A model of 270 million weights gains on some kinds of texts and loses on others; larger ones would read for long."""

Coefficients = Mapping[str, Sequence[Sequence[float]]]
"""By block of features: for each label the coefficients of the block's values."""


@frozen
class PromptCalibrator:
    """A ``LabelCalibrator``: softmax of ``bias`` plus the products of ``coefficients`` and features."""

    labels: tuple[str, ...]
    bias: Sequence[float]
    coefficients: Coefficients

    @property
    def needs_hidden_states(self) -> bool:
        """True: they are what it is for."""
        return True

    def calibrate(self, raw: Mapping[str, float], states: HiddenStates | None) -> dict[str, float]:
        """Return the probability of each label. Raises ``Unsupported`` without states."""
        del raw
        if states is None:
            raise Unsupported("hidden states")
        values, logits = text_values(states), dict(zip(self.labels, self.bias, strict=True))
        for name, rows in self.coefficients.items():
            for label, row in zip(self.labels, rows, strict=True):
                logits[label] += math.fsum(map(mul, row, values[name]))
        return to_probabilities(logits)


def can_learn(parameters: int | None) -> bool:
    """Whether a model of this size (None: unknown) learns from the texts of a prompt file."""
    return parameters is not None and MIN_PARAMETERS <= parameters <= MAX_PARAMETERS


def calibrate_prompt(
    backend: Backend, requests: Sequence[Request], targets: Sequence[str], directory: Path | None
) -> PromptCalibrator | None:
    """Return the calibrator for requests that score labels for texts, whose labels are ``targets``.

    The result is kept in ``directory`` (None: not kept) with what it depends on. The requests ask for hidden states; None:
    the model or server has none. Raises the failure of a request.
    """
    if not requests:
        return None
    labels = requests[0].candidates
    key = _make_key(backend.info().model_id, requests, targets)
    file = None if directory is None else directory / f"{zlib.crc32(key.encode()):08x}.json"
    known = _load(file, key, labels)
    if known is not None:
        return known
    try:
        answers = _evaluate(backend, requests)
    except (Unsupported, RequestRejected):
        return None
    found = _fit(answers, targets, labels)
    if found is not None:
        _save(file, key, found)
    return found


def _evaluate(backend: Backend, requests: Sequence[Request]) -> list[ResponseBuffer]:
    answers = {request.id: ResponseBuffer() for request in requests}
    for event in run_requests(backend, requests):
        answers[event.id].add_event(event)
    for answer in answers.values():
        raise_request_error(require_finished(answer))
    return list(answers.values())


def _fit(answers: Sequence[ResponseBuffer], targets: Sequence[str], labels: tuple[str, ...]) -> PromptCalibrator | None:
    """Return the calibrator; None if an answer has no hidden states."""
    from llmcli.tasks.calibration.text_fit import fit_texts

    values = [text_values(answer.states) for answer in answers if answer.states is not None]
    if len(values) < len(answers):
        return None
    bias, coefficients = fit_texts(values, [labels.index(target) for target in targets], len(labels))
    return PromptCalibrator(labels, bias, coefficients)


def _make_key(model_id: str, requests: Sequence[Request], targets: Sequence[str]) -> str:
    """Return everything that the calibrator depends on, as a text."""
    first = [[message.role.value, message.content] for message in requests[0].messages]
    texts = [request.messages[-1].content for request in requests]
    return json.dumps([_VERSION, model_id, first, texts, list(targets), list(requests[0].candidates)])


_VERSION = 1
"""Of the regression: another one makes kept calibrators useless."""


def _load(file: Path | None, key: str, labels: tuple[str, ...]) -> PromptCalibrator | None:
    """Return a calibrator that was kept; None if there is none that can be used."""
    if file is None:
        return None
    try:
        kept = json.loads(file.read_bytes())
        if kept["key"] != key:
            return None
        coefficients = {name: [_unpack(row) for row in rows] for name, rows in kept["coefficients"].items()}
        bias = _unpack(kept["bias"])
    except (OSError, ValueError, TypeError, KeyError, AttributeError, RecursionError, struct.error):
        return None  # the texts are then read again
    complete = len(bias) == len(labels) and all(len(rows) == len(labels) for rows in coefficients.values())
    return PromptCalibrator(labels, bias, coefficients) if complete else None


def _unpack(value: str) -> Sequence[float]:
    """Return finite numbers. Raises ``ValueError``, ``TypeError`` and ``struct.error`` for what ``_pack`` did not write."""
    values = state_values(base64.b64decode(value, validate=True))
    if not all(map(math.isfinite, values)):
        raise ValueError(value)
    return values


def _pack(values: Sequence[float]) -> str:
    return base64.b64encode(struct.pack(f"<{len(values)}f", *values)).decode()


def _save(file: Path | None, key: str, found: PromptCalibrator) -> None:
    if file is not None:
        rows: dict[str, Any] = {name: [*map(_pack, each)] for name, each in found.coefficients.items()}
        content = {"key": key, "bias": _pack(found.bias), "coefficients": rows}
        with suppress(OSError):  # a cache that cannot be written costs the requests at the next start
            private_files.make_directory(file.parent)
            private_files.replace_file(file, json.dumps(content).encode())
