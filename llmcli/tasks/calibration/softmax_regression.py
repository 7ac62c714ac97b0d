"""Multinomial logistic regression with an L2 penalty, for many penalties at once."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from llmcli.tasks.calibration.feature_set import Matrix

MAX_ITERATIONS = 300
TOLERANCE = 1e-3
"""Of the step, as a share of the length of the weights: far below what a cross-validation can tell apart."""

Tensor = NDArray[np.float64]


def softmax(logits: Tensor) -> Tensor:
    """Return exp(logits), normalized to sum to 1 over the last axis."""
    grown = np.exp(logits - logits.max(axis=-1, keepdims=True))
    return np.asarray(grown / grown.sum(axis=-1, keepdims=True))


def log_softmax(logits: Tensor) -> Tensor:
    """Return the logarithm of ``softmax``, without underflow."""
    shifted = logits - logits.max(axis=-1, keepdims=True)
    return np.asarray(shifted - np.log(np.exp(shifted).sum(axis=-1, keepdims=True)))


def fit_softmax(design: Matrix, targets: NDArray[np.intp], classes: int, penalties: Tensor, bound: Tensor) -> Tensor:
    """Return weights of shape (width, penalties, classes) for a design (rows, width) whose last column is all ones.

    Minimized is the sum over rows of -log softmax(row @ weights)[target], plus penalty / 2 * sum(weights ** 2), in
    which the last weight, the bias, has no part. ``bound`` (width,) has the property that design.T @ design <=
    diag(bound) in the order of positive semidefinite matrices; an orthogonal decomposition of these rows gives it, or
    one of more rows than these. The Hessian of the loss is then at most diag(bound) / 2 (Boehning 1992, Multinomial
    Logistic Regression Algorithm), so gradient steps scaled by its inverse need no search for a step length. They are
    accelerated (Nesterov
    1983) and restarted where they overshoot (O'Donoghue and Candes 2015, Adaptive Restart for Accelerated Gradient
    Schemes).
    """
    count, width = design.shape
    size = len(penalties)
    goal = np.eye(classes)[targets][:, None, :]
    penalty = np.zeros((width, size, 1))
    penalty[:-1] = penalties[None, :, None]
    curvature = bound[:, None, None] / 2 + penalty
    current = ahead = np.zeros((width, size, classes))
    momentum = np.ones(size)
    for _ in range(MAX_ITERATIONS):
        logits = (design @ ahead.reshape(width, size * classes)).reshape(count, size, classes)
        residual = (softmax(logits) - goal).reshape(count, size * classes)
        gradient = (design.T @ residual).reshape(width, size, classes) + penalty * ahead
        following = ahead - gradient / curvature
        step = following - current
        restarts = (gradient * step).sum(axis=(0, 2)) > 0
        grown = np.where(restarts, 1.0, (1 + np.sqrt(1 + 4 * momentum**2)) / 2)
        share = np.where(restarts, 0.0, (momentum - 1) / grown)
        moved = np.sqrt((curvature * step**2).sum(axis=(0, 2)))
        length = np.sqrt((curvature * following**2).sum(axis=(0, 2)))
        ahead, current, momentum = following + share[None, :, None] * step, following, grown
        if np.all(moved <= TOLERANCE * length):
            break
    return current
