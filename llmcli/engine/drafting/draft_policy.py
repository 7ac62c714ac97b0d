"""When a draft model pays: how many tokens it drafts, and when it is switched off and on again.

All decisions follow from measured times. With ``t`` seconds for a step of one token, ``r`` for each further row of a
step, and ``d`` for drafting a token, a drafted token that the model accepts with probability ``p`` saves ``p t`` and
costs ``d + r``. The probability comes from the draft model's own probability of the token, scaled by how often such
tokens were accepted. So drafting stops where the next token is not expected to pay; and it is switched off when the
times of the last tokens show that plain steps would have been faster.
"""

from __future__ import annotations

import statistics
from collections import deque
from dataclasses import dataclass

MAX_MODEL_DRAFT_TOKENS = 16
"""Most tokens of a draft: llama.cpp's default (``--draft-max``)."""
FIRST_DRAFT_TOKENS = 3
"""Tokens of the first draft, which measures the cost of a row."""
LOSS_LIMIT_TOKENS = 8
"""Time that drafting may lose before it is switched off, in steps of one token. Reading the text first may take as
much again."""
RETRY_TOKENS, MAX_RETRY_TOKENS = 64, 4096
"""Tokens generated without drafts before another trial; doubled by each failed trial."""
_SAMPLES = 3
"""Measurements before a decision: steps of one token before the first draft, drafted tokens before it is called slow."""
_HOPELESS_COST = 3.0
"""The time of a drafted token, in steps of one token, that a single measurement proves."""
_TRIAL_TOKENS, _REVIEW_TOKENS = 12, 32
"""Tokens after which a trial is judged, and of the latest ones that are judged from then on."""
_TRIAL_GAIN, _MIN_GAIN = 1.05, 1.0
"""Speed, relative to steps of one token, that a trial must reach, and below which drafting is switched off later."""
_ROW_COST = 0.45
"""The cost of a row in steps of one token until it is measured: see ``draft_row_cost``."""
_PRIOR_TOKENS, _PRIOR_ACCEPTANCE = 4.0, 0.7
"""Weight in tokens of the acceptance rate that is assumed at first, and that rate."""
_DECAY = 0.97
"""Weight that earlier tokens keep at each further one in the acceptance rate."""


class _RecentMedian:
    """The median of the latest measurements, so that one disturbed step decides nothing."""

    def __init__(self, count: int) -> None:
        self._samples: deque[float] = deque(maxlen=count)

    def add(self, sample: float) -> None:
        self._samples.append(sample)

    def __len__(self) -> int:
        return len(self._samples)

    @property
    def value(self) -> float | None:
        return statistics.median(self._samples) if self._samples else None


@dataclass(frozen=True, slots=True)
class DraftOutcome:
    """One step with drafting. ``probabilities``: the draft model's own, of the tokens that were evaluated.

    ``accepted`` of these were chosen. ``draft_s``: seconds of drafting; ``step_s``: of the model's step.
    """

    probabilities: tuple[float, ...]
    accepted: int
    draft_s: float
    step_s: float


class DraftPolicy:
    """Decides from times and outcomes of one kind of work; all times are in seconds."""

    def __init__(self) -> None:
        self._plain_s, self._row_s, self._draft_s = _RecentMedian(7), _RecentMedian(5), _RecentMedian(5)
        self._reading_s = _RecentMedian(3)
        self._hits = self._judged = self._expected = 0.0
        self._balance_s = 0.0
        self._recent: deque[tuple[int, float]] = deque()  # tokens and seconds of each step with drafting
        self._passed = False
        self._retry_tokens = RETRY_TOKENS
        self._tokens_to_retry = 0
        self.off_reason = ""
        """Why it is switched off; "" while it is on."""

    # ---- measurements ---------------------------------------------------------------------------------------------

    def record_plain_step(self, seconds: float) -> None:
        """Record a step of one token without drafting."""
        self._plain_s.add(seconds)
        if self.off_reason:
            self._tokens_to_retry -= 1
            if self._tokens_to_retry <= 0:
                self._start_trial()

    def record_draft_token(self, seconds: float) -> None:
        """Record the time of drafting one token."""
        self._draft_s.add(seconds)
        plain, cost = self._plain_s.value, self._drafting_cost
        if plain is not None and (cost >= _HOPELESS_COST * plain or (cost >= plain and len(self._draft_s) >= _SAMPLES)):
            self._switch_off(f"drafting a token takes {_milliseconds(cost)}, {self._plain_text}")

    def record_reading(self, tokens: int, seconds: float) -> None:
        """Record the time in which the draft model read that many tokens of the text."""
        self._reading_s.add(seconds / tokens)
        self._balance_s -= seconds

    def record_outcome(self, outcome: DraftOutcome) -> None:
        """Record a step with drafting, and switch off if it does not pay."""
        plain, rows = self._plain_s.value, len(outcome.probabilities)
        if plain is None:
            return
        if rows:
            self._row_s.add(max(0.0, outcome.step_s - plain) / rows)
        else:
            self._plain_s.add(outcome.step_s)
        self._record_acceptance(outcome)
        tokens, seconds = outcome.accepted + 1, outcome.draft_s + outcome.step_s
        self._balance_s = min(self._balance_s + tokens * plain - seconds, LOSS_LIMIT_TOKENS * plain)
        self._recent.append((tokens, seconds))
        self._review(plain)

    def _record_acceptance(self, outcome: DraftOutcome) -> None:
        for index, probability in enumerate(outcome.probabilities[: outcome.accepted + 1]):
            self._hits = self._hits * _DECAY + (index < outcome.accepted)
            self._judged = self._judged * _DECAY + 1
            self._expected = self._expected * _DECAY + probability

    # ---- decisions ------------------------------------------------------------------------------------------------

    @property
    def may_draft(self) -> bool:
        """Whether to draft now: it is on, and the time of plain steps is known."""
        return not self.off_reason and len(self._plain_s) >= _SAMPLES

    @property
    def is_timed(self) -> bool:
        """Whether the draft model's times are known."""
        return len(self._draft_s) > 0 and len(self._reading_s) > 0

    @property
    def max_reading_tokens(self) -> int:
        """The number of tokens of a text that the draft model may read before it drafts."""
        each = self._reading_s.value or self._drafting_cost
        return max(1, int(self._reading_budget_s / each)) if each else 1

    @property
    def _reading_budget_s(self) -> float:
        return (2 if self._passed else 1) * LOSS_LIMIT_TOKENS * self._saving

    def check_reading(self, seconds: float) -> None:
        """Switch off if reading one text has taken far longer than expected."""
        if seconds > 2 * self._reading_budget_s:
            self._switch_off("the draft model takes too long to read the text")

    def is_worth_drafting(self, joint: float) -> bool:
        """Whether to draft one more token. ``joint``: the probability that all tokens before it are accepted."""
        return joint * self.acceptance_rate * self._saving > self._drafting_cost + self._row_cost

    def is_worth_evaluating(self, joint: float) -> bool:
        """Whether to evaluate a drafted token that is accepted, with all before it, with probability ``joint``."""
        return joint * self._saving > self._row_cost

    def acceptance_probability(self, probability: float) -> float:
        """Return how likely a token is accepted to which the draft model gives this probability."""
        scale = (self._hits + _PRIOR_TOKENS) / (self._expected + _PRIOR_TOKENS)
        return min(1.0, probability * scale)

    @property
    def acceptance_rate(self) -> float:
        """The share of the drafted tokens that are accepted, of those before which no other was refused."""
        return (self._hits + _PRIOR_TOKENS * _PRIOR_ACCEPTANCE) / (self._judged + _PRIOR_TOKENS)

    @property
    def is_calibrated(self) -> bool:
        """Whether the cost of a row is measured."""
        return len(self._row_s) > 0

    @property
    def _saving(self) -> float:
        return self._plain_s.value or 0.0

    @property
    def _row_cost(self) -> float:
        measured = self._row_s.value
        return _ROW_COST * self._saving if measured is None else measured

    @property
    def _drafting_cost(self) -> float:
        return self._draft_s.value or 0.0

    # ---- switching ------------------------------------------------------------------------------------------------

    def _review(self, plain: float) -> None:
        while len(self._recent) > 1 and sum(tokens for tokens, _ in self._recent) - self._recent[0][0] >= _REVIEW_TOKENS:
            self._recent.popleft()
        tokens = sum(each for each, _ in self._recent)
        gain = tokens * plain / max(sum(seconds for _, seconds in self._recent), 1e-9)
        cost = self._drafting_cost + self._row_cost
        if self.is_calibrated and cost >= plain:
            self._switch_off(f"drafting and checking a token takes {_milliseconds(cost)}, {self._plain_text}")
        elif self._balance_s < -LOSS_LIMIT_TOKENS * plain * (1 if self._passed else 2):
            self._switch_off(self._describe_gain(gain))
        elif not self._passed and tokens >= _TRIAL_TOKENS:
            self._passed = gain >= _TRIAL_GAIN
            if self._passed:
                self._retry_tokens, self._balance_s = RETRY_TOKENS, 0.0
            else:
                self._switch_off(self._describe_gain(gain))
        elif self._passed and tokens >= _REVIEW_TOKENS and gain < _MIN_GAIN:
            self._switch_off(self._describe_gain(gain))

    def _describe_gain(self, gain: float) -> str:
        return f"{gain:.2f} times the speed, with {self.acceptance_rate:.0%} of its tokens accepted"

    def _switch_off(self, reason: str) -> None:
        if self.off_reason:
            return
        self.off_reason = reason
        self._tokens_to_retry = self._retry_tokens
        self._retry_tokens = min(2 * self._retry_tokens, MAX_RETRY_TOKENS)

    def _start_trial(self) -> None:
        self.off_reason = ""
        self._balance_s = 0.0
        self._recent.clear()
        self._passed = False
        self._hits = self._judged = self._expected = 0.0

    @property
    def _plain_text(self) -> str:
        return f"one without drafting {_milliseconds(self._plain_s.value)}"


def _milliseconds(seconds: float | None) -> str:
    return f"{1000 * (seconds or 0.0):.1f} ms"
