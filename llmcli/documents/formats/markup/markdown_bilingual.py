"""Bilingual Markdown: what separates a text from its translation, and how a text is written in a table cell."""

from __future__ import annotations

import re

from llmcli.documents.formats.document_format import line_lead, separate_block
from llmcli.documents.segments import Segment
from llmcli.documents.text_cleaning import detect_newline

_BOX = re.compile(r"\[[ xX]\][ \t]+\Z")
_FOOTNOTE = re.compile(r"\[\^[^\]]*\]:[ \t]*\Z")
_ALERT = re.compile(r"\[![\w-]+\][+-]?[ \t]+\Z")
_DEFINITION = re.compile(r"[\s>]*:[ \t]+\Z")
_DEFINED = re.compile(r"(?:\r\n|\r|\n)[\s>]*:[ \t]")
_LINE_END = re.compile(r"[\r\n]|\Z")
_HARD_BREAK = re.compile(r" *\\\n| {2,}\n")


def separate_markdown_block(text: str, segment: Segment) -> str:
    """Return what separates a paragraph or an item from its translation without changing what it is."""
    lead = line_lead(text, segment)
    if _must_stay_on_line(text, segment, lead):
        return " / "
    if _DEFINITION.match(lead):
        return detect_newline(text) + lead
    return separate_block(text, _FOOTNOTE.sub("    ", _BOX.sub("", lead)))


def _must_stay_on_line(text: str, segment: Segment, lead: str) -> bool:
    """Whether the words have to stay on their line: titles of blocks, terms before a definition."""
    end = _LINE_END.search(text, segment.end)
    rest = text[segment.end : end.start() if end else len(text)]
    return bool(rest.strip() or _ALERT.search(lead) or _DEFINED.match(text, segment.end + len(rest)))


def markdown_table_cell(text: str) -> str:
    """Return Markdown as it may be written in a cell."""
    return " ".join(_HARD_BREAK.sub("<br>", text).split()).replace("|", "\\|")
