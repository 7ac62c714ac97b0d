"""The progress of labelling: accuracy by cross-validation, and whether more answers would raise it."""

from __future__ import annotations

import numpy as np
from threadpoolctl import threadpool_limits

from llmcli.fast_dataclass import frozen
from llmcli.tasks.calibration.feature_blocks import LAST, split_block
from llmcli.tasks.calibration.feature_set import FeatureSet
from llmcli.tasks.calibration.learning_curve import FLAT_GAIN, measure_curve
from llmcli.tasks.calibration.model_selection import PENALTIES, SelectionOptions, candidate_weights, select

MIN_ROWS = 10
MIN_FLAT_ROWS = 60


@frozen
class LabellingProgress:
    """``accuracy`` (0 to 1) is that of rows that the fit did not see; ``flat``: more answers would hardly raise it."""

    accuracy: float
    flat: bool


def measure_progress(features: FeatureSet, labels: list[str]) -> LabellingProgress | None:
    """Return the progress for answered rows; None for less than ``MIN_ROWS``, or one label alone."""
    names, targets = np.unique(labels, return_inverse=True)
    if len(labels) < MIN_ROWS or len(names) < 2:  # noqa: PLR2004 (a choice)
        return None
    with threadpool_limits(limits=1, user_api="blas"):
        selection = select(features, targets, len(names), selection_options(features, repeats=1))
        accuracy = float((selection.logits.argmax(axis=1) == targets).mean())
        if len(labels) < MIN_FLAT_ROWS:
            return LabellingProgress(accuracy, flat=False)
        curve = measure_curve(features, targets, len(names), selection.choice)
    return LabellingProgress(accuracy, flat=curve is not None and curve.gain() < FLAT_GAIN)


_MAX_PENALTY = 0.5


def selection_options(features: FeatureSet, repeats: int = 2) -> SelectionOptions:
    """Return options for ``select`` and ``fit``: hidden states, if there are any, and weak penalties."""
    combinations = candidate_weights([*features.blocks])
    informed = [weights for weights in combinations if LAST in {split_block(name)[0] for name in weights}]
    penalties = [penalty for penalty in PENALTIES if penalty <= _MAX_PENALTY]
    return SelectionOptions(repeats=repeats, candidates=informed or combinations, penalties=penalties)
