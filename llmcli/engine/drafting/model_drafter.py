"""Drafts the next tokens of a lone generation with a second model, as long as that pays."""

from __future__ import annotations

import time
from collections.abc import Callable

from llmcli.engine.drafting.draft_context import DraftContext
from llmcli.engine.drafting.draft_policy import (
    FIRST_DRAFT_TOKENS,
    MAX_MODEL_DRAFT_TOKENS,
    DraftOutcome,
    DraftPolicy,
)
from llmcli.engine.llama.model import Model
from llmcli.errors import OutOfMemory
from llmcli.frozen_dataclass import frozen

_FIRST_PIECE_TOKENS, _PIECE_TOKENS = 16, 64
"""Tokens of text that are read before the time is checked for the first time, and between later checks."""
_MAX_PENDING_TOKENS = 2
"""Tokens of text that are new to the draft model in each step: its last own one, if accepted, and that of the model."""


@frozen
class DraftModel:
    """A loaded draft model, called ``name``; ``off_reason``: why it cannot draft for the model, "" if it can."""

    name: str
    model: Model | None
    off_reason: str = ""


class ModelDrafter:
    """Drafts for one scheduler. Used by the thread that evaluates; ``draft`` ends early when ``should_abort`` says so.

    Each step with one decoding sequence calls ``draft``, and after it ``record_step``. ``clock`` returns seconds.
    """

    def __init__(
        self, draft_model: DraftModel, context: DraftContext | None, clock: Callable[[], float] = time.perf_counter
    ) -> None:
        """``context`` is that of the draft model, None if it cannot draft."""
        self._draft_model = draft_model
        self._context = context
        self._clock = clock
        self.policy = DraftPolicy()
        self._last_draft: list[tuple[int, float]] = []  # tokens with their probabilities in the draft model
        self._drafted_text: list[int] = []  # the text after which they were drafted
        self._draft_s: float | None = None
        self._out_of_memory = ""
        self.num_drafted_tokens = self.num_accepted_tokens = 0
        """Number of draft tokens that were evaluated, and of those that the model chose."""

    def draft(self, tokens: list[int], max_tokens: int) -> list[int]:
        """Return tokens that may follow ``tokens``, at most ``max_tokens``; none if drafting does not pay now."""
        self._draft_s = None
        self._judge_last_draft(tokens)
        if self._context is None or self._out_of_memory or max_tokens < 1 or not self.policy.may_draft:
            return []
        try:
            return self._draft(self._context, tokens, max_tokens)
        except OutOfMemory as error:  # the model works without it
            self._out_of_memory = error.detail or "too little memory for its context"
            self._context.close()
            return []

    def _draft(self, context: DraftContext, tokens: list[int], max_tokens: int) -> list[int]:
        if not self.policy.is_timed:
            self._measure(context, tokens)
        if self.policy.off_reason or not self._read(context, tokens):
            return []
        started = self._clock()
        self._drafted_text = list(tokens)
        drafted = self._extend(context, max_tokens)
        self._draft_s = self._clock() - started
        return [] if self.policy.off_reason else drafted

    def _judge_last_draft(self, tokens: list[int]) -> None:
        """Compare the last draft, which may not have been evaluated, with the tokens that followed."""
        start = len(self._drafted_text)
        followed = tokens[start:] if tokens[:start] == self._drafted_text else []  # else it is another text
        for (drafted, probability), chosen in zip(self._last_draft, followed, strict=False):
            self.policy.acceptance.record(probability, hit=drafted == chosen)
            if drafted != chosen:
                break
        self._last_draft = []

    def _measure(self, context: DraftContext, tokens: list[int]) -> None:
        """Measure two evaluations of a token, so that a slow draft model is noticed before it reads the text."""
        context.clear()
        if not context.set_text(tokens, 1, MAX_MODEL_DRAFT_TOKENS):
            return
        for _ in range(2):
            started = self._clock()
            done = context.evaluate_missing(1) if context.num_missing_tokens else context.append(tokens[-1])
            if not done:
                return
            seconds = self._clock() - started
            self.policy.record_loss(seconds)
            self.policy.record_draft_token(seconds)
        context.clear()

    def _read(self, context: DraftContext, tokens: list[int]) -> bool:
        """Evaluate the text, or as much of its end as pays, but for its last tokens.

        Returns False if that was aborted or does not pay, and for tokens that the draft model does not have.
        """
        window = self.policy.reading_window(context.count_missing(tokens))
        if not window or not context.set_text(tokens, window, MAX_MODEL_DRAFT_TOKENS):
            return False
        if not self._read_piece(context, _FIRST_PIECE_TOKENS):
            return False
        affordable = self.policy.reading_window(window)  # the piece may have taken longer than expected
        if affordable < window and not (affordable and context.set_text(tokens, affordable, MAX_MODEL_DRAFT_TOKENS)):
            return False
        while context.num_missing_tokens > _MAX_PENDING_TOKENS:
            if not self._read_piece(context, _PIECE_TOKENS):
                return False
        return True

    def _read_piece(self, context: DraftContext, most: int) -> bool:
        """Evaluate at most that many missing tokens, but not the last ones; False if it was aborted."""
        count = min(most, context.num_missing_tokens - _MAX_PENDING_TOKENS)
        if count <= 0:
            return True
        started = self._clock()
        done = context.evaluate_missing(count)
        self.policy.record_reading(count, self._clock() - started)
        return done

    def _extend(self, context: DraftContext, max_tokens: int) -> list[int]:
        """Return drafted tokens as long as each is likely enough to be worth its cost."""
        policy, drafted, joint = self.policy, list[int](), 1.0
        limit = min(max_tokens, MAX_MODEL_DRAFT_TOKENS if policy.is_calibrated else FIRST_DRAFT_TOKENS)
        while len(drafted) < limit and not policy.off_reason:
            started = self._clock()
            if not (context.append(drafted[-1]) if drafted else context.evaluate_missing(_MAX_PENDING_TOKENS)):
                break
            token, probability = context.likeliest_token()
            policy.record_draft_token(self._clock() - started)
            if context.ends_text(token):
                break
            self._last_draft.append((token, probability))
            joint *= policy.acceptance.of(probability)
            if policy.is_calibrated and not policy.is_worth_evaluating(joint):
                break
            drafted.append(token)
            if policy.is_calibrated and not policy.is_worth_drafting(joint):
                break
        return drafted

    def record_step(self, seconds: float, num_drafted: int, num_accepted: int) -> None:
        """Record the model's step after ``draft``, in which ``num_drafted`` of the drafted tokens were evaluated."""
        self.num_drafted_tokens += num_drafted
        self.num_accepted_tokens += num_accepted
        if self._draft_s is None:
            self.policy.record_plain_step(seconds)
            return
        outcome = DraftOutcome(num_drafted, num_accepted, self._draft_s, seconds)
        self._draft_s = None
        self.policy.record_outcome(outcome)

    def close(self) -> None:
        """Free the memory; it can be used again."""
        if self._context is not None:
            self._context.close()

    @property
    def off_reason(self) -> str:
        """Why no tokens are drafted; "" while they are."""
        return self._draft_model.off_reason or self._out_of_memory or self.policy.off_reason

    @property
    def explanation(self) -> str:
        """Return the name of the draft model and what became of its tokens."""
        tokens = f"accepted {self.num_accepted_tokens} of {self.num_drafted_tokens} tokens"
        return f"draft model {self._draft_model.name}: {tokens}"
