"""An answer that repeats itself is stopped, and one that does not is passed on unchanged."""

from __future__ import annotations

import pytest

from llmcli.tasks.execution.repetition import RepetitionFilter


def feed(text, size):
    found = RepetitionFilter()
    passed = "".join(found.feed(text[at : at + size]) for at in range(0, len(text), size))
    return found.stopped, passed


@pytest.mark.parametrize("size", [1, 7, 10_000])
def test_the_third_equal_line_is_a_repetition(size):
    """Nothing after it is passed on."""
    stopped, passed = feed("- the town is small\n- it is old\n" + "- the town is small\n" * 100, size)
    assert stopped and passed.count("- the town is small") == 3


@pytest.mark.parametrize("size", [1, 7, 10_000])
@pytest.mark.parametrize("unit", ["and so on ", "very ", "the cat sat on the mat and then it rained again "])
def test_equal_groups_of_words_are_a_repetition(unit, size):
    """Also without line ends; at most a few groups more are passed on."""
    stopped, passed = feed("It began well. " + unit * 200, size)
    assert stopped and len(passed) < 15 + max(6 * len(unit), 150)


@pytest.mark.parametrize("size", [1, 7, 10_000])
def test_other_texts_are_passed_on_unchanged(size):
    """Short lines and lists with a common beginning repeat some words."""
    text = "".join(f"- item {number} of the list is here\n- yes\n\n" for number in range(40))
    assert feed(text, size) == (False, text)
