"""Probabilities of labels from a model's hidden states, by a linear probe that ships with llm.

A small model's hidden states tell more about a text than its answer does. A linear probe is a softmax regression on
them (Alain and Bengio 2016, Understanding intermediate layers using linear classifier probes). It was fitted to one
model and one prompt, on texts whose labels are known (``benchmarks/sentiment_probe.py``), and takes the place of the
correction by content-free texts. It costs no further evaluation of a record.

The model is known by the SHA-256 of its file (``BackendInfo.model_id``). Its copies in other types of weights have the
same id and nearly the same states, so the probe applies to all of them. With an adapter, the id is another one.
"""

from __future__ import annotations

import base64
import json
import math
from collections.abc import Mapping, Sequence
from operator import mul
from pathlib import Path

from llmcli.errors import Unsupported
from llmcli.fast_dataclass import frozen
from llmcli.tasks.calibration.feature_blocks import read_layers, state_bytes, state_values, text_values
from llmcli.tasks.labels.label_scores import to_probabilities
from llmcli.types import HiddenStates, Request


@frozen
class LinearProbe:
    """A ``LabelCalibrator``: softmax of ``bias`` plus the products of ``coefficients`` and hidden states.

    ``bias`` has a value for each label; ``coefficients`` have, by block of features, a row of them for each label.
    ``model_id`` and ``messages``, those of a request without a text, say what it was fitted to.
    """

    model_id: str
    messages: Sequence[Sequence[str]]
    labels: Sequence[str]
    bias: Sequence[float]
    coefficients: Mapping[str, Sequence[Sequence[float]]]

    def fits(self, model_id: str, request: Request) -> bool:
        """Whether it was fitted to this model and to the prompt of ``request``, which has an empty text."""
        return (self.model_id, self.messages, self.labels) == (model_id, message_texts(request), [*request.candidates])

    @property
    def needs_hidden_states(self) -> bool:
        """True: they are all that it uses."""
        return True

    @property
    def needs_scores(self) -> bool:
        """False: a fifth of the time of a record is saved."""
        return False

    @property
    def second_stage(self) -> None:
        """None: it is no cascade."""
        return None

    @property
    def state_layers(self) -> tuple[int, ...]:
        """The layers of its blocks."""
        return read_layers(self.coefficients)

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


def message_texts(request: Request) -> list[list[str]]:
    """Return role and content of each message."""
    return [[message.role.value, message.content] for message in request.messages]


def load_probe(file: Path) -> LinearProbe:
    """Return the probe of a file that ``encode_probe`` wrote."""
    kept = json.loads(file.read_bytes())
    rows = {name: [_decode(row) for row in rows] for name, rows in kept["coefficients"].items()}
    return LinearProbe(kept["model_id"], kept["messages"], kept["labels"], kept["bias"], rows)


def encode_probe(probe: LinearProbe) -> str:
    """Return a probe as JSON; coefficients become 32-bit floats in base64."""
    rows = {name: [_encode(row) for row in rows] for name, rows in probe.coefficients.items()}
    content = {"model_id": probe.model_id, "labels": probe.labels, "messages": probe.messages, "bias": probe.bias}
    return json.dumps({**content, "coefficients": rows}, indent=1) + "\n"


def _decode(row: str) -> Sequence[float]:
    return state_values(base64.b64decode(row))


def _encode(row: Sequence[float]) -> str:
    return base64.b64encode(state_bytes(row)).decode()
