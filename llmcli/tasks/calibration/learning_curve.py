"""The growth of accuracy with the number of labelled rows, and the probable gain from more of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from llmcli.fast_dataclass import frozen
from llmcli.tasks.calibration.cross_validation import Fold, Targets, make_folds, predict_folds
from llmcli.tasks.calibration.feature_set import FeatureSet
from llmcli.tasks.calibration.feature_space import make_space, measure_scales
from llmcli.tasks.calibration.model_selection import FitChoice

MIN_CURVE_ROWS = 16
"""Fewer have no curve."""
MORE_ROWS = 50
"""The number of further labels whose gain is told."""
FLAT_GAIN = 0.005
"""Accuracy that ``MORE_ROWS`` labels would gain: less is not worth the work."""
_MAX_GROWTH = 4
"""A curve says little about more than so many times the rows that there are."""
_SHARES = (0.15, 0.25, 0.4, 0.6, 0.8, 1.0)
"""Of the rows that a fold is fitted on."""
_FOLDS = 5
_REPEATS = 3
_LARGE_ROWS = 1000
"""With more rows, one division into folds is enough."""
_EXPONENTS = (0.25, 0.5, 0.75, 1.0)


@frozen
class LearningCurve:
    """``sizes``: labelled rows that were fitted on; ``accuracies``: the shares of held-out rows that were then right.

    The error is described by ``floor`` + ``scale`` * rows ** -``exponent`` (Cortes et al. 1994, Learning Curves:
    Asymptotic Values and Rate of Convergence).
    """

    rows: int
    sizes: tuple[int, ...]
    accuracies: tuple[float, ...]
    floor: float
    scale: float
    exponent: float

    def accuracy_at(self, rows: float) -> float:
        """Return the accuracy that the curve expects with this number of labelled rows."""
        return float(1 - self.floor - self.scale * rows**-self.exponent)

    def gain(self, more: int = MORE_ROWS) -> float:
        """Return by how much ``more`` labelled rows would raise the accuracy, 0 to 1."""
        return self.accuracy_at(self.rows + more) - self.accuracy_at(self.rows)

    def worthwhile_rows(self) -> int:
        """Return how many more labels are worth the work: each ``MORE_ROWS`` of them gain at least ``FLAT_GAIN``."""
        more = 0
        while more < _MAX_GROWTH * self.rows and self.gain(more + MORE_ROWS) - self.gain(more) >= FLAT_GAIN:
            more += MORE_ROWS
        return more

    def to_json(self) -> dict[str, Any]:
        """Return the curve and its reading as JSON values."""
        return {
            "rows": self.rows,
            "sizes": list(self.sizes),
            "accuracies": list(self.accuracies),
            "floor": self.floor,
            "scale": self.scale,
            "exponent": self.exponent,
            "more": MORE_ROWS,
            "gain": self.gain(),
            "worthwhile": self.worthwhile_rows(),
        }


def curve_from_json(values: Mapping[str, Any]) -> LearningCurve:
    """Return the curve of ``to_json``. Raises ``KeyError``, ``TypeError`` and ``ValueError`` for other values."""
    return LearningCurve(
        int(values["rows"]),
        tuple(map(int, values["sizes"])),
        tuple(map(float, values["accuracies"])),
        float(values["floor"]),
        float(values["scale"]),
        float(values["exponent"]),
    )


def measure_curve(features: FeatureSet, targets: Targets, classes: int, choice: FitChoice) -> LearningCurve | None:
    """Return the curve of a choice, by cross-validation on parts of the rows; None for less than ``MIN_CURVE_ROWS``."""
    rows = len(targets)
    if rows < MIN_CURVE_ROWS:
        return None
    space = make_space(features, measure_scales(features), choice.weights)
    repeats = 1 if rows > _LARGE_ROWS else _REPEATS
    divisions = [make_folds(targets, _FOLDS, repeat) for repeat in range(repeats)]
    sizes, accuracies = [], []
    for share in _SHARES:
        right = []
        for folds in divisions:
            parts = [Fold(_stratified_sample(fold.train, targets, share), fold.test) for fold in folds]
            logits = predict_folds(space, targets, classes, np.array([choice.penalty]), parts)[:, 0]
            right.append((logits.argmax(axis=1) == targets).mean())
        sizes.append(round(share * rows * (_FOLDS - 1) / _FOLDS))
        accuracies.append(float(np.mean(right)))
    return fit_curve(rows, sizes, accuracies)


def _stratified_sample(train: Targets, targets: Targets, share: float) -> Targets:
    """Return a part of the rows with about the same shares of the classes, one of each at least."""
    random = np.random.default_rng(0)
    parts = []
    for each in np.unique(targets[train]):
        rows = random.permutation(train[targets[train] == each])
        parts.append(rows[: max(1, round(share * len(rows)))])
    return np.concatenate(parts)


def fit_curve(rows: int, sizes: Sequence[int], accuracies: Sequence[float]) -> LearningCurve:
    """Return the curve through the points with the least squares, each weighted by its size; it never falls."""
    points, errors = np.asarray(sizes, dtype=float), 1 - np.asarray(accuracies, dtype=float)
    weights = points / points.sum()
    best = (np.inf, float(weights @ errors), 0.0, _EXPONENTS[0])
    for exponent in _EXPONENTS:
        falling = points**-exponent
        centre, level = weights @ falling, weights @ errors
        spread = weights @ (falling - centre) ** 2
        scale = max(0.0, float(weights @ ((falling - centre) * (errors - level)) / spread)) if spread else 0.0
        floor = float(level - scale * centre)
        if floor < 0:
            floor, scale = 0.0, float(weights @ (falling * errors) / (weights @ falling**2))
        loss = float(weights @ (errors - floor - scale * falling) ** 2)
        if loss < best[0]:
            best = (loss, floor, scale, exponent)
    _, floor, scale, exponent = best
    return LearningCurve(rows, tuple(sizes), tuple(accuracies), floor, scale, exponent)
