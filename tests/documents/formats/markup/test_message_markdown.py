"""Markdown inside messages: found where it cannot be anything else, and compared by what it means."""

from __future__ import annotations

import pytest
from row_table import all_rows

from llmcli.documents.formats.markup.message_markdown import has_emphasis, lost_lines, protect_markdown
from llmcli.documents.protected_spans import MESSAGE_KINDS, find_spans
from llmcli.documents.segments import Span


def protected(text):
    return [text[span.start : span.end] for span in protect_markdown(text, find_spans(text, MESSAGE_KINDS))]


SPANS = {
    "Set `{protocol}` to `a b`.": ["`{protocol}`", "`a b`"],
    "See [the docs]({url}) now": ["[", "]({url})"],
    "See [the `x` docs](https://a.b/c_(d) 'A title').": ["[", "`x`", "](https://a.b/c_(d) 'A title')"],
    "[![A cat](cat.png)](https://a.b)": ["[", "![", "](cat.png)", "](https://a.b)"],
    "Go to <https://a.b/c> or <me@a.b>": ["<https://a.b/c>", "<me@a.b>"],
    "Write:\n\n```yaml\na: {b}\n\nc: 1\n```\n\nThen save": ["```yaml\na: {b}\n\nc: 1\n```"],
    "``a`b`` and {c}": ["``a`b``", "{c}"],
    "Cannot open `%s' and `b'": ["%s"],
    "Cannot open `a',`b'": [],
    "See :ref:`the tutorial` and `Python docs <x>`_": ["<x>"],
    "Don`t say can`t": [],
    "A ` sign and ` again": [],
    "One `line.\n\nAnother` one": [],
    "Array[i] (see below) and [optional](  )": [],
    "A \\[b](c) and \\`d`": [],
    "The code `[a](b)` stays": ["`[a](b)`"],
    "A <b>tag</b> with <a:b/>": ["<b>", "</b>", "<a:b/>"],
}
"""The protected texts of each message."""


@all_rows("text", SPANS)
def test_the_protected_texts_of_a_message(text):
    """Code and links of Markdown; other uses of the same signs are left as they are."""
    assert protected(text) == SPANS[text]


def test_a_span_that_cuts_another_is_no_markdown():
    """A backtick inside of a placeholder begins no code."""
    text = "A {x`y} and `z"
    spans = find_spans("A {x_y} and `z", MESSAGE_KINDS)
    assert protect_markdown(text, spans) == spans


@pytest.mark.parametrize(
    ("text", "emphasized"),
    [
        ("Press **Save** now", True),
        ("Press *Save* or _Open_", True),
        ("**Note:** _this_", True),
        ("**`{name}`** is set", True),
        ("~~Old~~ new", True),
        ("Press **Save now", False),
        ("* Required", False),
        ("* One\n* Two", False),
        ("5*3*2 and 2 * 3 * 4", False),
        ("snake_case_word and _private", False),
        ("Files (*) or (*), *.txt,*.md", False),
        ("Call f(*args, **kwargs)", False),
        ("The code `**a**` here", False),
        ("Escaped \\*word\\* here", False),
    ],
)
def test_emphasis_needs_delimiters_at_words(text, emphasized):
    """A lone sign, arithmetic and names are no emphasis."""
    assert has_emphasis(text, protect_markdown(text, find_spans(text, MESSAGE_KINDS))) is emphasized


@pytest.mark.parametrize(
    ("source", "translation", "lost"),
    [
        ("One.\n\nTwo.", "Eins.\n\nZwei.", ""),
        ("One.\n\nTwo.", "Eins. Zwei.", "0 instead of 1 empty lines"),
        ("One.\r\n\r\nTwo.", "Eins.\r\nZwei.", "0 instead of 1 empty lines"),
        ("One.\nTwo.", "Eins. Zwei.", ""),
        ("One. Two.", "Eins.\n\nZwei.", ""),
        ("- a\n- b", "- a\n* b", ""),
        ("- a\n- b", "- a b", "0 instead of 2 list items"),
        ("- a\n- b", "- a\n- b\n- b", "3 instead of 2 list items"),
        ("1. a\n2. b", "1. a\nb", "1 instead of 2 numbered items"),
        ("## A\n\nb", "A\n\nb", "0 instead of 1 headings"),
        ("# A\n\nb", "A\n\nb", "0 instead of 1 headings"),
        ("# of files\nto read", "Anzahl\nder Dateien", ""),
        ("- {name}", "{name}", ""),
        ("Total\n- rest", "Summe minus Rest", ""),
    ],
)
def test_lines_that_mean_something_are_counted(source, translation, lost):
    """Empty lines, items and headings; a single sign at the start of a line may be anything."""
    assert lost_lines(source, translation) == lost


@pytest.mark.parametrize(
    "piece", ["`", "` ", "`a``b```c ", "[", "](", "[a](", "<a", "**a ", "\n ", "- ", "# a\n", "\\"]
)
def test_many_signs(piece):
    """The time is linear in the length of the message; otherwise this one would never end."""
    text = piece * (300_000 // len(piece))
    assert protect_markdown(text, []) is not None
    assert has_emphasis(text, []) is False
    assert lost_lines(text, text) == ""


def test_an_element_is_never_in_code_or_a_link():
    """Elements of XML are no text: backticks around them are signs of their own."""
    text = "Press `<b>x</b>` or [it](<b>)."
    elements = [Span(at, at + len(tag), "tag") for at, tag in ((7, "<b>"), (11, "</b>"), (25, "<b>"))]
    assert protect_markdown(text, elements, elements) == elements
    assert [span.kind for span in protect_markdown(text, elements)] == ["code", "link", "target"]
