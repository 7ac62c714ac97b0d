"""Label scores take the whole model, so they count only where they clearly pay."""

from __future__ import annotations

import numpy as np
import pytest

from llmcli.tasks.calibration.feature_blocks import LAST, SCORES
from llmcli.tasks.calibration.feature_set import FeatureSet
from llmcli.tasks.calibration.model_selection import SelectionOptions, select

ROWS = 120


def features_of(state_noise: float, score_noise: float, block: str) -> tuple[FeatureSet, np.ndarray]:
    """Return rows whose states and scores tell the label, each with noise of its own."""
    random = np.random.default_rng(0)
    targets = np.arange(ROWS) % 2
    signs = 2.0 * targets - 1
    states, scores = random.normal(size=(ROWS, 6)) * state_noise, random.normal(size=(ROWS, 2)) * score_noise
    states[:, 0] += signs
    scores[:, 0] += signs
    return FeatureSet({SCORES: scores, block: states}), targets


@pytest.mark.parametrize(
    ("state_noise", "score_noise", "block", "used"),
    [
        (0.5, 2.0, "last@17", False),  # they add little
        (2.0, 0.3, "last@17", True),  # they tell nearly all
        (0.8, 0.8, LAST, True),  # with the last layer they are nearly free
    ],
)
def test_scores_are_used_where_they_pay(state_noise, score_noise, block, used):
    features, targets = features_of(state_noise, score_noise, block)
    choice = select(features, targets, 2, SelectionOptions()).choice
    assert (SCORES in choice.weights) is used
    assert {*choice.losses} == {SCORES, block, f"{SCORES}, {block}"}
    assert all(0 < loss < 1 for loss in choice.losses.values())


def test_a_slightly_lower_loss_does_not_pay():
    """The loss with scores is the least one, by less than the standard error of the difference."""
    features, targets = features_of(0.8, 3.0, "last@17")
    choice = select(features, targets, 2, SelectionOptions()).choice
    assert min(choice.losses, key=choice.losses.__getitem__) == f"{SCORES}, last@17"
    assert [*choice.weights] == ["last@17"]
