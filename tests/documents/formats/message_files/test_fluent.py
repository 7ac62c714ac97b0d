"""Fluent."""

from __future__ import annotations

from pathlib import Path

import pytest

from llmcli.documents.formats.message_files.fluent import FORMAT
from llmcli.documents.segments import join_segments
from llmcli.errors import BadDocument

REAL = (Path(__file__).parents[2] / "real" / "app.ftl").read_text(encoding="utf-8")


def put(text, *translations):
    segments = FORMAT.split(text, "de")
    return join_segments(text, segments, [*translations, *[None] * (len(segments) - len(translations))])


def test_the_messages_of_a_program():
    """Values, attributes and variants with the comments before them; no terms, keys, or selectors inside of a sentence."""
    segments = FORMAT.split(REAL, "de")
    assert [("/".join(s.path), s.text, s.note) for s in segments] == [
        ("hello", "Hello, { $user }! Welcome to { -brand-name }.", "Shown at the start\n$user is a name"),
        ("open-button/label", "Open file", ""),
        ("open-button/title", 'Opens "{ $file }" in a <b>new</b> tab', ""),
        ("long", "A first line,\na second one\n  and more.", ""),
        ("block", "Begins on its own line\n{ $user } again.", ""),
        ("mails/zero", "No mail", ""),
        ("mails/one", "One new mail", "form for the number 1"),
        ("mails/other", "{ $count } new mails", "plural form for the numbers 0, 2, 3, 4, ..."),
        ("who/male", "He is here", ""),
        ("who/other", "They are here", ""),
        ("literal", 'A brace: { "{" } end', ""),
    ]


def test_the_plural_forms_of_the_language():
    """New variants stand before the default one, aligned with it; those that the language lacks go."""
    text = "a =\n    { $n ->\n        [one] One { $n }\n       *[other] Many { $n }\n    }\n"
    done = join_segments(text, FORMAT.split(text, "pl"), ["A { $n }", None, "B { $n }", "C { $n }"])
    variants = ["        [one] A", "        [few] Many", "        [many] B", "       *[other] C"]
    assert done == "a =\n    { $n ->\n" + "".join(f"{each} {{ $n }}\n" for each in variants) + "    }\n"
    assert put(text.replace("one", "male"), "x").count("[") == 2
    assert "[one]" not in join_segments(text, FORMAT.split(text, "ja"), ["x { $n }"])


@pytest.mark.parametrize(
    ("text", "translation", "written"),
    [("a = b\r\n\r\n    c\r\n", "x\n\ny", "a = x\r\n\r\n    y\r\n"), ("a = b c\n", "x {y}", 'a = x { "{" }y{ "}" }\n'), ("a = b\n    c\n", "x\ny", "a = x\n    y\n"), ("a = b\n  c\n", "x\n.y", 'a = x\n  { "." }y\n'),
     ("a =\n  b c\n", "*x", 'a =\n  { "*" }x\n'), ("a = b c\n", ".x", "a = .x\n"), ("a = b c\r\n", "x\ny", "a = x y\r\n"), ("a = b { $c }\r\n    d\r\n", "{ $c }\n[x", 'a = { $c }\r\n    { "[" }x\r\n')],
)  # fmt: skip
def test_translations_are_escaped(text, translation, written):
    """Braces, and signs at the beginning of a line, are literals; further lines are indented as the source's."""
    assert put(text, translation) == written
    assert len(FORMAT.split(written, "de")) == 1


@pytest.mark.parametrize(
    ("text", "line", "detail"),
    [("a = b\nnonsense\n", 2, "unexpected nonsense"), ("a =\n", 1, "a has no value"), ("a = {b\n", 1, "a placeable has no end"), ("a = }\n", 1, "a has no value"), ("a = b }\n", 1, "unexpected }"),
     ('a = { "b }\n', 1, "a text has no end"), ("a = { $n ->\n  [one] b\n}\n", 2, "a selector needs one default variant"), ("a = b\n    .c =\n", 2, "c has no value"),
     ("a = { $n ->\n *[other]\n}\n", 2, "[other] has no value"), ("a = " + "{ $n -> *[a] " * 60 + "b" + "}" * 60, 1, "nested deeper than 50 levels")],
)  # fmt: skip
def test_broken_files_are_refused(text, line, detail):
    """With the line."""
    with pytest.raises(BadDocument) as refused:
        FORMAT.split(text, "de")
    assert (refused.value.line, refused.value.detail) == (line, detail)
    assert FORMAT.check(text) == f"line {line}: {detail}"
