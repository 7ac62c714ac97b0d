"""Which row of a pool to ask about next: an uncertain one that is unlike those already answered."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass

import numpy as np
from threadpoolctl import threadpool_limits

from llmcli.tasks.calibration.cross_validation import Targets
from llmcli.tasks.calibration.feature_blocks import LAST, MEAN, SCORES
from llmcli.tasks.calibration.feature_set import FeatureSet, Matrix
from llmcli.tasks.calibration.feature_space import measure_scale
from llmcli.tasks.calibration.model_selection import FitChoice, fit_choice
from llmcli.tasks.calibration.softmax_regression import softmax

_WEIGHTS = {SCORES: 0.5, LAST: 1.0, MEAN: 0.7}
_PENALTY = 1.0


@dataclass(frozen=True, slots=True)
class SelectionStrategy:
    """``first_rows`` are spread over the pool; each later one is the most distant of ``uncertain_rows`` with small margins."""

    first_rows: int = 10
    uncertain_rows: int = 10


class RowSelector:
    """Chooses rows of a pool with ``features``; the labels are numbers from 0 to ``classes`` - 1.

    The margin is that of a regression on the answers so far (margin sampling, Scheffer et al. 2001); among the uncertain
    rows, the one is taken whose nearest answered row is farthest (greedy k-center, Sener and Savarese 2018).
    """

    def __init__(
        self, features: FeatureSet, classes: int, strategy: SelectionStrategy | None = None, *, seed: int = 0
    ) -> None:
        self._features = features
        self._classes = classes
        self._strategy = strategy or SelectionStrategy()
        self._weights = {name: weight for name, weight in _WEIGHTS.items() if name in features.blocks}
        self._points = np.concatenate(
            [
                measure_scale(features.blocks[name]).apply(features.blocks[name]) * weight
                for name, weight in self._weights.items()
            ],
            axis=1,
        )
        self._squares = (self._points**2).sum(axis=1)
        self._first = int(np.random.default_rng(seed).integers(features.rows))

    def next_row(self, answers: Mapping[int, int], skipped: Collection[int] = ()) -> int | None:
        """Return the row to ask about, None if all have an answer or were skipped. ``answers``: labels by row."""
        done = {*answers, *skipped}
        free = np.array([row for row in range(self._features.rows) if row not in done], dtype=np.intp)
        if not len(free):
            return None
        if not done:
            return self._first
        distances = self._distances(free, np.array(sorted(done), dtype=np.intp))
        if len(answers) < self._strategy.first_rows or len(set(answers.values())) < 2:  # noqa: PLR2004 (a choice)
            return int(free[distances.argmax()])
        closest = np.argsort(self.margins(answers)[free], kind="stable")[: self._strategy.uncertain_rows]
        return int(free[closest[distances[closest].argmax()]])

    def margins(self, answers: Mapping[int, int]) -> Matrix:
        """Return how far the most likely label of each row leads, 0 to 1, after a fit on answers of two labels at least."""
        rows = np.array([*answers], dtype=np.intp)
        seen, targets = np.unique(np.array([*answers.values()], dtype=np.intp), return_inverse=True)
        choice = FitChoice(self._weights, _PENALTY, 1.0)
        with threadpool_limits(limits=1, user_api="blas"):
            fitted = fit_choice(self._features.take(rows), targets, len(seen), choice)
            ordered = np.sort(softmax(fitted.logits(self._features)), axis=1)
        return np.asarray(ordered[:, -1] - ordered[:, -2])

    def _distances(self, rows: Targets, others: Targets) -> Matrix:
        """Return the squared distance of each row to the nearest of the others."""
        products = self._points[rows] @ self._points[others].T
        squares = self._squares[rows][:, None] + self._squares[others] - 2 * products
        return np.asarray(squares.min(axis=1))
