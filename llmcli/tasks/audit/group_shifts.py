"""The statistics of an audit: how far each group is from the others, by pairs within each input.

A difference is that of one text and the mean of the other groups' texts of the same input (or of the reference group's
text), so that inputs cancel out. The mean of the differences is the shift. Its interval comes from the paired
bootstrap: inputs are drawn with replacement, with all their texts (Efron 1979). Its p-value is that of a sign-flip test
(Fisher 1935): if a group is treated like the others, a difference is as likely to be negative as positive. It is
corrected for the number of groups and measures by Holm's method (1979), which needs no assumption on how they depend on
each other. That of the largest statistic (Westfall and Young 1993) finds a little more and raises an alarm in just 5%
of fair audits; Holm's in less.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from llmcli.fast_dataclass import frozen

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Numbers = NDArray[np.float64]

RESAMPLES = 9999
LEVEL = 0.05
POWER = 0.8
"""The probability with which a shift of the detectable size is found."""
_MIN_SAMPLE = 2
_BATCH_CELLS = 4_000_000
_ROUNDING = 1e-9
"""Share of a sum by which another one may be smaller and still count as equal."""


@frozen
class ShiftEstimate:
    """The mean of the differences, the ends of its 95% interval, and its corrected p-value."""

    shift: float
    low: float
    high: float
    p: float

    @property
    def is_significant(self) -> bool:
        """Whether a fair audit would rarely have a shift as large in any group."""
        return self.p < LEVEL

    def is_above(self, limit: float) -> bool:
        """Whether it is significant and larger than ``limit`` in either direction."""
        return self.is_significant and abs(self.shift) > limit

    def may_be_above(self, limit: float) -> bool:
        """Whether it is not significant, and its interval goes beyond ``limit``."""
        return not self.is_significant and max(-self.low, self.high) > limit


@frozen
class GroupShift:
    """How far a measure of a group is from that of the others; ``mean`` is that of the group's ``pairs`` values.

    ``estimate`` is None for the reference group and without pairs. ``detectable`` is as in ``detectable_shift``.
    """

    measure: str
    group: str
    pairs: int
    mean: float | None
    estimate: ShiftEstimate | None
    detectable: float | None = None

    @property
    def is_significant(self) -> bool:
        """Whether the estimate is significant."""
        return self.estimate is not None and self.estimate.is_significant


def measure_shifts(
    values: Numbers, measures: Sequence[str], groups: Sequence[str], reference: str | None = None, seed: int = 0
) -> list[GroupShift]:
    """Return the shift of each measure and group.

    ``values`` has inputs, groups and measures as axes, NaN where missing.
    """
    import numpy as np

    inputs, _, _ = values.shape
    differences = _paired_differences(values, None if reference is None else groups.index(reference))
    flat = differences.reshape(inputs, -1)
    known = ~np.isnan(flat)
    found = np.where(known, flat, 0.0)
    counts = known.sum(axis=0)
    random = np.random.default_rng(seed)
    with np.errstate(divide="ignore", invalid="ignore"):
        shifts = found.sum(axis=0) / counts
        low, high = _bootstrap_interval(found, known, random)
    p = _correct_by_holm(_sign_flip_p(found, random), counts)
    means, rows, tested = _means(values, differences), [], int((counts > 0).sum())
    for at, (group, measure) in enumerate((group, measure) for group in groups for measure in measures):
        estimate = ShiftEstimate(*(float(each[at]) for each in (shifts, low, high, p))) if counts[at] else None
        mean = float(means[groups.index(group), measures.index(measure)])
        least = detectable_shift(flat[known[:, at], at], LEVEL / tested) if counts[at] else None
        rows.append(GroupShift(measure, group, int(counts[at]), None if math.isnan(mean) else mean, estimate, least))
    return sorted(rows, key=lambda row: measures.index(row.measure))


def detectable_shift(differences: Numbers, level: float) -> float | None:
    """Return the least shift that a two-sided test at ``level`` finds with ``POWER``, given paired ``differences``.

    With their standard deviation s and number n it is s (z(1 - level/2) + z(POWER)) / sqrt(n - z(1 - level/2)^2 / 2):
    the sample size of a one-sample t-test, solved for the difference (Guenther 1981, Sample Size Formulas for Normal
    Theory T Tests, The American Statistician 35(4)). None: no shift of any size, since the signs of n pairs have 2^n
    patterns, so that p is at least 2^(1 - n).
    """
    from statistics import NormalDist

    pairs = len(differences)
    quantile = NormalDist().inv_cdf(1 - level / 2)
    room = pairs - quantile**2 / 2
    if pairs < _MIN_SAMPLE or room <= 0 or 2.0 ** (1 - pairs) >= level:
        return None
    return float(differences.std(ddof=1)) * (quantile + NormalDist().inv_cdf(POWER)) / math.sqrt(room)


def _means(values: Numbers, differences: Numbers) -> Numbers:
    """Return the mean of each group and measure over its pairs, or its values where it is the reference."""
    import numpy as np

    paired = ~np.isnan(differences)
    used = np.where(paired.any(axis=0, keepdims=True), paired, ~np.isnan(values))
    with np.errstate(divide="ignore", invalid="ignore"):
        means: Numbers = np.where(used, values, 0.0).sum(axis=0) / used.sum(axis=0)
    return means


def _paired_differences(values: Numbers, reference: int | None) -> Numbers:
    """Return each value minus the mean of its input's other groups, or minus the reference's; NaN where missing."""
    import numpy as np

    if reference is not None:
        differences: Numbers = values - values[:, reference : reference + 1, :]
        differences[:, reference, :] = np.nan
        return differences
    known = ~np.isnan(values)
    others = known.sum(axis=1, keepdims=True) - known
    sums = np.where(known, values, 0.0).sum(axis=1, keepdims=True) - np.where(known, values, 0.0)
    with np.errstate(divide="ignore", invalid="ignore"):
        paired: Numbers = np.where(known & (others > 0), values - sums / others, np.nan)
    return paired


def _batches(inputs: int) -> Iterator[int]:
    """Yield how many resamples are drawn at a time, so that memory stays small."""
    left, most = RESAMPLES, max(1, _BATCH_CELLS // max(1, inputs))
    while left > 0:
        yield min(left, most)
        left -= most


def _bootstrap_interval(found: Numbers, known: Any, random: np.random.Generator) -> tuple[Numbers, Numbers]:
    """Return the ends of the 95% percentile intervals of the means; a sample without pairs of a group has its mean."""
    import numpy as np

    inputs, present = len(found), known.astype(np.float64)
    mean = found.sum(axis=0) / present.sum(axis=0)
    means = []
    for size in _batches(inputs):
        drawn = random.integers(0, inputs, size=(size, inputs)) + np.arange(size)[:, None] * inputs
        weights = np.bincount(drawn.ravel(), minlength=size * inputs).reshape(size, inputs).astype(np.float64)
        counts = weights @ present
        means.append(np.where(counts > 0, (weights @ found) / counts, mean))
    low, high = np.quantile(np.concatenate(means), [LEVEL / 2, 1 - LEVEL / 2], axis=0)
    return low, high


def _sign_flip_p(found: Numbers, random: np.random.Generator) -> Numbers:
    """Return the p-value of each mean: the share of random signs with which it is as far from 0."""
    import numpy as np

    inputs = len(found)
    observed = np.abs(found.sum(axis=0)) * (1 - _ROUNDING)
    as_far = np.zeros(found.shape[1])
    for size in _batches(inputs):
        signs = random.integers(0, 2, size=(size, inputs)) * 2.0 - 1.0
        as_far += (np.abs(signs @ found) >= observed).sum(axis=0)
    p: Numbers = (1 + as_far) / (1 + RESAMPLES)
    return p


def _correct_by_holm(p: Numbers, counts: Any) -> Numbers:
    """Return the p-values, corrected for their number; comparisons without pairs are none."""
    import numpy as np

    corrected = np.ones(len(p))
    tested = np.flatnonzero(counts)
    ordered = tested[np.argsort(p[tested], kind="stable")]
    factors = len(ordered) - np.arange(len(ordered))
    corrected[ordered] = np.minimum(1.0, np.maximum.accumulate(p[ordered] * factors))
    return corrected
