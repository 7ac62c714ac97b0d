"""Label scores take the whole model, so they count only where they clearly pay."""

from __future__ import annotations

import numpy as np
import pytest

from llmcli.tasks.calibration.calibration import FitOptions, fit
from llmcli.tasks.calibration.feature_blocks import LAST, SCORES
from llmcli.tasks.calibration.feature_set import FeatureSet
from llmcli.tasks.calibration.model_selection import CASCADE_SHARE, SelectionOptions, label_margins, select
from llmcli.tasks.calibration.softmax_regression import softmax

ROWS = 120
LABELS = ("no", "yes")


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


def test_a_cascade_uses_scores_where_the_states_are_unsure():
    """A fifth of the rows get the logits of the second stage; without ``cascades`` there is none."""
    features, targets = features_of(0.8, 3.0, "last@17")
    found = select(features, targets, 2, SelectionOptions(cascades=True))
    alone = select(features, targets, 2, SelectionOptions())
    assert alone.cascade is None and [*found.choice.weights] == ["last@17"]
    assert found.cascade is not None and {*found.cascade.choice.weights} == {SCORES, "last@17"}
    changed = (found.logits != alone.logits).any(axis=1)
    margins = label_margins(softmax(alone.logits))
    assert changed.sum() == ROWS * CASCADE_SHARE and margins[changed].max() < found.cascade.margin
    assert found.cascade.margin <= margins[~changed].min()


def test_no_cascade_where_one_stage_is_enough():
    """Scores pay for all rows, or states are so sure that no row is asked about again."""
    features, targets = features_of(2.0, 0.3, "last@17")
    assert select(features, targets, 2, SelectionOptions(cascades=True)).cascade is None
    features, targets = features_of(0.1, 3.0, "last@17")
    found = select(features, targets, 2, SelectionOptions(cascades=True))
    assert found.cascade is None or label_margins(softmax(found.logits)).min() > found.cascade.margin


def test_the_second_stage_labels_unsure_rows_alone():
    """Its probabilities are those of the regression with scores."""
    features, targets = features_of(0.8, 3.0, "last@17")
    options = FitOptions(labels=LABELS, curve=False, selection=SelectionOptions(cascades=True))
    known = fit(features, [LABELS[target] for target in targets], options)
    assert known.cascade is not None and known.blocks == ("last@17",)
    both, first = known.probabilities(features), known.stage_probabilities(features, second=False)
    later = known.stage_probabilities(features, second=True)
    is_unsure = label_margins(first) < known.cascade.margin
    assert 0 < is_unsure.sum() < ROWS / 2 and (later != first).any(axis=1).all()
    assert (both[is_unsure] == later[is_unsure]).all() and (both[~is_unsure] == first[~is_unsure]).all()
