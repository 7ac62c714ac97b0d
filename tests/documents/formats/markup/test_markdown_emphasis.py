"""Emphasis in Markdown, against markdown-it, which follows CommonMark."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from llmcli.documents.formats import plain_text
from llmcli.documents.formats.markup import markdown_format
from llmcli.documents.formats.markup.markdown_emphasis import (
    EMPHASIS,
    STRIKETHROUGH,
    STRONG,
    count_emphasis,
    flanking_stand_in,
    space_wide_delimiters,
)

PARSER = MarkdownIt("zero").enable(["escape", "emphasis", "strikethrough", "balance_pairs"])
KINDS = {"strong_open": STRONG, "em_open": EMPHASIS, "s_open": STRIKETHROUGH}


def parsed(text):
    """Return how often markdown-it finds each kind of emphasis in a text."""
    return Counter(KINDS[token.type] for token in PARSER.parseInline(text)[0].children if token.type in KINDS)


@given(st.text(alphabet="**__~ab .,\\\\\u4e2d\u3002\u201c", max_size=24).filter(lambda text: "~~~" not in text))
def test_pairs_are_those_of_commonmark(text):
    """Every text has the same emphasis as for a parser (except runs of three tildes, which GFM does not define)."""
    assert count_emphasis(text).pairs == parsed(text)


@pytest.mark.parametrize(
    ("text", "pairs", "loose"),
    [
        ("a **b** and *c*, _d_ ~~e~~", {STRONG: 1, EMPHASIS: 2, STRIKETHROUGH: 1}, {}),
        ("***a***", {STRONG: 1, EMPHASIS: 1}, {}),
        ("5 * 3, snake_case_name, ~5", {}, {}),
        (r"\*a\* \_b\_", {}, {}),
        ("Price* and **so", {}, {"*": 3}),
        ("**a *b**", {EMPHASIS: 2}, {"*": 1}),
    ],
)
def test_what_is_emphasis(text, pairs, loose):
    """Pairs by kind, unmatched delimiters, and characters that are no delimiters."""
    found = count_emphasis(text)
    assert (dict(found.pairs), dict(found.unpaired)) == (pairs, loose)


@pytest.mark.parametrize(
    ("text", "apart"),
    [
        ("\u8bf7\u6309**\u201c\u4fdd\u5b58\u201d**\u952e", "\u8bf7\u6309 **\u201c\u4fdd\u5b58\u201d** \u952e"),
        ("\u8bf7_\u6ce8\u610f_\u8fd9\u91cc", "\u8bf7*\u6ce8\u610f*\u8fd9\u91cc"),
        ("un **mot** simple_nom", "un **mot** simple_nom"),
        ("l'**\u00abeau\u00bb**x", "l'**\u00abeau\u00bb**x"),
    ],
)
def test_scripts_without_blanks_get_some_around_delimiters(text, apart):
    """They make the intended emphasis valid; nothing changes next to other scripts."""
    assert space_wide_delimiters(text) == apart


@given(st.text(alphabet="*_~ab .,\\\\\u4e2d\u3002", max_size=24))
def test_only_blanks_are_added(text):
    """Nothing else changes, except underscores that become asterisks."""
    assert space_wide_delimiters(text).replace(" ", "").replace("_", "*") == text.replace(" ", "").replace("_", "*")


def test_a_protected_text_counts_as_its_first_and_last_character():
    """A protected text flanks delimiters as its first and last character do."""
    assert [flanking_stand_in(text) for text in ("`code`", "https://a.b/c", "](u)", "  \n", "")] == [
        "..",
        "xx",
        "..",
        "  ",
        "  ",
    ]


@pytest.mark.parametrize("size", [10_000, pytest.param(100_000, marks=pytest.mark.stress)])
@pytest.mark.parametrize("unit", ["*a ", "a**b", "**a _b*", "*_", "~~a"])
def test_long_texts_are_fast(unit, size):
    """The time is linear in the length of the text; otherwise this text would never end."""
    assert sum(count_emphasis(unit * (size // len(unit))).unpaired.values()) >= 0


def test_only_markdown_has_emphasis():
    """Its paragraphs, headings and cells; not its front matter, nor a plain text."""
    text = "---\ntitle: A *title*\n---\n\n# *Head*\n\nSome *words*\n\n| *a* |\n|---|\n| b |\n"
    assert [segment.emphasis for segment in markdown_format.FORMAT.split(text, "fr")] == [False, True, True, True, True]
    assert [segment.emphasis for segment in plain_text.FORMAT.split("Some *words*", "fr")] == [False]
