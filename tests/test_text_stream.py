"""Markers in a text that comes in pieces (see also ``engine/text/test_detokenizer``, which cuts it everywhere)."""

from __future__ import annotations

from llmcli.text_stream import ReasoningParser, partial_match_length


def test_held_back_finds_the_longest_possible_beginning():
    """Of several beginnings of a stop string at the end of a text the longest is held back."""
    assert partial_match_length("xaab", ["aabc", "bc"]) == 3
    assert partial_match_length("xaabc", ["aabc"]) == 0


def test_reasoning_comes_apart_at_its_tags():
    """What may be the beginning of a tag is held back; the line ends after the closing tag belong to neither."""
    parser = ReasoningParser(("<think>", "</think>"), inside=False)
    assert [parser.feed(piece) for piece in ("<thi", "nk>why</", "think>\n\nso", " it")] == [
        ("", ""),
        ("why", ""),
        ("", "so"),
        ("", " it"),
    ]


def test_what_was_held_back_comes_in_the_end():
    """The text ended, so it was no tag."""
    parser = ReasoningParser(("<think>", "</think>"), inside=True)
    assert parser.feed("a</th") == ("a", "")
    assert parser.feed("", last=True) == ("</th", "")
