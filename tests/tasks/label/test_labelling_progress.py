"""The point at which more answers are said to be of no use."""

from __future__ import annotations

import numpy as np

from llmcli.tasks.calibration.feature_blocks import LAST
from llmcli.tasks.calibration.feature_set import FeatureSet
from llmcli.tasks.label.background_scoring import RowSelector
from llmcli.tasks.label.labelling_progress import measure_progress


def answer(width: int, signal: float, count: int) -> tuple[FeatureSet, list[str]]:
    """Return the features and labels of the rows that the selector asks about, of 300 with a signal in every column."""
    random = np.random.default_rng(5)
    targets = random.integers(0, 2, 300)
    features = FeatureSet({LAST: random.normal(size=(300, width)) + signal * (2 * targets[:, None] - 1)})
    selector, answers = RowSelector(features, 2), {}
    while len(answers) < count:
        row = selector.next_row(answers)
        answers[row] = int(targets[row])
    return features.take([*answers]), ["ab"[target] for target in answers.values()]


def test_an_easy_question_ends_early():
    """With 60 chosen rows, the curve of an easy set is flat."""
    progress = measure_progress(*answer(4, 2.0, 60))
    assert progress is not None and progress.flat and progress.accuracy > 0.95


def test_a_hard_question_goes_on():
    """With weak signals in many columns, each further label helps."""
    progress = measure_progress(*answer(200, 0.12, 60))
    assert progress is not None and not progress.flat


def test_few_answers_have_no_accuracy():
    """Ten are needed, of two labels."""
    features, labels = answer(4, 2.0, 12)
    assert measure_progress(features.take(range(9)), labels[:9]) is None
    assert measure_progress(features, ["a"] * 12) is None
