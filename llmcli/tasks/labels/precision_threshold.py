"""The threshold for a wanted precision, chosen on labelled rows: which answers are certain enough to be given."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

from llmcli.fast_dataclass import frozen

CONFIDENCE = 0.95
"""Of the interval of a precision."""
_BISECTIONS = 60


@frozen
class PrecisionThreshold:
    """Answers with a probability of at least ``threshold`` are given; the others abstain.

    On ``rows`` labelled rows, ``answered`` had such a probability and ``correct`` of these were right: ``precision``
    lies in ``low``..``high`` with a probability of ``CONFIDENCE``. ``reached`` False: no threshold reaches the target,
    and ``threshold`` is that of the best precision.
    """

    target: float
    threshold: float
    rows: int
    answered: int
    correct: int
    low: float
    high: float
    reached: bool

    @property
    def precision(self) -> float:
        """The share of the answers that are right."""
        return self.correct / self.answered if self.answered else math.nan


def choose_threshold(confidences: Sequence[float], correct: Sequence[bool], target: float) -> PrecisionThreshold:
    """Return the lowest threshold whose answers are right with a share of at least ``target``.

    ``confidences`` are the probabilities of the chosen labels. The rows must not have been used to fit or to choose
    anything else. Thresholds are tried from the highest down, and each must have a point estimate of at least
    ``target`` + a margin of half a wrong answer, (correct + 0.5) / (answered + 1) (the rule of succession with
    Jeffreys' prior): the plain share would accept a threshold after one lucky answer. The interval is that of Clopper
    and Pearson (1934, The Use of Confidence or Fiducial Limits Illustrated in the Case of the Binomial), which holds at
    any sample size; as the threshold was chosen on the same rows, it is somewhat optimistic. Choosing the largest
    answered share under a bound on the error is selective classification (Geifman and El-Yaniv 2017). Equal confidences
    stay together. Raises ``ValueError`` without rows.
    """
    if not confidences:
        raise ValueError("no labelled rows")
    order = sorted(range(len(confidences)), key=lambda index: -confidences[index])
    best, fallback, right = (0, 0), (0, 0), 0
    fallback_share = -1.0
    for count, index in enumerate(order, 1):
        right += correct[index]
        if count < len(order) and confidences[order[count]] == confidences[index]:
            continue
        share = (right + 0.5) / (count + 1)
        if share >= target:
            best = (count, right)
        if share > fallback_share:
            fallback, fallback_share = (count, right), share
    answered, right = best if best[0] else fallback
    low, high = clopper_pearson(right, answered)
    threshold = confidences[order[answered - 1]]
    return PrecisionThreshold(target, threshold, len(order), answered, right, low, high, reached=bool(best[0]))


def clopper_pearson(successes: int, trials: int) -> tuple[float, float]:
    """Return the exact interval of a binomial proportion (Clopper and Pearson 1934), by bisection of its tails."""
    tail = (1 - CONFIDENCE) / 2
    low, high = 0.0, 1.0
    if successes > 0:  # P(X >= successes) = tail
        low = _bisect(lambda share: 1 - _binomial_cdf(successes - 1, trials, share) < tail)
    if successes < trials:  # P(X <= successes) = tail
        high = _bisect(lambda share: _binomial_cdf(successes, trials, share) > tail)
    return low, high


def _bisect(below: Callable[[float], bool]) -> float:
    """Return the border of a predicate that holds from 0 up to the border."""
    low, high = 0.0, 1.0
    for _ in range(_BISECTIONS):
        middle = (low + high) / 2
        if below(middle):
            low = middle
        else:
            high = middle
    return low


def _binomial_cdf(successes: int, trials: int, share: float) -> float:
    if share <= 0:
        return 1.0
    if share >= 1:
        return 1.0 if successes >= trials else 0.0
    log_share, log_rest = math.log(share), math.log1p(-share)
    whole = math.lgamma(trials + 1)
    terms = (
        math.exp(
            whole
            - math.lgamma(count + 1)
            - math.lgamma(trials - count + 1)
            + count * log_share
            + (trials - count) * log_rest
        )
        for count in range(successes + 1)
    )
    return min(1.0, math.fsum(terms))
