"""A request that asks for the hidden states of its prompt and nothing else."""

from __future__ import annotations

import time
from typing import Any

from llmcli.engine.sequences.sequence import Sequence
from llmcli.types import FinishReason


class HiddenStateSequence(Sequence):
    """Evaluates its prompt and ends; it needs no logits."""

    @property
    def logits_start(self) -> int:
        return len(self.tokens)

    def record_states(self, rows: Any) -> None:
        super().record_states(rows)
        if self.num_pending_tokens == 0:
            self.first_token_at = time.monotonic()
            self.finish(FinishReason.STOP)

    def process_logits(self, context: Any, outputs: list[int]) -> list[Sequence]:
        """Do nothing: there are no logits."""
        del context, outputs
        return []
