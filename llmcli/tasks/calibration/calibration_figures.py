"""How good probabilities of labels are on labelled rows: accuracy, macro F1, Brier score, calibration error, confusion."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from llmcli.tasks.calibration.cross_validation import Targets
from llmcli.tasks.calibration.feature_set import Matrix

BINS = 10
BOOTSTRAP_SAMPLES = 2000
CONFIDENCE = 0.95


@dataclass(frozen=True, slots=True)
class IntervalEstimate:
    """A figure and its 95% interval, by the percentiles of a bootstrap over rows (Efron and Tibshirani 1993)."""

    value: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class ReliabilityBin:
    """Of the rows whose chosen label has a probability from ``low`` to ``high``: the mean of these, and the share right."""

    low: float
    high: float
    rows: int
    confidence: float
    accuracy: float


@dataclass(frozen=True, slots=True)
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
    brier: float
    ece: float
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
        float(values["brier"]),
        float(values["ece"]),
        tuple(ReliabilityBin(**each) for each in values["reliability"]),
        tuple(tuple(map(int, row)) for row in values["confusion"]),
    )


def measure_figures(
    probabilities: Matrix, targets: Targets, labels: Sequence[str], seed: int = 0
) -> CalibrationFigures:
    """Return the figures of probabilities (rows, labels) whose true labels have the indices ``targets``.

    The rows of a bootstrap sample only count by their true and chosen labels, so samples are drawn of the confusion
    matrix. Raises ``ValueError`` without rows.
    """
    count = len(targets)
    if not count:
        raise ValueError("no rows")
    chosen = probabilities.argmax(axis=1)
    size = len(labels)
    confusion = np.zeros((size, size))
    np.add.at(confusion, (targets, chosen), 1)
    random = np.random.default_rng(seed)
    samples = random.multinomial(count, confusion.ravel() / count, BOOTSTRAP_SAMPLES).astype(np.float64)
    samples = samples.reshape(-1, size, size)
    truth = np.eye(size)[targets]
    confidences, right = probabilities[np.arange(count), chosen], chosen == targets
    bins = reliability_bins(confidences, right)
    return CalibrationFigures(
        tuple(labels),
        count,
        _estimate(_accuracy(confusion[None]), _accuracy(samples)),
        _estimate(_macro_f1(confusion[None]), _macro_f1(samples)),
        float(((probabilities - truth) ** 2).sum(axis=1).mean()),
        float(sum(each.rows * abs(each.confidence - each.accuracy) for each in bins) / count),
        bins,
        tuple(tuple(map(int, row)) for row in confusion),
    )


def reliability_bins(confidences: Matrix, right: Matrix) -> tuple[ReliabilityBin, ...]:
    """Return the bins of equal width from 0 to 1 that have rows."""
    index = np.minimum((confidences * BINS).astype(int), BINS - 1)
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


def _accuracy(confusions: Matrix) -> Matrix:
    return np.asarray(np.trace(confusions, axis1=1, axis2=2) / confusions.sum(axis=(1, 2)))


def _macro_f1(confusions: Matrix) -> Matrix:
    hits = np.diagonal(confusions, axis1=1, axis2=2)
    total = confusions.sum(axis=1) + confusions.sum(axis=2)
    present = total > 0
    scores = np.where(present, 2 * hits / np.where(present, total, 1), 0.0)
    return np.asarray(scores.sum(axis=1) / present.sum(axis=1))


def _estimate(value: Matrix, samples: Matrix) -> IntervalEstimate:
    tail = (1 - CONFIDENCE) / 2
    low, high = np.quantile(samples, [tail, 1 - tail])
    return IntervalEstimate(float(value[0]), float(low), float(high))
