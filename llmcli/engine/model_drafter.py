"""Drafts the next tokens of a lone generation with a second model, as long as that pays.

All decisions follow from measured times. With ``t`` seconds for a step of one token, ``r`` for each further row of a
step, and ``d`` for drafting a token, a drafted token that the model accepts with probability ``p`` saves ``p t`` and
costs ``d + r``. The probability is the share of the latest tokens with a similar probability in the draft model that
were right (``AcceptanceEstimate``). So drafting stops where the next token is not expected to pay; and it is switched
off when the times of the last tokens show that plain steps would have been faster.
"""

from __future__ import annotations

import bisect
import statistics
import time
from collections import deque
from collections.abc import Callable

from llmcli.engine.draft_context import DraftContext
from llmcli.engine.llama.model import Model
from llmcli.errors import OutOfMemory
from llmcli.fast_dataclass import frozen

MAX_MODEL_DRAFT_TOKENS = 16
"""Most tokens of a draft: llama.cpp's default (``--draft-max``)."""
FIRST_DRAFT_TOKENS = 3
"""Tokens of the first draft, which measures the cost of a row."""
LOSS_LIMIT_TOKENS, LATER_LOSS_LIMIT_TOKENS = 16, 8
"""Time that a trial may lose before drafting is switched off, in steps of one token; and drafting after a trial."""
READING_LIMIT_TOKENS = 10
"""The part of it in which the draft model may read the text first; twice as much once drafting has paid."""
MIN_READING_TOKENS = 32
"""Tokens of the text's end with fewer of which a draft model would hardly know what follows."""
FIRST_READING_TOKENS = 256
"""Tokens of the text's end that are read unless that is known to take too long."""
RETRY_TOKENS, MAX_RETRY_TOKENS = 64, 4096
"""Tokens generated without drafts before another trial; doubled by each failed trial."""
_PLAIN_SAMPLES, _COST_SAMPLES = 3, 2
"""Steps of one token that are measured before the first draft; measurements that all show too high a cost."""
_HOPELESS_COST = 2.0
"""The cost of a drafted token, in steps of one token, of which one measurement is enough."""
_TRIAL_TOKENS, _REVIEW_TOKENS = 12, 32
"""Tokens after which a trial is judged, and of the latest ones that are judged from then on."""
_TRIAL_GAIN, _MIN_GAIN = 1.05, 1.0
"""Speed, relative to steps of one token, that a trial must reach, and below which drafting is switched off later."""
_ROW_COST = 0.45
"""The cost of a row in steps of one token until it is measured: see ``draft_row_cost``."""


class _DecayingRate:
    """The share of the latest tokens that were right, beginning with an assumed one."""

    _DECAY = 0.97
    _PRIOR_WEIGHT = 3.0

    def __init__(self, prior: float) -> None:
        self._hits, self._count = prior * self._PRIOR_WEIGHT, self._PRIOR_WEIGHT

    def add(self, *, hit: bool) -> None:
        self._hits = self._hits * self._DECAY + hit
        self._count = self._count * self._DECAY + 1

    @property
    def value(self) -> float:
        return self._hits / self._count


class AcceptanceEstimate:
    """How likely the model chooses a drafted token, given the probability that the draft model gives it."""

    _BOUNDS = (0.3, 0.6, 0.85)
    """Tokens with probabilities between two of these are judged together."""
    _PRIORS = (0.3, 0.5, 0.75, 0.95)
    _PRIOR = 0.7

    def __init__(self) -> None:
        self._all = _DecayingRate(self._PRIOR)
        self._similar = [_DecayingRate(prior) for prior in self._PRIORS]

    def record(self, probability: float, *, hit: bool) -> None:
        """Record whether a token with this probability was right."""
        self._all.add(hit=hit)
        self._similar[bisect.bisect(self._BOUNDS, probability)].add(hit=hit)

    def of(self, probability: float) -> float:
        """Return how likely a token with this probability is right."""
        return self._similar[bisect.bisect(self._BOUNDS, probability)].value

    @property
    def rate(self) -> float:
        """How likely a token is right whose probability is unknown."""
        return self._all.value


class _RecentMedian:
    """The median of the latest measurements, so that one disturbed step decides nothing."""

    def __init__(self, count: int) -> None:
        self._samples: deque[float] = deque(maxlen=count)

    def add(self, sample: float) -> None:
        self._samples.append(sample)

    def __len__(self) -> int:
        return len(self._samples)

    @property
    def lowest(self) -> float:
        return min(self._samples, default=0.0)

    @property
    def value(self) -> float | None:
        return statistics.median(self._samples) if self._samples else None


@frozen
class DraftOutcome:
    """One step with drafting: ``evaluated`` drafted tokens, of which the model chose the first ``accepted``.

    ``draft_s``: seconds of drafting; ``step_s``: of the model's step.
    """

    evaluated: int
    accepted: int
    draft_s: float
    step_s: float


class DraftPolicy:
    """Decides from times and outcomes of one kind of work; all times are in seconds."""

    def __init__(self) -> None:
        self._plain_s, self._row_s, self._draft_s = _RecentMedian(7), _RecentMedian(5), _RecentMedian(5)
        self._reading_s = _RecentMedian(3)
        self.acceptance = AcceptanceEstimate()
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
        if self._is_too_dear(self._draft_s.lowest, len(self._draft_s)):
            self._switch_off(f"drafting a token takes {_milliseconds(self._draft_s.lowest)}, {self._plain_text}")

    def record_reading(self, tokens: int, seconds: float) -> None:
        """Record the time in which the draft model read that many tokens of the text."""
        self._reading_s.add(seconds / tokens)
        self.record_loss(seconds)

    def record_loss(self, seconds: float) -> None:
        """Record time that drafted nothing."""
        self._balance_s -= seconds

    def record_outcome(self, outcome: DraftOutcome) -> None:
        """Record a step with drafting, and switch off if it does not pay."""
        plain, rows = self._plain_s.value, outcome.evaluated
        if plain is None:
            return
        if rows:
            self._row_s.add(max(0.0, outcome.step_s - plain) / rows)
        else:
            self._plain_s.add(outcome.step_s)
        tokens, seconds = outcome.accepted + 1, outcome.draft_s + outcome.step_s
        self._balance_s = min(self._balance_s + tokens * plain - seconds, 0.0)  # earlier gains permit no loss
        self._recent.append((tokens, seconds))
        self._review(plain)

    # ---- decisions ------------------------------------------------------------------------------------------------

    @property
    def may_draft(self) -> bool:
        """Whether to draft now: it is on, and the time of plain steps is known."""
        return not self.off_reason and len(self._plain_s) >= _PLAIN_SAMPLES

    @property
    def is_timed(self) -> bool:
        """Whether the time of a drafted token is known."""
        return len(self._draft_s) > 0

    def reading_window(self, missing: int) -> int:
        """Return how many of ``missing`` tokens of a text, from its end, the draft model reads before it drafts.

        If reading enough of them takes too long, it is switched off, and the number is 0.
        """
        each = self._reading_s.value
        budget_s = (2 if self._passed else 1) * READING_LIMIT_TOKENS * self._saving
        window = min(missing, FIRST_READING_TOKENS if each is None else max(1, int(budget_s / each)))
        if window < min(missing, MIN_READING_TOKENS):
            self._switch_off(f"reading a token takes {_milliseconds(each)}, {self._plain_text}")
            return 0
        return window

    def is_worth_drafting(self, joint: float) -> bool:
        """Whether to draft one more token. ``joint``: the probability that all tokens before it are accepted."""
        return joint * self.acceptance.rate * self._saving > self._drafting_cost + self._row_cost

    def is_worth_evaluating(self, joint: float) -> bool:
        """Whether to evaluate a drafted token that is accepted, with all before it, with probability ``joint``."""
        return joint * self._saving > self._row_cost

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
        while (
            len(self._recent) > 1 and sum(tokens for tokens, _ in self._recent) - self._recent[0][0] >= _REVIEW_TOKENS
        ):
            self._recent.popleft()
        tokens = sum(each for each, _ in self._recent)
        gain = tokens * plain / max(sum(seconds for _, seconds in self._recent), 1e-9)
        cost = self._drafting_cost + self._row_s.lowest
        if self._is_too_dear(cost, len(self._row_s)):
            self._switch_off(f"drafting and checking a token takes {_milliseconds(cost)}, {self._plain_text}")
        elif self._balance_s < -plain * (LATER_LOSS_LIMIT_TOKENS if self._passed else LOSS_LIMIT_TOKENS):
            self._switch_off(self._describe_gain(gain))
        elif not self._passed and tokens >= _TRIAL_TOKENS:
            self._passed = gain >= _TRIAL_GAIN
            if self._passed:
                self._retry_tokens, self._balance_s = RETRY_TOKENS, 0.0
            else:
                self._switch_off(self._describe_gain(gain))
        elif self._passed and tokens >= _REVIEW_TOKENS and gain < _MIN_GAIN:
            self._switch_off(self._describe_gain(gain))

    def _is_too_dear(self, cost: float, samples: int) -> bool:
        plain = self._plain_s.value
        if plain is None or not samples:
            return False
        return cost >= (plain if samples >= _COST_SAMPLES else _HOPELESS_COST * plain)

    def _describe_gain(self, gain: float) -> str:
        return f"{gain:.2f} times the speed, with {self.acceptance.rate:.0%} of the drafted tokens right"

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
        self.acceptance = AcceptanceEstimate()

    @property
    def _plain_text(self) -> str:
        return f"a step without drafting {_milliseconds(self._plain_s.value)}"


def _milliseconds(seconds: float | None) -> str:
    return f"{1000 * (seconds or 0.0):.1f} ms"


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
