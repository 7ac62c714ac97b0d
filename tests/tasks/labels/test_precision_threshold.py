"""The threshold for a precision, and its interval."""

import random

import pytest

from llmcli.tasks.labels.precision_threshold import choose_threshold, clopper_pearson


def test_the_interval_is_that_of_the_tables():
    """Reference values: R's binom.test(8, 10), binom.test(0, 10), binom.test(10, 10), binom.test(190, 200)."""
    assert clopper_pearson(8, 10) == pytest.approx((0.4439045, 0.9747893), abs=1e-6)
    assert clopper_pearson(0, 10) == pytest.approx((0.0, 0.3084971), abs=1e-6)
    assert clopper_pearson(10, 10) == pytest.approx((0.6915029, 1.0), abs=1e-6)
    assert clopper_pearson(190, 200) == pytest.approx((0.9099745, 0.9757700), abs=1e-5)


def test_as_many_rows_as_possible_are_answered():
    """The lowest threshold that reaches the target wins, although a higher one is more precise."""
    confidences = [1 - index / 100 for index in range(100)]
    correct = [index < 60 or index % 2 == 0 for index in range(100)]
    chosen = choose_threshold(confidences, correct, 0.9)
    assert chosen.reached and 70 < chosen.answered < 80
    assert chosen.precision >= 0.9 and chosen.low < chosen.precision < chosen.high


def test_one_lucky_answer_is_not_enough():
    """A few right answers do not prove a precision of 0.95."""
    chosen = choose_threshold([0.9, 0.8, 0.7], [True, False, False], 0.95)
    assert not chosen.reached and chosen.answered == 1


def test_equal_confidences_stay_together():
    """A threshold cannot separate them."""
    chosen = choose_threshold([0.9] * 40 + [0.5] * 2, [True] * 39 + [False] + [True, False], 0.9)
    assert chosen.answered in {40, 42} and chosen.threshold in {0.9, 0.5}


def test_the_target_is_reached_on_other_rows():
    """On average over splits: calibrated confidences of 200 rows, tested on 2,000 more."""
    chance = random.Random(7)
    precisions, answered = [], []
    for _ in range(20):
        rows = [chance.uniform(0.5, 1.0) ** 0.5 for _ in range(2200)]
        right = [chance.random() < share for share in rows]
        chosen = choose_threshold(rows[:200], right[:200], 0.9)
        rest = [ok for share, ok in zip(rows[200:], right[200:], strict=True) if share >= chosen.threshold]
        precisions.append(sum(rest) / len(rest))
        answered.append(len(rest) / 2000)
    assert sum(precisions) / 20 >= 0.89 and sum(answered) / 20 > 0.4


def test_no_rows():
    """There is nothing to choose from."""
    with pytest.raises(ValueError, match="no labelled rows"):
        choose_threshold([], [], 0.9)
