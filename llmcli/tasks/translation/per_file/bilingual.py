"""Bilingual output: source and translation in one document."""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum

from llmcli.documents.formats.document_format import DocumentFormat
from llmcli.documents.segments import Segment


class OutputLayout(StrEnum):
    """The translation alone, each segment followed by its translation, or a Markdown table of both."""

    TRANSLATION = "translation"
    INTERLEAVED = "interleaved"
    COLUMNS = "side-by-side"


def render_layout(
    layout: OutputLayout,
    document_format: DocumentFormat,
    text: str,
    segments: Sequence[Segment],
    translations: Sequence[str | None],
) -> str:
    """Return the output for a document; None among ``translations`` means the text itself."""
    if layout is OutputLayout.TRANSLATION:
        return document_format.join(text, segments, translations)
    if layout is OutputLayout.COLUMNS:
        cell = document_format.table_cell
        rows = [
            f"| {cell(s.text)} | {cell(t or s.existing_translation or s.text)} |\n"
            for s, t in zip(segments, translations, strict=True)
        ]
        return "".join(["| | |\n|---|---|\n", *rows]) if rows else ""
    parts, at = [], 0
    for segment, translation in zip(segments, translations, strict=True):
        region = text[segment.start : segment.end]
        parts += [text[at : segment.start], region]
        if translation is not None and translation != segment.text:
            parts += [document_format.bilingual_separator(text, segment), segment.encode(translation)]
        at = segment.end
    return "".join([*parts, text[at:]])
