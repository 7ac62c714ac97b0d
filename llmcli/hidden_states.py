"""The hidden states of a prompt: the event with which a backend answers ``Request.hidden_states``."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class HiddenStates:
    """The states that the model's last layer computes for a prompt, after the final norm.

    ``mean``: over all tokens of the rendered prompt, special tokens included; ``last``: of its last token. Both are
    little-endian 32-bit floats, as many as the model is wide. With candidates, the prompt ends where the first
    candidate differs from it. It precedes scores and text; a request that a crash of its worker repeats may have it twice.
    """

    id: str
    mean: bytes
    last: bytes
