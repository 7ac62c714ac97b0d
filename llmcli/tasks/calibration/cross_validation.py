"""Held-out predictions of softmax regressions with several feature weights and penalties, by stratified k-fold."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from llmcli.fast_dataclass import frozen
from llmcli.tasks.calibration.feature_space import FeatureSpace
from llmcli.tasks.calibration.softmax_regression import Tensor, fit_parts, log_softmax

Targets = NDArray[np.intp]
_MAX_NUMBERS = 1 << 15
"""Logits that are computed together: those of all folds of a few hundred rows, or of one of more rows."""


@frozen
class Fold:
    """Indices of the rows to fit on and of those to predict."""

    train: Targets
    test: Targets


def make_folds(targets: Targets, count: int, seed: int) -> list[Fold]:
    """Return ``count`` folds in which each class has nearly the same share; every row is predicted once.

    Rows of a class are shuffled and dealt out in turn, the next class going on where the last one ended.
    """
    random = np.random.default_rng(seed)
    order = np.concatenate([random.permutation(np.flatnonzero(targets == each)) for each in np.unique(targets)])
    place = np.empty(len(targets), dtype=np.intp)
    place[order] = np.arange(len(targets)) % count
    return [Fold(np.flatnonzero(place != each), np.flatnonzero(place == each)) for each in range(count)]


def predict_folds(
    space: FeatureSpace, targets: Targets, classes: int, penalties: Tensor, folds: Sequence[Fold]
) -> Tensor:
    """Return the logits of each row, (rows, penalties, classes), from the fit that did not see it.

    If the folds are several divisions of the rows, the logits of a row are their mean. Rows that no fold predicts are
    not a number.
    """
    total = np.zeros((len(targets), len(penalties), classes))
    seen = np.zeros(len(targets))
    together = max(1, _MAX_NUMBERS // total.size)
    for start in range(0, len(folds), together):
        group = folds[start : start + together]
        rows = np.unique(np.concatenate([fold.train for fold in group]))
        parts = np.array([np.isin(rows, fold.train) for fold in group])
        weights = fit_parts(space.design[rows], targets[rows], classes, penalties, space.bound, parts)
        for number, fold in enumerate(group):
            total[fold.test] += np.tensordot(space.design[fold.test], weights[:, number], axes=1)
            seen[fold.test] += 1
    with np.errstate(invalid="ignore"):
        return np.asarray(total / seen[:, None, None])


def row_losses(logits: Tensor, targets: Targets) -> Tensor:
    """Return the log-loss of each row, (rows, ...), from logits (rows, ..., classes)."""
    index = targets.reshape(-1, *([1] * (logits.ndim - 1)))
    return np.asarray(-np.take_along_axis(log_softmax(logits), index, axis=-1)[..., 0])
