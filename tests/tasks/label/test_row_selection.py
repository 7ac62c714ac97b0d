"""The row that is asked about next."""

from __future__ import annotations

import numpy as np
import pytest

from llmcli.tasks.calibration.feature_blocks import LAST, SCORES
from llmcli.tasks.calibration.feature_set import FeatureSet
from llmcli.tasks.label.background_scoring import RowSelector


def make_features(values: np.ndarray, width: int = 3) -> FeatureSet:
    """Return features of rows along a line, with which the scores rise and fall."""
    return FeatureSet({SCORES: np.stack([values, -values], axis=1), LAST: values[:, None] * np.ones(width)})


def make_selector() -> tuple[RowSelector, np.ndarray]:
    """Return a selector on rows along a line, the label being the sign of the first score."""
    values = np.linspace(-1.0, 1.0, 41)
    return RowSelector(make_features(values), 2), (values > 0).astype(int)


def test_the_first_rows_lie_on_both_sides():
    """Without answers, what is known about one end tells nothing about the other."""
    selector, _ = make_selector()
    first = selector.next_row({})
    second = selector.next_row({first: 0})
    assert (first < 20) != (second < 20)


def test_a_row_that_many_others_resemble_comes_before_a_lone_one():
    """Its label tells more about the pool, although the lone one is farther from all others."""
    random = np.random.default_rng(0)
    crowd = np.repeat(np.eye(8)[:2], 60, axis=0) + random.normal(scale=0.05, size=(120, 8))
    points = np.concatenate([crowd, 1.5 * np.eye(8)[7:]])
    selector = RowSelector(FeatureSet({LAST: points}), 2)
    first = selector.next_row({})
    second = selector.next_row({first: 0})
    assert {first // 60, second // 60} == {0, 1}


def test_later_rows_are_uncertain():
    """Where the labels change, a label tells more than among rows whose label is known."""
    selector, targets = make_selector()
    answers = {row: int(targets[row]) for row in (0, 5, 10, 15, 25, 30, 35, 40)}
    row = selector.next_row(answers)
    assert 15 < row < 25


def test_a_row_beside_an_answered_one_teaches_less():
    """Of two equal groups of rows, the one without an answer is asked about."""
    random = np.random.default_rng(1)
    points = np.repeat(np.eye(6)[:3], 20, axis=0) + random.normal(scale=0.05, size=(60, 6))
    selector = RowSelector(FeatureSet({LAST: points}), 2)
    assert 40 <= selector.next_row({0: 0, 20: 1}) < 60


def test_answered_and_skipped_rows_are_not_asked_again():
    """Until no row is left."""
    selector, targets = make_selector()
    answers, skipped = {}, set()
    while (row := selector.next_row(answers, skipped)) is not None:
        assert row not in answers and row not in skipped
        if row % 3:
            answers[row] = int(targets[row])
        else:
            skipped.add(row)
    assert len(answers) + len(skipped) == 41


@pytest.mark.parametrize("classes", [2, 3])
def test_one_label_alone_does_not_stop_the_choice(classes):
    """Without a second label there is no fit, and rows go on being spread."""
    values = np.linspace(-1.0, 1.0, 41)
    selector = RowSelector(make_features(values), classes)
    assert selector.next_row({0: 0, 1: 0, 2: 0}) > 20


def test_the_same_answers_give_the_same_row():
    """So that the same command goes on where it ended, and in whatever order the answers came."""
    selector, targets = make_selector()
    answers = {row: int(targets[row]) for row in (0, 10, 30, 40)}
    again = RowSelector(make_features(np.linspace(-1.0, 1.0, 41)), 2)
    assert again.next_row(dict(reversed(answers.items()))) == selector.next_row(answers)


def test_chosen_rows_teach_more_than_random_ones():
    """On two overlapping classes in 20 dimensions, the regression on 30 chosen rows errs less than on 30 random ones."""
    errors = {"chosen": [], "random": []}
    for seed in range(8):
        random = np.random.default_rng(seed)
        targets = random.integers(0, 2, 400)
        points = random.normal(size=(400, 20)) * np.linspace(1.5, 0.2, 20)
        points[:, 0] += 2.2 * (2 * targets - 1)
        features = FeatureSet({LAST: points})
        selector, answers = RowSelector(features, 2), {}
        while len(answers) < 30:
            row = selector.next_row(answers)
            answers[row] = int(targets[row])
        errors["chosen"].append(_error(points, targets, [*answers]))
        errors["random"].append(_error(points, targets, list(range(30))))
    assert np.mean(errors["chosen"]) < np.mean(errors["random"])


@pytest.mark.parametrize("rows", [1, 5])
def test_equal_rows_are_asked_about_in_turn(rows):
    """Nothing tells them apart, and there are no coordinates."""
    selector, answers = RowSelector(FeatureSet({LAST: np.ones((rows, 3))}), 2), {}
    while (row := selector.next_row(answers)) is not None:
        answers[row] = row % 2
    assert sorted(answers) == list(range(rows))


def _error(points: np.ndarray, targets: np.ndarray, rows: list[int]) -> float:
    """Return the share of wrong rows of a ridge regression on some of them."""
    design = np.concatenate([points, np.ones((len(points), 1))], axis=1)
    known = design[rows]
    weights = np.linalg.solve(known.T @ known + np.eye(design.shape[1]), known.T @ (2.0 * targets[rows] - 1))
    return float(((design @ weights > 0) != targets).mean())
