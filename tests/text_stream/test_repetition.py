"""The guard against repetition, on recorded loops of small models and on texts that repeat themselves legitimately."""

from __future__ import annotations

import gzip
import json
import random
from pathlib import Path

import pytest
from text_stream.legitimate_texts import KINDS, make_texts

from llmcli.text_stream import THRESHOLDS, RepetitionGuard
from llmcli.types import RepetitionPolicy

ANSWER, SUMMARY = RepetitionPolicy.ANSWER, RepetitionPolicy.SUMMARY
ITEM = "The mayor was absent from the meeting.\n"
MAX_LATE_CHARS = 400
with gzip.open(Path(__file__).with_name("loops.jsonl.gz"), "rt", encoding="utf-8") as lines:
    LOOPS = [json.loads(line) for line in lines]


def guarded(text, policy=ANSWER, size=4):
    """Return (what is shown of a text, how many characters of it were read, whether it was stopped)."""
    guard, shown, read = RepetitionGuard(policy), "", 0
    while read < len(text) and not guard.stopped:
        shown += guard.feed(text[read : read + size])
        read += size
    return shown + guard.flush(), read, guard.stopped


def find_loop(text):
    """Return (start, period) of the repetition at the end of a text, by comparing each with each."""
    for period in range(1, len(text) // 3):
        start = len(text) - period
        while start and text[start - 1] == text[start - 1 + period]:
            start -= 1
        if len(text) - start >= 3 * period + MAX_LATE_CHARS:
            return start, period
    raise AssertionError("the text does not end with a repetition")


@pytest.mark.parametrize("kind", KINDS, ids=[kind.__name__ for kind in KINDS])
@pytest.mark.parametrize("size", [4, 1000])
def test_legitimate_repetition_is_delivered(kind, size):
    """Tables, code, verse, lists and logs come out whole, in small pieces and in large ones."""
    for text in make_texts(kind):
        assert guarded(text, size=size) == (text, len(text) + -len(text) % size, False)


def test_there_are_enough_texts_and_loops():
    """At least 500 different legitimate texts, and 200 loops of two models."""
    assert len({text for kind in KINDS for text in make_texts(kind)}) >= 500
    assert len(LOOPS) >= 200 and len({loop["model"] for loop in LOOPS}) == 2
    assert {loop["temperature"] for loop in LOOPS} >= {0.0, 0.3, 0.7, 1.0}


def test_every_recorded_loop_is_stopped():
    """At most 400 characters after the third round; the text before the repetition is delivered, with its first round."""
    for loop in LOOPS:
        text = loop["text"]
        start, period = find_loop(text)
        shown, read, stopped = guarded(text)
        assert stopped and read <= start + 3 * period + MAX_LATE_CHARS, loop
        assert text.startswith(shown)
        if read > start + 3 * period:  # no earlier repetition ended it
            assert start + period <= len(shown) <= start + 4 * period + 60, loop


@pytest.mark.parametrize("size", [1, 7, 5000])
@pytest.mark.parametrize("unit", ["#", "ab ", "and so on ", ITEM, ITEM[:-1] + " It rained. " * 20 + "\n"])
def test_an_endless_answer_is_cut_after_two_rounds(unit, size):
    """The cut does not depend on the size of the pieces, and no third round is shown."""
    shown, _, stopped = guarded("Once upon a time: " + unit * (5000 // len(unit)), size=size)
    assert stopped and shown == guarded("Once upon a time: " + unit * 5000)[0]
    assert shown.startswith("Once upon a time: " + unit) and len(shown) <= 18 + max(3 * len(unit), 40)


@pytest.mark.parametrize("before", ["", "Also absent: the\nmayor. ", "absent from the meeting.\n"])
def test_a_cut_answer_ends_at_the_end_of_a_line(before):
    """Also if the repetition began within a line."""
    assert guarded(before + ITEM * 50)[0].endswith(ITEM)


def test_suspect_text_is_withheld_until_it_is_decided():
    """From the third round on; when another text follows, all of it is delivered."""
    guard = RepetitionGuard(ANSWER)
    assert guard.feed(ITEM) + guard.feed(ITEM) == ITEM * 2
    assert guard.feed(ITEM) == guard.feed(ITEM) == ""
    assert guard.feed("But it was warm.") == ITEM * 2 + "But it was warm."
    assert not guard.stopped and guard.flush() == ""


def test_what_is_withheld_at_the_end_of_an_answer_is_delivered():
    """The model has ended the repetition itself."""
    guard = RepetitionGuard(ANSWER)
    assert guard.feed(ITEM * 5) == ITEM * 2 and guard.flush() == ITEM * 3


PHRASES = "What is the name of the animal with long ears? ", "And that with short ears? ", "It is the hare. "


@pytest.mark.parametrize("line", ["{n}. Tell the mayor.\n", "2026-03-01 10:00:{n} INFO nothing to do\n", "{phrase}"])
def test_an_answer_that_says_nothing_new_ends_late(line):
    """Numbers, and a few phrases in any order, may go on for pages, but not for ever."""
    choice = random.Random(1)
    text = "".join(line.format(n=n, phrase=choice.choice(PHRASES)) for n in range(20_000))
    _, read, stopped = guarded(text)
    least = THRESHOLDS[ANSWER].stale_chars
    assert stopped and least <= read < 6 * least


def test_numbers_may_go_on():
    """A guard cannot tell which of them are new."""
    choice = random.Random(1)
    for text in ("".join(f"{n}\n" for n in range(5000)), "".join(f"{choice.random():.3f},0,0\n" for _ in range(5000))):
        assert guarded(text)[::2] == (text, False)


def test_prose_is_stopped_earlier():
    """A summary does not repeat a sentence three times."""
    assert guarded(ITEM * 5)[2] is False and guarded(ITEM * 5, SUMMARY)[2] is True


def test_a_guard_that_is_off_passes_everything():
    """Nothing is withheld."""
    guard = RepetitionGuard(RepetitionPolicy.OFF)
    assert guard.feed(ITEM * 100) == ITEM * 100 and not guard.stopped
