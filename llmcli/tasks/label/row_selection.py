"""Selects the row of a pool to ask about next: the one whose label would make the predictions for all rows surest."""

from __future__ import annotations

from collections.abc import Collection, Mapping

import numpy as np
from threadpoolctl import threadpool_limits

from llmcli.tasks.calibration.feature_set import FeatureSet, Matrix
from llmcli.tasks.calibration.feature_space import make_space, measure_scales
from llmcli.tasks.calibration.model_selection import FitChoice, candidate_weights, fit_choice
from llmcli.tasks.calibration.softmax_regression import softmax

MAX_DIMENSIONS = 100
"""Principal components of the pool in which variances are computed; more change nothing and take longer."""
_PENALTY = 0.1
"""Good for random rows of many files: the answers so far are too few, and too special, to choose it."""
_BIAS_PENALTY = 0.1
_MIN_IMPURITY = 0.04
"""Of a row whose label seems certain: the fit may be wrong."""


class RowSelector:
    """Chooses rows of a pool with ``features``; the labels are numbers from 0 to ``classes`` - 1.

    Each choice minimizes the expected variance of the predicted probabilities, summed over the pool: variance reduction,
    the method that Schein and Ungar 2007 (Active Learning for Logistic Regression: An Evaluation) found to be the most
    reliable. An uncertain row that many uncertain rows resemble has the most to tell; the first rows, without answers to
    predict from, are typical ones that are unlike each other. The variances are those of the Laplace approximation, in
    which a label of row x has the Gini impurity of its probabilities as information.
    """

    def __init__(self, features: FeatureSet, classes: int) -> None:
        self._features = features
        self._classes = classes
        self._weights = candidate_weights([*features.blocks])[-1]  # all blocks
        self._scales = measure_scales(features)
        with threadpool_limits(limits=1, user_api="blas"):
            space = make_space(features, self._scales, self._weights)
        # the coordinates stand in the order of their variance; the last column is the bias
        self._points = space.design[:, -MAX_DIMENSIONS - 1 :]
        penalties = np.full(self._points.shape[1], _PENALTY)
        penalties[-1] = _BIAS_PENALTY
        self._penalties = np.diag(penalties)

    def next_row(self, answers: Mapping[int, int], skipped: Collection[int] = ()) -> int | None:
        """Return the row to ask about, None if all have an answer or were skipped. ``answers``: labels by row."""
        free = np.ones(self._features.rows, dtype=bool)
        free[[*answers, *skipped]] = False
        if not free.any():
            return None
        with threadpool_limits(limits=1, user_api="blas"):
            gains = self.variance_reductions(answers)
        return int(np.where(free, gains, -np.inf).argmax())

    def variance_reductions(self, answers: Mapping[int, int]) -> Matrix:
        """Return by how much the label of each row would reduce the variance of the pool, up to a common factor.

        With covariance C of the logits and impurity g, the label of row x reduces the variance of the logit of row j by
        C[j, x] ** 2 / (C[x, x] + 1 / g[x]), and the variance of its probability by g[j] ** 2 times as much.
        """
        impurity = self._impurities(answers)
        known = self._points[[*answers]]
        precision = self._penalties + (known.T * impurity[[*answers]]) @ known
        projected = self._points @ np.linalg.inv(precision)
        pool = (self._points.T * impurity**2) @ self._points
        variances = (projected * self._points).sum(axis=1)
        return np.asarray(((projected @ pool) * projected).sum(axis=1) / (variances + 1 / impurity))

    def _impurities(self, answers: Mapping[int, int]) -> Matrix:
        """Return the Gini impurity of each row's probabilities; equal ones until there are answers of two labels."""
        rows = np.array([*answers], dtype=np.intp)
        seen, targets = np.unique(np.array([*answers.values()], dtype=np.intp), return_inverse=True)
        if len(seen) < 2:  # noqa: PLR2004 (a choice)
            return np.full(self._features.rows, 1 - 1 / self._classes)
        choice = FitChoice(self._weights, _PENALTY, 1.0)
        fitted = fit_choice(self._features.take(rows), targets, len(seen), choice, self._scales)
        impurity = 1 - (softmax(fitted.logits(self._features)) ** 2).sum(axis=1)
        return np.asarray(np.maximum(impurity, _MIN_IMPURITY))
