"""Bilingual output: source and translation in one document."""

from __future__ import annotations

import re
from collections.abc import Sequence
from enum import StrEnum

from llmcli.documents.segments import Segment, detect_newline, join_segments

_BLOCK_KINDS = frozenset({"paragraph", "heading", "item"})
MONOLINGUAL_FORMATS = frozenset({"po", "json", "yaml", "properties"})
"""Formats whose files hold one language, or have fields of their own for two."""

_BOX = re.compile(r"\[[ xX]\][ \t]+\Z")
_FOOTNOTE = re.compile(r"\[\^[^\]]*\]:[ \t]*\Z")
_ALERT = re.compile(r"\[![\w-]+\][+-]?[ \t]+\Z")
_DEFINITION = re.compile(r"[\s>]*:[ \t]+\Z")
_DEFINED = re.compile(r"(?:\r\n|\r|\n)[\s>]*:[ \t]")
_LINE_END = re.compile(r"[\r\n]|\Z")
_HARD_BREAK = re.compile(r" *\\\n| {2,}\n")


class OutputLayout(StrEnum):
    """The translation alone, each segment followed by its translation, or a Markdown table of both."""

    TRANSLATION = "translation"
    INTERLEAVED = "interleaved"
    COLUMNS = "side-by-side"


def render_layout(
    layout: OutputLayout, text: str, segments: Sequence[Segment], translations: Sequence[str | None], format_name: str
) -> str:
    """Return the output for a document; None among ``translations`` stands for the text itself."""
    if layout is OutputLayout.TRANSLATION:
        return join_segments(text, segments, translations)
    if layout is OutputLayout.COLUMNS:
        cell = _markdown_cell if format_name == "markdown" else _table_cell
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
            parts += [_bilingual_separator(text, segment, format_name), segment.encode(translation)]
        at = segment.end
    return "".join([*parts, text[at:]])


def _bilingual_separator(text: str, segment: Segment, format_name: str) -> str:
    """Return what separates a text from its translation: of a block a blank line with what begins its line."""
    if segment.kind == "cue":
        return detect_newline(text)
    if format_name == "html" and segment.kind in _BLOCK_KINDS:
        return "<br>"
    if segment.kind not in _BLOCK_KINDS:
        return " / "
    newline = detect_newline(text)
    begin = max(text.rfind("\n", 0, segment.start), text.rfind("\r", 0, segment.start)) + 1
    lead = text[begin : segment.start]
    if format_name == "markdown" and segment.kind != "heading":
        if _must_stay_on_line(text, segment, lead):
            return " / "
        if _DEFINITION.match(lead):
            return newline + lead
        lead = _FOOTNOTE.sub("    ", _BOX.sub("", lead))
    quote = "".join(character if character in "> \t#" else " " for character in lead)
    return f"{newline}{quote.rstrip(' #') if '>' in quote else ''}{newline}{quote}"


def _must_stay_on_line(text: str, segment: Segment, lead: str) -> bool:
    """Whether the words have to stay in their line: titles of blocks, terms that a definition follows."""
    end = _LINE_END.search(text, segment.end)
    rest = text[segment.end : end.start() if end else len(text)]
    return bool(rest.strip() or _ALERT.search(lead) or _DEFINED.match(text, segment.end + len(rest)))


def _markdown_cell(text: str) -> str:
    """Return Markdown as it may stand in a cell."""
    return " ".join(_HARD_BREAK.sub("<br>", text).split()).replace("|", "\\|")


def _table_cell(text: str) -> str:
    return " ".join(text.split()).replace("\\", "\\\\").replace("|", "\\|")
