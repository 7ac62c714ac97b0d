"""What the output shows of source and translation."""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum

from llmcli.documents.segments import Segment, join, newline_of

_BLOCKS = frozenset({"paragraph", "heading", "item"})
ONE_LANGUAGE = frozenset({"po", "json", "yaml", "properties"})
"""Formats of which a file holds one language, or has places of its own for two."""


class Layout(StrEnum):
    """The translation alone, each segment followed by its translation, or a Markdown table of both."""

    TRANSLATION = "translation"
    INTERLEAVED = "interleaved"
    COLUMNS = "side-by-side"


def laid_out(
    layout: Layout, text: str, segments: Sequence[Segment], translations: Sequence[str | None], format_name: str
) -> str:
    """Return the output for a document; None among ``translations`` stands for the text itself."""
    if layout is Layout.TRANSLATION:
        return join(text, segments, translations)
    if layout is Layout.COLUMNS:
        rows = [
            f"| {_cell(s.text)} | {_cell(t or s.existing or s.text)} |\n"
            for s, t in zip(segments, translations, strict=True)
        ]
        return "".join(["| | |\n|---|---|\n", *rows]) if rows else ""
    parts, at = [], 0
    for segment, translation in zip(segments, translations, strict=True):
        region = text[segment.start : segment.end]
        parts += [text[at : segment.start], region]
        if translation is not None and translation != segment.text:
            parts += [_between(text, segment, format_name), segment.encode(translation)]
        at = segment.end
    return "".join([*parts, text[at:]])


def _between(text: str, segment: Segment, format_name: str) -> str:
    """Return what separates a text from its translation: of a block a blank line with what begins its line."""
    if segment.kind == "cue":
        return newline_of(text)
    if format_name == "html" and segment.kind in _BLOCKS:
        return "<br>"
    if segment.kind not in _BLOCKS:
        return " / "
    newline = newline_of(text)
    begin = text.rfind("\n", 0, segment.start) + 1
    lead = text[begin : segment.start]
    quote = "".join(character if character in "> \t#" else " " for character in lead)
    return f"{newline}{quote.rstrip(' #') if '>' in quote else ''}{newline}{quote}"


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("\\", "\\\\").replace("|", "\\|")
