"""Multinomial logistic regression with an L2 penalty, for many penalties at once."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from llmcli.tasks.calibration.feature_set import Matrix

MAX_ITERATIONS = 300
TOLERANCE = 1e-3
"""Of the step, as a share of the length of the weights: far below what a cross-validation can tell apart."""

Tensor = NDArray[np.float64]


def softmax(logits: Tensor, axis: int = -1) -> Tensor:
    """Return exp(logits), normalized to sum to 1 over an axis."""
    grown = np.exp(logits - logits.max(axis=axis, keepdims=True))
    return np.asarray(grown / grown.sum(axis=axis, keepdims=True))


def log_softmax(logits: Tensor) -> Tensor:
    """Return the logarithm of ``softmax``, without underflow."""
    shifted = logits - logits.max(axis=-1, keepdims=True)
    return np.asarray(shifted - np.log(np.exp(shifted).sum(axis=-1, keepdims=True)))


def fit_softmax(design: Matrix, targets: NDArray[np.intp], classes: int, penalties: Tensor, bound: Tensor) -> Tensor:
    """Return the weights (width, penalties, classes) that ``fit_parts`` returns for all rows."""
    everything = np.ones((1, len(targets)), dtype=bool)
    return np.asarray(fit_parts(design, targets, classes, penalties, bound, everything)[:, 0])


def fit_parts(
    design: Matrix, targets: NDArray[np.intp], classes: int, penalties: Tensor, bound: Tensor, parts: NDArray[np.bool_]
) -> Tensor:
    """Return weights of shape (width, parts, penalties, classes), of a regression for each part of the rows.

    ``design`` (rows, width) has a last column that is all ones; ``parts`` (parts, rows) tells which rows are in each.

    Minimized is the sum over rows of -log softmax(row @ weights)[target], plus penalty / 2 * sum(weights ** 2), in
    which the last weight, the bias, has no part. ``bound`` (width,) has the property that design.T @ design <=
    diag(bound) in the order of positive semidefinite matrices; an orthogonal decomposition of these rows gives it, or
    one of more rows than these. The Hessian of the loss is then at most diag(bound) / 2 (Boehning 1992, Multinomial
    Logistic Regression Algorithm), so gradient steps scaled by its inverse need no search for a step length. They are
    accelerated (Nesterov
    1983) and restarted where they overshoot (O'Donoghue and Candes 2015, Adaptive Restart for Accelerated Gradient
    Schemes). The steps for a part end when all its penalties are done, whatever the other parts need.
    """
    count, width = design.shape
    size = len(parts) * len(penalties)
    goal = np.eye(classes)[targets][:, :, None]
    counted = np.repeat(parts.T.astype(float), len(penalties), axis=1)[:, None, :]
    penalty = np.zeros((width, 1, size))
    penalty[:-1] = np.tile(penalties, len(parts))
    curvature = bound[:, None, None] / 2 + penalty
    current = ahead = np.zeros((width, classes, size))  # the longest axis is the last one, where NumPy is fast
    momentum = np.ones(size)
    solved = np.zeros((width, classes, len(parts), len(penalties)))
    pending = np.ones(len(parts), dtype=bool)
    for _ in range(MAX_ITERATIONS):
        logits = (design @ ahead.reshape(width, classes * size)).reshape(count, classes, size)
        residual = (softmax(logits, axis=1) - goal) * counted
        gradient = (design.T @ residual.reshape(count, classes * size)).reshape(width, classes, size) + penalty * ahead
        following = ahead - gradient / curvature
        step = following - current
        restarts = (gradient * step).sum(axis=(0, 1)) > 0
        grown = np.where(restarts, 1.0, (1 + np.sqrt(1 + 4 * momentum**2)) / 2)
        share = np.where(restarts, 0.0, (momentum - 1) / grown)
        moved = np.sqrt((curvature * step**2).sum(axis=(0, 1)))
        length = np.sqrt((curvature * following**2).sum(axis=(0, 1)))
        ahead, current, momentum = following + share * step, following, grown
        solved[:, :, pending] = current.reshape(solved.shape)[:, :, pending]
        pending &= (moved > TOLERANCE * length).reshape(len(parts), len(penalties)).any(axis=1)
        if not pending.any():
            break
    return solved.transpose(0, 2, 3, 1)
