"""The choices of the fit on chosen rows."""

from __future__ import annotations

import numpy as np

from llmcli.tasks.calibration.calibration import FitOptions, fit
from llmcli.tasks.calibration.feature_blocks import LAST, MEAN, SCORES
from llmcli.tasks.calibration.feature_set import FeatureSet
from llmcli.tasks.label.labelling_progress import selection_options


def make_features(names: tuple[str, ...], rows: int = 24) -> tuple[FeatureSet, np.ndarray]:
    """Return blocks of four columns, the first of which tells which of two labels a row has."""
    random = np.random.default_rng(3)
    targets = np.arange(rows) % 2
    blocks = {name: random.normal(size=(rows, 4)) for name in names}
    for block in blocks.values():
        block[:, 0] += 2 * targets
    return FeatureSet(blocks), targets


def test_the_fit_uses_hidden_states_and_a_weak_penalty():
    """Although a cross-validation on hard rows would prefer the label scores alone: here, only they tell the label."""
    features, targets = make_features((SCORES, MEAN, LAST))
    noise = np.random.default_rng(4).normal(size=(2, 24, 4))
    hard = FeatureSet({**features.blocks, MEAN: noise[0], LAST: noise[1]})
    labels = ["ab"[target] for target in targets]
    assert set(fit(hard, labels).choice.weights) == {SCORES}
    choice = fit(hard, labels, FitOptions(selection=selection_options(hard))).choice
    assert LAST in choice.weights and choice.penalty < 0.5


def test_label_scores_alone_are_used_without_hidden_states():
    """As with a server that does not report them."""
    features, targets = make_features((SCORES,))
    options = FitOptions(selection=selection_options(features))
    calibration = fit(features, ["ab"[target] for target in targets], options)
    assert calibration.blocks == (SCORES,)
