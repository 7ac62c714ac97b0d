"""Markers in a text that arrives in pieces (see also ``engine/text/test_detokenizer``, which splits it everywhere)."""

from __future__ import annotations

from llmcli.text_stream import ReasoningParser, partial_match_length


def test_partial_match_length_is_the_longest():
    """If a text ends with several partial stop strings, the longest is held back."""
    assert partial_match_length("xaab", ["aabc", "bc"]) == 3
    assert partial_match_length("xaabc", ["aabc"]) == 0


def test_reasoning_is_separated_at_its_tags():
    """A possible beginning of a tag is held back; the line ends after the closing tag belong to neither."""
    parser = ReasoningParser(("<think>", "</think>"), inside=False)
    assert [parser.feed(piece) for piece in ("<thi", "nk>why</", "think>\n\nso", " it")] == [
        ("", ""),
        ("why", ""),
        ("", "so"),
        ("", " it"),
    ]


def test_held_back_text_comes_at_the_end():
    """The text ended, so it was no tag."""
    parser = ReasoningParser(("<think>", "</think>"), inside=True)
    assert parser.feed("a</th") == ("a", "")
    assert parser.feed("", last=True) == ("</th", "")
