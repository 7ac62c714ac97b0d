"""How many prompt tokens a step may evaluate: fewer while other sequences wait for its end."""

from __future__ import annotations

from collections.abc import Sequence as SequenceOf

from llmcli.engine.llama.compute_thread import LONG_STEP_S
from llmcli.engine.sequences.sequence import Sequence

INTERACTIVE_STALL_S = 0.4
"""Seconds for which a step may delay interactive sequences that are decoding."""
BULK_STALL_S = 1.0
_INITIAL_PREFILL_TOKENS = 64
"""Prompt tokens of a step that others wait for, until their duration is known: few enough that a first step ends soon."""
_MIN_PREFILL_TOKENS = 16
_EFFICIENT_PREFILL_TOKENS = 64
"""Size of a chunk in prompt tokens from which larger chunks are hardly faster per token."""
_TYPICAL_PREFILL_TOKENS = 256
"""Prompt tokens of a step whose duration counts in full. Short steps take more seconds per token: with flash attention
llama.cpp evaluates fewer than 64 tokens one by one (``GGML_FA_TILE_Q``), up to nine times as long for each."""


class TokenBudget:
    """Measures prompt tokens: the last ones took about ``token_s`` seconds each, None before the first."""

    def __init__(self) -> None:
        self.token_s: float | None = None
        self._most_tokens: int | None = None  # of a step after an aborted one

    def record_abort(self, tokens: int) -> None:
        """Record that a step with ``tokens`` was aborted: the next one takes half, so that it ends before the next abort."""
        self._most_tokens = max(_MIN_PREFILL_TOKENS, tokens // 2)

    def record(self, tokens: int, token_s: float) -> None:
        """Record the seconds per token of a step with prompts, ``tokens`` in all."""
        self._most_tokens = None
        if self.token_s is None:
            self.token_s = token_s
        else:
            self.token_s += 0.5 * min(1.0, tokens / _TYPICAL_PREFILL_TOKENS) * (token_s - self.token_s)

    def prefill_tokens(self, runnable: SequenceOf[Sequence], longest_s: float, capacity: int) -> int:
        """Return the prompt tokens of a step that may take about ``longest_s`` seconds, at most ``capacity``."""
        capacity = min(capacity, self._most_tokens or capacity)
        decoding = [sequence for sequence in runnable if sequence.is_decoding]
        waited_for = bool(decoding) or longest_s < LONG_STEP_S
        if not self.token_s:
            return min(capacity, _INITIAL_PREFILL_TOKENS) if waited_for else capacity
        bound_s = longest_s
        if decoding:
            interactive = any(sequence.is_interactive for sequence in decoding)
            bound_s = min(bound_s, INTERACTIVE_STALL_S if interactive else BULK_STALL_S)
        least = _MIN_PREFILL_TOKENS if waited_for else _EFFICIENT_PREFILL_TOKENS
        return int(max(min(least, capacity), min(capacity, bound_s / self.token_s)))
