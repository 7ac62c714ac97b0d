"""The check of a translation that exists, by itself: what counts as missing, stale, damaged or untranslated."""

from __future__ import annotations

import pytest

from llmcli.documents.reading.document import Document
from llmcli.errors import BadDocument
from llmcli.tasks.languages import parse_language
from llmcli.tasks.translate.memory_cache import PreviousOutput, RecordedSegment
from llmcli.tasks.translate.translation_check import DefectKind, TranslationToCheck, check_translation

MISSING, STALE, DAMAGED, UNTRANSLATED = DefectKind


def defects(name, source, translation, **how):
    """Return (kind, line, text) of the defects of a German translation."""
    there = None if translation is None else Document(name, translation)
    pair = TranslationToCheck(Document(name, source), there, parse_language("de"), parse_language("en"), **how)
    return [(each.kind, each.line, each.text) for each in check_translation(pair)]


@pytest.mark.parametrize(
    ("name", "source", "translation", "expected"),
    [
        ("a.txt", "One.\n\nTwo.\n", "Eins.\n\nZwei.\n", []),
        ("a.txt", "One.\n\nTwo.\n", None, [(MISSING, 1, "")]),
        ("a.txt", "One.\n\nTwo.\n", "Eins.\n", [(MISSING, 1, "")]),
        ("a.txt", "One.\n", "Eins.\n\nZwei.\n", [(STALE, 1, "")]),
        ("a.md", "One **bold** word.\n", "Ein fettes Wort.\n", [(DAMAGED, 1, "One **bold** word.")]),
        ("a.md", "See <https://a.org>.\n", "Siehe <https://b.org>.\n", [(DAMAGED, 1, "See <https://a.org>.")]),
        ("a.txt", "12 %\n", "12 %\n", []),
        ("a.srt", "1\n00:00:01,000 --> 00:00:02,000\nOne.\n", "1\n00:00:01,000 --> 00:00:02,000\nOne.\n",
         [(UNTRANSLATED, 3, "One.")]),
        ("a.yaml", "a: One {x}\nb: Two\n", "b: Zwei\na: Eins {x}\n", []),
        ("a.properties", "a=One\nb=Two\n", "a=Eins\n", [(MISSING, 2, "Two")]),
    ],
)  # fmt: skip
def test_without_a_record(name, source, translation, expected):
    """Keys or structures are compared, and each segment with its translation."""
    assert defects(name, source, translation) == expected


QT = (
    "<TS language='de'><context><message><source>One</source><translation type='unfinished'></translation></message>\n"
    "<message><source>Two</source><translation type='unfinished'>Zwei</translation></message></context></TS>"
)
XLIFF = (
    "<xliff version='1.2'><file source-language='en' target-language='de'><body><trans-unit id='1'><source>One</source>"
    "<target state='new'/></trans-unit>\n<trans-unit id='2'><source>Two</source><target state='needs-translation'>Zwei</target>"
    "</trans-unit></body></file></xliff>"
)


@pytest.mark.parametrize(("name", "text"), [("a.ts", QT), ("a.xlf", XLIFF)])
def test_an_empty_element_is_no_stale_translation(name, text):
    """A file with both languages has a place for each translation before it is made."""
    assert defects(name, text, text) == [(MISSING, 1, "One"), (STALE, 2, "Two")]


def test_a_record_tells_what_is_stale():
    """A text that was translated from another one is stale; one that llm kept as it is, is a translation."""
    rows = [RecordedSegment("GitHub", "GitHub", ""), RecordedSegment("Two.", "Zwei.", "")]
    how = {"written": PreviousOutput(rows, "")}
    assert defects("a.txt", "GitHub\n\nTwo.\n", "GitHub\n\nZwei.\n", **how) == []
    assert defects("a.txt", "GitHub\n\nTwo!\n", "GitHub\n\nZwei.\n", **how) == [(STALE, 3, "Two!")]
    assert defects("a.txt", "GitHub\n\nTwo!\n", "GitHub\n", **how) == [(STALE, 3, "Two!")]


def test_the_memory_tells_what_is_stale():
    """A translation that was made of another text is stale; one that the memory does not have is compared by its place."""
    sources = {"Eins.": {"One."}, "Zwei.": {"Two."}}
    assert defects("a.txt", "One.\n\nTwo.\n", "Eins.\n\nZwei.\n", sources=sources) == []
    assert defects("a.txt", "One.\n\nTwo!\n", "Eins.\n\nZwei.\n", sources=sources) == [(STALE, 3, "Two!")]
    assert defects("a.txt", "One.\n\nTwo!\n", "Ein.\n\nZwei.\n", sources=sources) == [(STALE, 3, "Two!")]
    assert defects("a.txt", "One.\n\nTwo!\n", "Eins.\n\nZwo.\n", sources=sources) == []


def test_an_invalid_source_excuses_its_translation():
    """A source that cannot be split is an error; its translation that cannot be is damaged."""
    with pytest.raises(BadDocument):
        defects("a.json", "{", "{}")
    assert defects("a.json", '{"a": "One"}', '{\n"a": ') == [(DAMAGED, 2, "")]
