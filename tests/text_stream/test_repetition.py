"""The guard against repetition, on recorded loops of small models and on texts that repeat themselves legitimately."""

from __future__ import annotations

import gzip
import json
import random
import re
import statistics
from collections import Counter
from pathlib import Path

import pytest
from text_stream.legitimate_texts import KINDS, make_texts

from llmcli.text_stream import THRESHOLDS, RepetitionGuard
from llmcli.types import RepetitionPolicy

ANSWER, SUMMARY = RepetitionPolicy.ANSWER, RepetitionPolicy.SUMMARY
ITEM = "The mayor was absent from the meeting.\n"
MAX_LATE_CHARS = 400
MAX_LINES_IN_ROUND = 6
MARKER = re.compile(r"[\W_]*(?:\d+[.):]\s+)?")


def read_rows(name):
    """Return the objects of a file beside this one."""
    with gzip.open(Path(__file__).with_name(name), "rt", encoding="utf-8") as lines:
        return [json.loads(line) for line in lines]


LOOPS = read_rows("loops.jsonl.gz")
LINE_LOOPS = read_rows("line_loops.jsonl.gz")
LEGITIMATE_ANSWERS = read_rows("legitimate_answers.jsonl.gz")


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


def differ_in_a_word(words, other):
    """Whether two lines are equal, or differ in at most one word of three or more."""
    return words == other or (len(words) == len(other) >= 3 and sum(map(str.__ne__, words, other)) == 1)


def find_line_loop(text):
    """Return (ends of the lines, lines in a round) of the loop at the end of a text, by trying each size of a round."""
    lines, end, loops = [], 0, []
    for line in text.split("\n")[:-1]:
        end += len(line) + 1
        words = re.findall(r"\w+", MARKER.sub("", line.casefold(), count=1))
        if words:
            lines.append((end, words))
    for size in range(1, MAX_LINES_IN_ROUND + 1):
        kinds, ends = Counter(), []
        for end, words in reversed(lines):
            kind = next((kind for kind in kinds if differ_in_a_word(list(kind), words)), tuple(words))
            if kind not in kinds and len(kinds) == size:
                break
            kinds[kind] += 1
            ends.append(end)
        if len(kinds) == size and min(kinds.values()) >= 3 and len(ends) >= max(8, 4 * size):
            loops.append((ends[::-1], size))
    return max(loops, key=lambda loop: len(loop[0]) / loop[1])


@pytest.mark.parametrize("size", [4, 1000])
def test_legitimate_answers_are_delivered(size):
    """Lists, tables, verses and logs that users ask for come out whole."""
    assert len({answer["text"] for answer in LEGITIMATE_ANSWERS}) >= 180
    cut = [answer["kind"] for answer in LEGITIMATE_ANSWERS if guarded(answer["text"], size=size)[2]]
    assert cut == []


def test_the_median_loop_of_lines_is_cut_within_three_rounds():
    """A reader sees no more of it, and the fifty include loops that vary a word, a number or two sentences."""
    shown_rounds, read_rounds = [], []
    for loop in LINE_LOOPS:
        ends, size = find_line_loop(loop["text"])
        shown, read, stopped = guarded(loop["text"])
        assert loop["text"].startswith(shown)
        read_rounds.append(sum(end <= read for end in ends) / size if stopped else float("inf"))
        shown_rounds.append(sum(end <= len(shown) for end in ends) / size if stopped else float("inf"))
    assert len(LINE_LOOPS) == 50 and len({loop["model"] for loop in LINE_LOOPS}) == 2
    assert statistics.median(shown_rounds) <= 3
    assert statistics.median(read_rounds) <= 6  # 10 if a paragraph may repeat itself for as long as a line
    assert sum(rounds < float("inf") for rounds in shown_rounds) >= 43  # 30 without the rule for lines


BUG, TEST = "Fix the bug in the report of the month.\n", "Add a test for the report of the year.\n"


@pytest.mark.parametrize("size", [1, 7, 5000])
def test_lines_in_any_order_are_cut_after_the_third_round(size):
    """The order does not help them, nor does a line in which a word differs."""
    choice = random.Random(3)
    order = [BUG, TEST, *(choice.choice((BUG, TEST)) for _ in range(60))]
    shown, read, stopped = guarded("".join(order), size=size)
    assert stopped and shown.count("\n") <= 7 and read <= len(BUG) * 12 + size


def test_a_numbered_line_is_cut_after_the_third_round():
    """A list number says nothing new."""
    shown, read, stopped = guarded("".join(f"{n}. {BUG}" for n in range(1, 60)))
    assert stopped and shown.count("\n") == 3 and read <= 10 * len(BUG)


def test_a_paragraph_is_cut_earlier_than_a_line():
    """A user who asks for a line ten times gets line after line; a model in a loop writes paragraphs, too."""
    assert guarded(BUG * 10) == (BUG * 10, 10 * len(BUG), False)
    shown, read, stopped = guarded(f"{BUG}\n" * 10)
    assert stopped and shown == f"{BUG}\n" * 2 and read <= 8 * len(BUG)
    answers = "".join(f"Question {n}\n\n{BUG}\n" for n in range(10))
    assert guarded(answers)[::2] == (answers, False)


def test_a_new_word_proves_that_a_list_goes_on():
    """What was withheld is delivered as soon as the word is complete, also if the lines before were a loop."""
    guard = RepetitionGuard(ANSWER)
    lines = [f"{n}. {BUG}" for n in range(1, 6)]
    assert "".join(map(guard.feed, lines)) == "".join(lines[:3])
    assert guard.feed("6. Remove") == ""
    assert guard.feed(" it") == "".join(lines[3:]) + "6. Remove it"
    assert not guard.stopped and guard.flush() == ""


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
            assert len(shown) <= start + 4 * period + 60, loop
            lines = text[start : start + 2 * period].split("\n")[1:-1]
            # an irregular loop of the same lines may have ended it
            assert start + period <= len(shown) or set(lines) <= set(shown.split("\n")), loop


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


def test_prose_has_no_pages_of_numbers():
    """A section of a report went on for 500 words and six minutes with a number and a counter."""
    text = "".join(f"2896731094: 1.\n\n[{n}] " for n in range(1, 1000))
    assert guarded(text)[2] is False
    _, read, stopped = guarded(text, SUMMARY)
    assert stopped and read <= 2000
    figures = "The years 2019, 2020, 2021, 2022, 2023, 2024 and 2025 had 12, 14, 16, 13, 11, 18 and 15 days of frost.\n"
    assert guarded(figures + "They were cold.", SUMMARY)[2] is False


def test_prose_is_stopped_earlier():
    """A summary does not repeat a sentence three times."""
    assert guarded(ITEM * 5)[2] is False and guarded(ITEM * 5, SUMMARY)[2] is True


def test_a_guard_that_is_off_passes_everything():
    """Nothing is withheld."""
    guard = RepetitionGuard(RepetitionPolicy.OFF)
    assert guard.feed(ITEM * 100) == ITEM * 100 and not guard.stopped
