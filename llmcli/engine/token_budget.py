"""How many prompt tokens a step may evaluate: as many as those who wait for its end can bear."""

from __future__ import annotations

from collections.abc import Sequence as SequenceOf

from llmcli.engine.compute_thread import LONG_STEP_S
from llmcli.engine.sequence import Sequence

INTERACTIVE_STALL_S = 0.4
"""Seconds for which a step may hold up interactive sequences that are decoding."""
BULK_STALL_S = 1.0
_FIRST_TOKENS = 128
"""Prompt tokens of a step that others wait for, before it is known how long they take."""
_MIN_TOKENS = 16
_EFFICIENT_TOKENS = 64
"""Prompt tokens of which one takes hardly longer than in a larger piece."""


class TokenBudget:
    """Knows what a prompt token took lately: ``token_s`` seconds, None before the first."""

    def __init__(self) -> None:
        self.token_s: float | None = None

    def record(self, token_s: float) -> None:
        """Note what a token of a step with prompts took."""
        self.token_s = token_s if self.token_s is None else 0.5 * (self.token_s + token_s)

    def tokens(self, runnable: SequenceOf[Sequence], longest_s: float, capacity: int) -> int:
        """Return the prompt tokens of a step that may take about ``longest_s`` seconds, ``capacity`` at most."""
        decoding = [sequence for sequence in runnable if sequence.decoding]
        waited_for = bool(decoding) or longest_s < LONG_STEP_S
        if not self.token_s:
            return _FIRST_TOKENS if waited_for else capacity
        bound_s = longest_s
        if decoding:
            interactive = any(sequence.interactive for sequence in decoding)
            bound_s = min(bound_s, INTERACTIVE_STALL_S if interactive else BULK_STALL_S)
        least = _MIN_TOKENS if waited_for else _EFFICIENT_TOKENS
        return int(max(least, min(capacity, bound_s / self.token_s)))
