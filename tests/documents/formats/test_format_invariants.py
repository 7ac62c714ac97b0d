"""Invariants of every format, on generated, real and damaged documents."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest
from document_texts import HOSTILE, NAMES, documents
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from llmcli.documents.format_registry import find_format, format_names
from llmcli.errors import BadDocument

REAL = sorted((Path(__file__).parents[1] / "real").iterdir())
each_format = pytest.mark.parametrize("name", NAMES)
each_file = pytest.mark.parametrize("path", REAL, ids=lambda path: path.name)
quickly = settings(deadline=None, suppress_health_check=list(HealthCheck))
MARKUP = {"tag", "target", "link", "math", "reference", "code"}
ESCAPES = {"markdown", "html", "vtt"}
"""Formats in which any character can be written so that it means itself."""


def read(path):
    return path.read_bytes().decode()


def markup(segments):
    """Return the protected markup of each segment, counted: without Markdown in messages, where nothing can be escaped."""
    return [
        Counter(
            (span.kind, text)
            for span in segment.protected
            if span.kind in MARKUP
            and ((text := segment.text[span.start : span.end])[0] not in "`[]" or segment.kind != "message")
        )
        for segment in segments
    ]


def attempt(form, text):
    """Return the segments, or none and the error."""
    try:
        return form.split(text, "fr"), None
    except BadDocument as error:
        return [], error


def check_segments(form, text, segments):
    at = 0
    for segment in segments:
        assert at <= segment.start <= segment.end <= len(text)
        assert segment.text == segment.text.strip() != ""
        at, inner = segment.start + 1 if form.is_package else segment.end, 0
        for span in segment.protected:
            assert inner <= span.start < span.end <= len(segment.text)
            inner = span.end
        assert any(c.isalpha() for c in segment.text)
    assert form.join(text, segments, [None] * len(segments)) == text


def test_the_list_of_formats_is_complete():
    """Each listed format can be loaded and has its own name."""
    assert {find_format("", "", name).name for name in format_names()} == set(NAMES) == set(format_names())


@each_format
def test_an_empty_document_has_no_segments(name):
    """An empty document, and a byte order mark alone, is valid."""
    form = find_format("", "", name)
    for text in ("", "\ufeff", "\n", "\ufeff\n"):
        if name == "json" and text.strip("\ufeff\n"):
            continue
        assert form.split(text, "de") == []
        assert form.check(text) == ""


@each_format
@quickly
@given(data=st.data())
def test_joining_gives_the_document_back(name, data):
    """Segments are in order and disjoint; without translations the document does not change."""
    text = data.draw(documents(name))
    form = find_format("", "", name)
    try:
        segments = form.split(text, "pl")
    except BadDocument:
        return
    check_segments(form, text, segments)


@each_format
@quickly
@given(data=st.data())
def test_any_translation_leaves_the_document_valid(name, data):
    """Hostile translations that keep the protected texts change neither the number of segments nor the markup."""
    form = find_format("", "", name)
    text = data.draw(documents(name))
    if form.check(text):
        return
    segments = form.split(text, "pl")
    translations = []
    for segment in segments:
        parts = [data.draw(HOSTILE), " wort"]
        for span in segment.protected:
            parts += [" ", segment.text[span.start : span.end], " wort ", data.draw(HOSTILE), " wort"]
        translations.append("".join(parts) if data.draw(st.integers(0, 3)) else None)
    joined = form.join(text, segments, translations)
    assert form.check(joined) == ""
    again = form.split(joined, "pl")
    assert len(again) == len(segments)
    if name in ESCAPES:
        assert markup(again) == markup(segments)
    elif name != "plain":
        assert not any(before - after for before, after in zip(markup(segments), markup(again), strict=True))


@each_format
@quickly
@given(data=st.data())
def test_blank_translations_leave_the_document_alone(name, data):
    """A translation of white space only does not count."""
    form = find_format("", "", name)
    text = data.draw(documents(name))
    if form.check(text):
        return
    segments = form.split(text, "pl")
    assert form.join(text, segments, [data.draw(st.sampled_from(["", " ", "\n"])) for _ in segments]) == text


@each_format
@quickly
@given(data=st.data())
def test_damaged_documents_are_split_or_refused(name, data):
    """A document with deleted bytes is either split, or refused with the line."""
    form = find_format("", "", name)
    damaged = bytearray(data.draw(documents(name)).encode())
    for _ in range(data.draw(st.integers(1, 4))):
        if damaged:
            start = data.draw(st.integers(0, len(damaged) - 1))
            del damaged[start : start + data.draw(st.integers(1, 5))]
    text = damaged.decode(errors="replace")
    segments, refused = attempt(form, text)
    check_segments(form, text, segments)
    if refused is not None:
        assert 1 <= refused.line <= text.count("\n") + text.count("\r") + 1
        assert refused.detail
        assert refused.exit_code == 65
        assert form.check(text)


@each_file
def test_real_documents_do_not_change(path):
    """Real documents are split and joined byte for byte, with either line ending and with a byte order mark."""
    text = read(path)
    for variant in (
        text,
        text.replace("\r\n", "\n"),
        text.replace("\r\n", "\n").replace("\n", "\r\n"),
        "\ufeff" + text,
    ):
        form = find_format(path.name, variant)
        segments = form.split(variant, "fr")
        assert segments
        check_segments(form, variant, segments)


@each_file
def test_real_documents_stay_valid(path):
    """With every segment changed and the protected texts moved to the end, a real document stays valid."""
    text = read(path)
    form = find_format(path.name, text)
    segments = form.split(text, "pl")
    shouted = []
    for segment in segments:
        parts, at = [], 0
        for span in segment.protected:
            parts += [segment.text[at : span.start].upper(), segment.text[span.start : span.end]]
            at = span.end
        shouted.append("".join([*parts, segment.text[at:].upper()]))
    joined = form.join(text, segments, shouted)
    again = form.split(joined, "pl")
    assert form.check(joined) == ""
    assert len(again) == len(segments)
    assert markup(again) == markup(segments)
    words = [" ".join(s.text.split()) for s in again]
    assert words == [" ".join(text.split()) for text in shouted] or form.holds_both_languages


@each_file
def test_real_documents_are_detected_by_their_content(path):
    """If the name says nothing, the content determines the format."""
    text = read(path)
    assert find_format("-", text).name == find_format(path.name, text).name or path.name == "letter.txt"
