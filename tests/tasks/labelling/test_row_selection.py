"""Which row is asked about next."""

from __future__ import annotations

import numpy as np

from llmcli.tasks.calibration.feature_blocks import LAST, SCORES
from llmcli.tasks.calibration.feature_set import FeatureSet
from llmcli.tasks.labelling.row_selection import RowSelector, SelectionStrategy


def make_selector(first: int = 4, uncertain: int = 1) -> tuple[RowSelector, np.ndarray]:
    """Return a selector on rows along a line, the label being the sign of the first score."""
    values = np.linspace(-1.0, 1.0, 41)
    features = FeatureSet({SCORES: np.stack([values, -values], axis=1), LAST: values[:, None] * np.ones(3)})
    return RowSelector(features, 2, SelectionStrategy(first, uncertain)), (values > 0).astype(int)


def test_the_first_rows_are_spread_over_the_pool():
    """After the first one, each is the most distant from those before."""
    selector, _ = make_selector()
    first = selector.next_row({})
    second = selector.next_row({first: 0})
    third = selector.next_row({first: 0, second: 0})
    assert {second, third} & {0, 40} and len({first, second, third}) == 3


def test_later_rows_are_uncertain():
    """With one uncertain row to choose from, it is the one with the smallest margin."""
    selector, targets = make_selector(first=2)
    answers = {row: int(targets[row]) for row in (0, 10, 30, 40)}
    free = [row for row in range(41) if row not in answers]
    assert selector.next_row(answers) == min(free, key=lambda row: selector.margins(answers)[row])


def test_the_most_distant_uncertain_row_is_taken():
    """A row beside one that has an answer teaches little."""
    selector, targets = make_selector(first=2, uncertain=41)
    answers = {row: int(targets[row]) for row in (0, 5, 35, 40)}
    assert selector.next_row(answers) == 20


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


def test_one_label_alone_does_not_stop_the_choice():
    """Without a second label there is no fit, and rows go on being spread."""
    selector, _ = make_selector(first=1)
    assert selector.next_row({0: 0, 40: 0}) == 20
