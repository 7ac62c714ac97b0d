"""Streams: complete characters, hidden stop strings, separate reasoning, however the text is split."""

from __future__ import annotations

import itertools

import pytest
from engine.tools import for_all
from hypothesis import strategies as st

from llmcli.engine.text.detokenizer import OutputProcessor, StopStringMatcher, Utf8Decoder
from llmcli.types import RepetitionPolicy

TAGS = ("<think>", "</think>")


def cut(whole, places):
    """Split text or bytes at ``places`` (taken modulo its length)."""
    at = sorted({place % (len(whole) + 1) for place in places} | {0, len(whole)})
    return [whole[a:b] for a, b in itertools.pairwise(at)]


def stream(pieces, *, stops=(), tags=None, inside=False, lstrip=False):
    """Feed byte pieces until the stream stops; return (reasoning, answer, the pieces of answer)."""
    answers = OutputProcessor(stops, tags, inside=inside, lstrip=lstrip)
    reasoning, shown = "", []
    for piece in pieces:
        if answers.stop_string is not None:
            break
        thought, answer = answers.feed(piece)
        reasoning += thought
        shown.append(answer)
    thought, answer = answers.flush()
    return reasoning + thought, "".join([*shown, answer]), [*shown, answer]


places = st.lists(st.integers(0, 500), max_size=40)


@for_all(st.binary(max_size=200), places)
def test_bytes_in_pieces_become_the_text_decoded_at_once(data, at):
    """However bytes are split, the pieces concatenate to the text of all bytes decoded at once."""
    assert stream(cut(data, at))[1] == data.decode("utf-8", "replace")


@for_all(st.text(max_size=60), places)
def test_no_piece_of_valid_text_holds_a_replacement_character(text, at):
    """A character whose bytes come in several tokens is shown whole, never as a replacement."""
    pieces = stream(cut(text.encode(), at))[2]
    assert "".join(pieces) == text
    assert sum(piece.count("\ufffd") for piece in pieces) == text.count("\ufffd")


@pytest.mark.parametrize("character", ["é", "€", "漢", "😀", "👩‍💻"])
def test_a_character_waits_for_its_last_byte(character):
    """Nothing is shown of a character before its bytes are complete."""
    decoder = Utf8Decoder()
    first = character[0].encode()
    assert [decoder.feed(bytes([byte])) for byte in first] == [""] * (len(first) - 1) + [character[0]]


def test_an_unfinished_character_ends_as_a_replacement():
    """Bytes of a character that is never completed are not lost silently."""
    assert stream([b"ok", "€".encode()[:2]])[1] == "ok\ufffd"


alphabet = st.text("abc", max_size=30)
stop_strings = st.lists(st.text("abc", min_size=1, max_size=4), min_size=1, max_size=3)


def expected_before_stop(text, stops):
    """Return the text before the first complete stop string (the longest of several), and whether there is one."""
    for end in range(len(text) + 1):
        starts = [end - len(stop) for stop in stops if text[:end].endswith(stop)]
        if starts:
            return text[: min(starts)], True
    return text, False


@for_all(alphabet, stop_strings, places)
def test_the_answer_ends_before_the_first_stop_string_however_it_is_cut(text, stops, at):
    """The text before the first complete stop string is delivered completely, and nothing after it."""
    matcher = StopStringMatcher(stops)
    shown = "".join(matcher.feed(piece) for piece in cut(text, at)) + matcher.flush()
    assert (shown, matcher.matched is not None) == expected_before_stop(text, stops)


@for_all(alphabet, stop_strings)
def test_a_partial_stop_string_is_never_shown(text, stops):
    """The shown text never ends in the beginning of a stop string that may still become complete."""
    matcher = StopStringMatcher(stops)
    shown, seen = "", ""
    for character in text:
        shown += matcher.feed(character)
        if matcher.matched is not None:
            break
        seen += character
        beginnings = (length for stop in stops for length in range(1, len(stop)) if seen.endswith(stop[:length]))
        assert len(shown) <= len(seen) - max(beginnings, default=0)


def test_the_earliest_of_several_stop_strings_wins():
    """With several stop strings in one piece, the answer ends before the first of them."""
    assert stream([b"one END two STOP three"], stops=("STOP", "END"))[1] == "one "


@pytest.mark.parametrize("pieces", [[b"abc"], [b"ab", b"c"], [b"a", b"b", b"c"]])
def test_a_stop_string_inside_another_wins_in_every_cut(pieces):
    """The stop string that is complete first ends the answer, even if a longer one began before it."""
    assert stream(pieces, stops=("abc", "b"))[1] == "a"


def test_the_stop_string_that_ended_an_answer_is_known():
    """Which of several it was; none where the answer ended otherwise."""
    for text, found in ((b"one END two", "END"), (b"one STO", None)):
        answers = OutputProcessor(("STOP", "END"), None, inside=False, lstrip=False)
        answers.feed(text)
        answers.flush()
        assert answers.stop_string == found


def test_a_partial_stop_string_is_delivered_when_the_answer_ends():
    """Text that looked like a stop string but was none belongs to the answer."""
    assert stream([b"say ST", b"O"], stops=("STOP",))[2] == ["say ", "", "STO"]


@pytest.mark.parametrize("inside", [False, True], ids=["answer", "reasoning"])
def test_a_text_that_repeats_itself_is_known(inside):
    """In an answer and in hidden reasoning; suspect text is not delivered."""
    answers = OutputProcessor(
        (), ("<think>", "</think>"), inside=inside, lstrip=False, repetition=RepetitionPolicy.ANSWER
    )
    pieces = [answers.feed(b"Wait, no. ") for _ in range(100)]
    assert answers.repeats and answers.flush() == ("", "")
    said = "".join(piece[not inside] for piece in pieces)
    assert 20 <= len(said) < 50 and not any(piece[inside] for piece in pieces)


def test_an_empty_stop_string_stops_nothing():
    """An empty stop string is ignored."""
    assert stream([b"all of it"], stops=("",))[1] == "all of it"


def test_a_stop_string_of_split_bytes_is_found():
    """A stop string of multi-byte characters is found even if tokens split the characters."""
    data = "vor ÄÖ nach".encode()
    assert stream([bytes([byte]) for byte in data], stops=("ÄÖ",))[1] == "vor "


thoughts = st.text("ab<>/think \n", max_size=20).filter(lambda text: "</think>" not in text and "<think>" not in text)


@for_all(thoughts, st.text("xyz </\n", max_size=20), places)
def test_reasoning_is_split_off_at_its_tags_however_they_are_cut(thought, text, at):
    """Reasoning and answer are separated at the tags, which appear in neither, wherever tokens split them."""
    data = f"<think>{thought}</think>{text}".encode()
    reasoning, shown, _ = stream(cut(data, at), tags=TAGS)
    assert (reasoning, shown) == (thought, text.lstrip("\n"))


@for_all(thoughts, st.text("xyz </\n", max_size=20), places)
def test_a_prompt_that_opened_the_reasoning_needs_no_opening_tag(thought, text, at):
    """If the prompt leaves the model inside its reasoning, everything up to the closing tag is reasoning."""
    data = f"{thought}</think>{text}".encode()
    reasoning, shown, _ = stream(cut(data, at), tags=TAGS, inside=True)
    assert (reasoning, shown) == (thought, text.lstrip("\n"))


@for_all(st.text("ab<>/think \n", max_size=30), places)
def test_a_model_without_tags_has_no_reasoning(text, at):
    """If the template has no tags, text that looks like tags is part of the answer."""
    assert stream(cut(text.encode(), at))[:2] == ("", text)


def test_an_answer_without_reasoning_is_all_answer():
    """A reasoning model that does not think answers like any other."""
    assert stream([b"<", b"b>bold</b>"], tags=TAGS)[:2] == ("", "<b>bold</b>")


def test_a_tag_quoted_in_the_answer_stays_there():
    """An opening tag after the answer began is text: it opens nothing, and nothing is lost."""
    assert stream([b"use <think> for that"], tags=TAGS)[:2] == ("", "use <think> for that")


def test_white_space_before_an_opening_tag_is_no_answer():
    """Models write a newline before they start to think; it is hidden."""
    assert stream([b"\n", b"\n<think>a</think>b"], tags=TAGS)[:2] == ("a", "b")


def test_reasoning_that_was_cut_off_is_delivered_as_reasoning():
    """When the answer ends inside the reasoning, the text that was held back for the closing tag comes too."""
    assert stream([b"<think>because </thi"], tags=TAGS)[:2] == ("because </thi", "")


def test_a_stop_string_inside_the_reasoning_stops_nothing():
    """Stop strings apply to the answer only."""
    assert stream([b"<think>END</think>yes END no"], stops=("END",), tags=TAGS)[:2] == ("END", "yes ")


def test_the_space_that_a_tokenizer_adds_is_removed_once():
    """Only the one space that SentencePiece puts before a text is removed; spaces of the answer stay."""
    assert stream([b" ", b" two"], lstrip=True)[1] == " two"
