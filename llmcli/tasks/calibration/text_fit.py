"""The regression on the labelled texts of a prompt file: features and penalty are fixed, since rows are few and chosen."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from threadpoolctl import threadpool_limits

from llmcli.tasks.calibration.feature_blocks import LAST, MEAN
from llmcli.tasks.calibration.feature_set import FeatureSet
from llmcli.tasks.calibration.model_selection import FitChoice, fit_choice

_CHOICE = FitChoice({LAST: 1.0, MEAN: 1.0}, penalty=1.0, temperature=1.0)
"""The scores of labels add nothing to the states from texts of other kinds."""


def fit_texts(
    values: Sequence[Mapping[str, Sequence[float]]], targets: Sequence[int], classes: int
) -> tuple[list[float], dict[str, list[list[float]]]]:
    """Return the bias of each class, and by block the coefficients of each class.

    ``values``: the blocks of each text, see ``feature_blocks.text_values``.
    """
    features = FeatureSet({name: np.array([each[name] for each in values]) for name in values[0]})
    with threadpool_limits(limits=1, user_api="blas"):
        scores = fit_choice(features, np.array(targets, dtype=np.intp), classes, _CHOICE)
    return scores.bias.tolist(), {name: matrix.T.tolist() for name, matrix in scores.coefficients.items()}
