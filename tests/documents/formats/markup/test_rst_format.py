"""reStructuredText."""

from __future__ import annotations

import functools
from pathlib import Path

import pytest

from llmcli.documents.formats.markup.rst_format import FORMAT
from llmcli.documents.segments import join_segments

REAL = (Path(__file__).parents[2] / "real" / "guide.rst").read_text(encoding="utf-8")


def put(text, *translations):
    segments = FORMAT.split(text, "de")
    return join_segments(text, segments, [*translations, *[None] * (len(segments) - len(translations))])


def test_the_texts_of_a_page():
    """Titles, paragraphs, items, terms, prose in directives, captions; no comments, code, tables or fields of the page."""
    assert [(s.kind, s.text) for s in FORMAT.split(REAL, "de")] == [
        ("heading", "Quick guide"),
        ("heading", "Getting <em>started</em>"),
        (
            "paragraph",
            (
                "Install the <a>package manager <package manager_>`__ with ``pip install x`` first, then read :ref:`the guide"
                " <guide>` or |project| docs. See [1]_ and <a>the site <https://example.org/a_b>`_, or use snake_case_names and"
                " ``code``. It's <strong>very</strong> easy"
            ),
        ),
        ("paragraph", "First item goes on"),
        ("paragraph", "Second item with :code:`x = 1`"),
        ("paragraph", "Nested one"),
        ("paragraph", "Nested two"),
        ("item", "Term"),
        ("paragraph", "Its definition."),
        ("paragraph", "This is important for everyone."),
        ("paragraph", "Take care \\*now\\*."),
        ("attribute", "An example"),
        ("attribute", "A cat"),
        ("paragraph", "The caption of the figure."),
        ("paragraph", "A new option."),
        ("paragraph", "A footnote text."),
        ("paragraph", "My Project"),
        ("item", "A line of verse"),
        ("item", "another one"),
        ("paragraph", "The name of it."),
        ("paragraph", "Say more"),
        ("paragraph", "A quotation."),
        ("paragraph", "Ann"),
    ]


@pytest.mark.parametrize(
    ("source", "attributed"),
    [
        ("Text\n\n  A quotation.\n\n  -- Ann Bell\n", "Text\n\n  X\n\n  -- Ann\n"),
        ("Text\n\n  A quotation.\n\n  ---Ann,\n    a poet\n\nText\n", "Text\n\n  X\n\n  ---Ann\n\nText\n"),
        (".. epigraph::\n\n   A quotation.\n\n   \u2014 Ann\n", ".. epigraph::\n\n   X\n\n   \u2014 Ann\n"),
    ],
)
def test_an_attribution_stays_one(source, attributed):
    """The dashes before the name under a block quote are not escaped; elsewhere they begin no attribution."""
    quotation, name = [segment for segment in FORMAT.split(source, "de") if segment.text != "Text"]
    written = put(source, *["Text"] * source.startswith("Text"), "X", "Ann", *["Text"] * source.endswith("Text\n"))
    assert quotation.text == "A quotation." and name.text.startswith("Ann") and written == attributed
    assert put("A word.\n\n-- Ann Bell\n", "Wort.", "-- Ann").endswith("\\-- Ann\n")


def test_an_underline_is_as_long_as_its_title():
    """Wide characters count twice; a line that was longer stays so."""
    assert put("Title\n=====\n", "Die \u00dcberschrift") == "Die \u00dcberschrift\n===============\n"
    assert put("Title\r\n--------\r\n", "Neu") == "Neu\r\n--------\r\n"
    assert put("=====\nTitle\n=====\n", "\u6807\u9898\u6587\u5b57") == "========\n\u6807\u9898\u6587\u5b57\n========\n"
    assert put("=======\n Title\n=======\n", "A longer title") == "===============\n A longer title\n===============\n"


def test_a_title_that_is_referred_to_keeps_its_name():
    """A reference to the section by its title still finds it."""
    text = "Usage notes\n===========\n\nSee `Usage Notes`_ here.\n"
    assert put(text, "Hinweise") == ".. _`Usage notes`:\n\nHinweise\n========\n\nSee `Usage Notes`_ here.\n"
    assert put(text + "\n.. _usage notes: x\n", "Hinweise").startswith("Hinweise\n")


@pytest.mark.parametrize(
    ("source", "translation", "written"),
    [("See `the page`_ now.", "Jetzt <a>die Seite <the page_>`__ lesen.", "Jetzt `die Seite <the page_>`__ lesen."),
     ("A *b* c", "<em> B </em>x", "*B*\\ x"), ("A ``b`` c", "\u524d``b``\u540e", "\u524d\\ ``b``\\ \u540e"), ("A b", "x* `y_ |z|", "x\\* \\`y\\_ \\|z\\|"),
     ("A b", "- x", "\\- x"), ("A b", "1. x", "\\1. x"), ("A b", "x::", "x:"), ("A b::\n\n  code", "X y:", "X y::\n\n  code"), ("A b", "a\\b", "a\\\\b"),
     ("A :sub:`b` c", "X :sub:`y</a> z", "X :sub:`y` z")],
)  # fmt: skip
def test_translations_are_escaped(source, translation, written):
    """Words get no markup and begin no block, and markup is set off where words touch it."""
    assert put(source, translation) == written


def test_terms_of_a_glossary():
    """Each line before a definition is a term of its own; comments between them stay."""
    text = ".. glossary::\n   :sorted:\n\n   one term\n   other : key\n      Its text\n      here.\n\n   .. no term\n\n   last\n     Words.\n"
    assert [s.text for s in FORMAT.split(text, "de")] == ["one term", "other", "Its text here.", "last", "Words."]
    assert put(text, "ein Wort", "anderes") == text.replace("one term", "ein Wort").replace("other :", "anderes :")


def test_words_of_a_role():
    """Roles for text have words, others are code."""
    text = "H\\ :sub:`two`\\ O and :func:`f` and :ref:`a page <b>`"
    (segment,) = FORMAT.split(text, "de")
    assert segment.text == "H\\ :sub:`two</a>\\ O and :func:`f` and :ref:`a page <b>`"


def test_lines_are_as_long_as_those_of_the_source():
    """A paragraph of several lines is wrapped, with its indent; one of one line is not."""
    text = "- one two three four five six seven eight\n  nine ten\n"
    assert put(text, "wort " * 12) == "- wort wort wort wort wort wort wort wort\n  wort wort wort wort\n"
    assert put("a b\n", "wort " * 40) == ("wort " * 40).strip() + "\n"


def test_the_argument_of_a_directive_may_be_prose():
    """What is new in a version may begin on the next line."""
    text = (
        ".. versionadded:: 1.2\n   It is new.\n\n.. versionchanged:: 1.3 It changed.\n\n.. deprecated:: 1.4\n\n   Use it not.\n\n"
        ".. versionadded::\n   1.5\n\n.. contents:: What is here\n   :depth: 2\n"
    )
    texts = ["It is new.", "It changed.", "Use it not.", "What is here"]
    segments = FORMAT.split(text, "de")
    assert [segment.text for segment in segments] == texts
    assert put(text, *map(str.upper, texts)) == functools.reduce(
        lambda done, each: done.replace(each, each.upper()), texts, text
    )


@pytest.mark.parametrize(
    "text",
    ["Text::\n\n    code words\n", "::\n\n  code words\n\n", "A::\n\n> quoted words\n> more\n\n", ".. unknown::\n\n   words here\n", ".. words of a comment\n   go on\n",
     "======  =====\nSome    words\n======  =====\nc       d\n\ne       f\n======  =====\n", "+------+\n| word |\n+------+\n", ".. autofunction:: f\n\n   Words.\n", ">>> f()\nwords\n"],
)  # fmt: skip
def test_what_is_not_translated(text):
    """Code, comments, drawn tables, and directives that are not known to hold prose."""
    assert [s.text for s in FORMAT.split(text + "\nEnd here.\n", "de") if s.text not in {"Text", "A"}] == ["End here."]


def test_deep_nesting_is_read():
    """Markers without end do not recurse without end."""
    assert FORMAT.split("- " * 5000 + "word", "de")
