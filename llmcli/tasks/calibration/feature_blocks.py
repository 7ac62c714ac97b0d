"""The names of the blocks of features, and features of one text as plain numbers: without numpy, for warm commands."""

from __future__ import annotations

import struct
from collections.abc import Iterable, Mapping, Sequence

from llmcli.types import HiddenStates

SCORES = "scores"
"""The block of label scores: a column a label, natural-log probabilities."""
MEAN = "mean"
"""The block of hidden states, averaged over the tokens of a text. Of another layer than the last one:
``state_block``."""
LAST = "last"
"""The block of hidden states of the last token of the prompt, from which the model answers; likewise."""
PROBE = "probe"
"""The block of the linear probe that ships with llm: a column a label, log-probabilities less their mean."""
_MIN_LOGPROB = -50.0
"""Nats. A label that is rarer than this, or impossible, gets this score."""


def score_values(logprobs: Mapping[str, float]) -> list[float]:
    """Return the values of the block of scores."""
    return [max(value, _MIN_LOGPROB) for value in logprobs.values()]


def probe_values(logprobs: Mapping[str, float]) -> list[float]:
    """Return the values of the probe's block: its logits less their mean, which are linear in the hidden states."""
    values = score_values(logprobs)
    mean = sum(values) / len(values)
    return [value - mean for value in values]


def state_values(state: bytes) -> Sequence[float]:
    """Return the values of a hidden state (little-endian 32-bit floats)."""
    return struct.unpack(f"<{len(state) // 4}f", state)


def state_bytes(values: Sequence[float]) -> bytes:
    """Return a hidden state with these values: the inverse of ``state_values``."""
    return struct.pack(f"<{len(values)}f", *values)


_LAYER_MARK = "@"


def state_block(kind: str, layer: int | None) -> str:
    """Return the name of the block ``MEAN`` or ``LAST`` after a layer; None: after the last one."""
    return kind if layer is None else f"{kind}{_LAYER_MARK}{layer}"


def split_block(name: str) -> tuple[str, int | None]:
    """Return the kind of a block, and the layer after which its states are; None: the last one, or no states."""
    kind, _, layer = name.partition(_LAYER_MARK)
    return kind, int(layer) if layer else None


def read_layers(names: Iterable[str]) -> tuple[int, ...]:
    """Return the layers of the blocks with these names, for ``Request.state_layers``."""
    return tuple(sorted({layer for _, layer in map(split_block, names) if layer is not None}))


def text_values(states: HiddenStates) -> dict[str, Sequence[float]]:
    """Return the values of each block of hidden states for one text."""
    layers = states.layers or (None,)
    found = {}
    for kind, state in ((MEAN, states.mean), (LAST, states.last)):
        width = len(state) // len(layers)
        for number, layer in enumerate(layers):
            found[state_block(kind, layer)] = state_values(state[number * width : (number + 1) * width])
    return found
