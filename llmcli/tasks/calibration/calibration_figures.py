"""Figures of label probabilities on labelled rows: accuracy, macro F1, Brier score, calibration error, confusion."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from llmcli.fast_dataclass import asdict, frozen
from llmcli.tasks.calibration.cross_validation import Targets
from llmcli.tasks.calibration.feature_set import Matrix

BINS = 10
BOOTSTRAP_SAMPLES = 2000
CONFIDENCE = 0.95
_CHUNK = 100
"""Bootstrap samples that are drawn at a time."""


@frozen
class IntervalEstimate:
    """A figure and its 95% interval, by the percentiles of a bootstrap over rows (Efron and Tibshirani 1993)."""

    value: float
    low: float
    high: float


@frozen
class ReliabilityBin:
    """Of the rows whose label has a probability from ``low`` to ``high``: the mean of these, and the share right."""

    low: float
    high: float
    rows: int
    confidence: float
    accuracy: float


@frozen
class CalibrationFigures:
    """``confusion`` counts rows: a row a true label, a column a chosen one, in the order of ``labels``.

    ``brier``: the mean of the sum over labels of (probability - truth) ** 2 (Brier 1950), 0 to 2. ``ece``: the expected
    calibration error, the mean of |confidence - accuracy| over bins, weighted by rows (Guo et al. 2017). ``macro_f1``:
    the mean of the F1 scores of the labels that rows have or get.
    """

    labels: tuple[str, ...]
    rows: int
    accuracy: IntervalEstimate
    macro_f1: IntervalEstimate
    brier: IntervalEstimate
    ece: IntervalEstimate
    reliability: tuple[ReliabilityBin, ...]
    confusion: tuple[tuple[int, ...], ...]

    def to_json(self) -> dict[str, Any]:
        """Return the figures as JSON values."""
        return asdict(self)


def figures_from_json(values: dict[str, Any]) -> CalibrationFigures:
    """Return the figures of ``to_json``. Raises ``KeyError``, ``TypeError`` and ``ValueError`` for other values."""
    return CalibrationFigures(
        tuple(map(str, values["labels"])),
        int(values["rows"]),
        IntervalEstimate(**values["accuracy"]),
        IntervalEstimate(**values["macro_f1"]),
        IntervalEstimate(**values["brier"]),
        IntervalEstimate(**values["ece"]),
        tuple(ReliabilityBin(**each) for each in values["reliability"]),
        tuple(tuple(map(int, row)) for row in values["confusion"]),
    )


def measure_figures(probabilities: Matrix, targets: Targets, labels: Sequence[str]) -> CalibrationFigures:
    """Return the figures of probabilities (rows, labels) whose true labels have the indices ``targets``.

    All figures follow from sums over rows, and the intervals from the sums of the same bootstrap samples. Raises
    ``ValueError`` without rows.
    """
    count = len(targets)
    if not count:
        raise ValueError("no rows")
    chosen = probabilities.argmax(axis=1)
    size = len(labels)
    cells = size * size
    confidences, right = probabilities[np.arange(count), chosen], chosen == targets
    gaps = _indicators(_bin_index(confidences), BINS) * (confidences - right)[:, None]
    counted = _indicators(targets * size + chosen, cells)
    columns = np.concatenate([counted, squared_errors(probabilities, targets)[:, None], gaps], axis=1)
    whole, samples = columns.sum(axis=0)[None], _resample_sums(columns)

    def estimate(figure: Callable[[Matrix], Matrix]) -> IntervalEstimate:
        return _interval(figure(whole), figure(samples))

    return CalibrationFigures(
        tuple(labels),
        count,
        estimate(lambda sums: _accuracy(sums[:, :cells].reshape(-1, size, size))),
        estimate(lambda sums: _macro_f1(sums[:, :cells].reshape(-1, size, size))),
        estimate(lambda sums: np.asarray(sums[:, cells] / count)),
        estimate(lambda sums: np.asarray(np.abs(sums[:, cells + 1 :]).sum(axis=1) / count)),
        reliability_bins(confidences, right),
        tuple(tuple(map(int, row)) for row in whole[0, :cells].reshape(size, size)),
    )


def squared_errors(probabilities: Matrix, targets: Targets) -> Matrix:
    """Return the sum over labels of (probability - truth) ** 2 of each row: its part of the Brier score."""
    truth = _indicators(targets, probabilities.shape[1])
    return np.asarray(((probabilities - truth) ** 2).sum(axis=1))


def estimate_mean(values: Matrix) -> IntervalEstimate:
    """Return the mean of the values of rows, such as differences of two predictions.

    Raises ``ValueError`` without rows.
    """
    if not len(values):
        raise ValueError("no rows")
    samples = _resample_sums(values[:, None])
    return _interval(values.mean()[None], samples[:, 0] / len(values))


def reliability_bins(confidences: Matrix, right: Matrix) -> tuple[ReliabilityBin, ...]:
    """Return the bins of equal width from 0 to 1 that have rows."""
    index = _bin_index(confidences)
    return tuple(
        ReliabilityBin(
            number / BINS,
            (number + 1) / BINS,
            int((index == number).sum()),
            float(confidences[index == number].mean()),
            float(right[index == number].mean()),
        )
        for number in range(BINS)
        if (index == number).any()
    )


def _indicators(index: Targets, size: int) -> Matrix:
    """Return (rows, size): 1 in the column that ``index`` names, 0 elsewhere."""
    found = np.zeros((len(index), size))
    found[np.arange(len(index)), index] = 1
    return found


def _bin_index(confidences: Matrix) -> Targets:
    return np.minimum((confidences * BINS).astype(np.intp), BINS - 1)


def _accuracy(confusions: Matrix) -> Matrix:
    return np.asarray(np.trace(confusions, axis1=1, axis2=2) / confusions.sum(axis=(1, 2)))


def _macro_f1(confusions: Matrix) -> Matrix:
    hits = np.diagonal(confusions, axis1=1, axis2=2)
    total = confusions.sum(axis=1) + confusions.sum(axis=2)
    present = total > 0
    scores = np.where(present, 2 * hits / np.where(present, total, 1), 0.0)
    return np.asarray(scores.sum(axis=1) / present.sum(axis=1))


def _resample_sums(columns: Matrix) -> Matrix:
    """Return the sums over rows of bootstrap samples, (samples, columns): each draws as many rows, with replacement."""
    count = len(columns)
    random, shares = np.random.default_rng(0), np.full(count, 1 / count)
    drawn = (random.multinomial(count, shares, _CHUNK) for _ in range(BOOTSTRAP_SAMPLES // _CHUNK))
    return np.concatenate([times @ columns for times in drawn])


def _interval(value: Matrix, samples: Matrix) -> IntervalEstimate:
    """Return the estimate. The interval reaches to the value: a calibration error grows when its rows are resampled."""
    tail = (1 - CONFIDENCE) / 2
    middle = float(value[0])
    low, high = (float(each) for each in np.quantile(samples, [tail, 1 - tail]))
    return IntervalEstimate(middle, min(low, middle), max(high, middle))
