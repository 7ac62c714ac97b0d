"""The form of a translated text in AsciiDoc: wrapped like its source, and never mistaken for another block."""

from __future__ import annotations

import re
from collections.abc import Sequence

from llmcli.documents.formats.markup.asciidoc_inline import write_asciidoc_inline
from llmcli.documents.formats.markup.asciidoc_table import DataSyntax, ends_with_specifier
from llmcli.documents.formats.markup.markup_text import MarkupText, fill_lines
from llmcli.fast_dataclass import frozen

BLOCK_ATTRIBUTES = re.compile(r"\[(?:|[\w.#%{,\"'].*|\[(?:|[^\W\d]|:)[\w:.-]*(?:,.*)?\])\]\Z")
TITLE = re.compile(r"(?P<level>={1,6}|#{1,6})[ \t]+(?P<words>\S.*?)(?:[ \t](?P=level))?\Z")
_BLOCK_START = re.compile(
    r"(?:-|\*{1,5}|\u2022|\.{1,5}|\d{1,9}\.|[A-Za-z]\.|[IVXivx]{1,12}\)|<(?:\d{1,4}|\.)>|={1,6}|#{1,6}|>|--)(?=[ \t\n]|\Z)"
    r"|[ \t]|\.[^ \t.]|//|\\?(?:ifdef|ifndef|ifeval|endif|include)::|\[|:!?\w[\w-]*!?:(?=[ \t]|\Z)|\+\s*\Z"
    r"|[-=*_.+/~^]{2,}\s*\Z|[|,:!]={3,}|`{3}|'{3}|<{3}|\"\"\s*\Z|(?:NOTE|TIP|IMPORTANT|WARNING|CAUTION):|[a-z][\w-]*::"
)
"""The beginning of a line, or a word there, that could begin another block, or end a paragraph."""
_CLOSING_SIGNS = re.compile(r"[ \t](?:=+|#+)\Z")
_HARD_BREAK = " +\n"
_EMPTY = "{empty}"
"""An attribute without text, behind which no block begins."""


@frozen
class AsciiDocLayout:
    """The form of a text: what is between its lines, and their width (0: they stay, or there is one).

    ``bars``: the signs that end the cells around it. ``begins_line``: it could begin another block. ``follows_dot``: it
    is a caption. ``is_closed``: the bar of the next cell follows at once. ``title_length``: a text of about so many
    characters would be a title, by the line below it; None: of no length.
    """

    between: str
    width: int
    begins_line: bool
    follows_dot: bool
    bars: str
    is_closed: bool
    title_length: int | None


def encode_text(translation: str, *, read: MarkupText, region: str, layout: AsciiDocLayout) -> str:
    """Return a paragraph in lines as long as those of its source, or in its lines if the layout has no width."""
    if translation.strip() == read.text:
        return region
    keeps_lines = bool(layout.between) and not layout.width
    parts = write_asciidoc_inline(translation, read, lines=keeps_lines, bars=layout.bars)
    lines: list[str] = []
    run: list[tuple[str, bool]] = []
    for part in parts:
        if part != (_HARD_BREAK, True):
            run.append(part)
        elif filled := _fill(run, layout.width, keeps_lines=keeps_lines):
            lines += [*filled[:-1], filled[-1] + " +"]
            run = []
    lines += _fill(run, layout.width, keeps_lines=keeps_lines)
    lines = [_escape_start(line) if number or layout.begins_line else line for number, line in enumerate(lines)]
    text = (layout.between or " ").join(lines)
    if len(lines) == 1 and layout.title_length is not None and abs(len(text) - layout.title_length) <= 1:
        text += _EMPTY
    if layout.follows_dot and text[:1] in ". ":
        text = _EMPTY + text
    return text + _EMPTY if layout.is_closed and ends_with_specifier(text) else text


def _fill(run: Sequence[tuple[str, bool]], width: int, *, keeps_lines: bool) -> list[str]:
    if keeps_lines:
        return [line for line in (each.strip() for each in "".join(text for text, _ in run).split("\n")) if line]
    lines = fill_lines(run, width, _BLOCK_START)
    return [line[:-1] + "&#43;" if line.endswith(" +") else line for line in lines]


def begins_block(line: str) -> bool:
    """Whether a line begins another block than a paragraph."""
    return bool((BLOCK_ATTRIBUTES if line.startswith("[") else _BLOCK_START).match(line))


def _escape_start(line: str) -> str:
    """Return a line that begins no other block than a paragraph."""
    if not begins_block(line):
        return line
    return line + _EMPTY if line.startswith("[") else _EMPTY + line


def encode_title(translation: str, *, read: MarkupText, region: str, between: str, under: str, bars: str) -> str:
    """Return a title; one with a line of ``under`` below gets that as long as it is."""
    if translation.strip() == read.text:
        return region
    parts = write_asciidoc_inline(translation, read, lines=False, bars=bars)
    words = "".join(text for text, _ in parts).strip()
    if not under:
        return words + _EMPTY if _CLOSING_SIGNS.search(words) else words
    words = _EMPTY + words if words.startswith(".") or TITLE.match(words) else words
    return words + between + under * len(words)


def encode_attribute(translation: str, *, read: MarkupText, region: str, is_quoted: bool) -> str:
    """Return an alternative text, in quotes if it has a sign that would end it."""
    if translation.strip() == read.text:
        return region
    words = "".join(text for text, _ in write_asciidoc_inline(translation, read, lines=False)).strip()
    if is_quoted or re.search(r"[,=\"]", words):
        words = words.replace('"', "&#34;")
        return words if is_quoted else f'"{words}"'
    return words


def encode_data_cell(translation: str, *, read: MarkupText, region: str, syntax: DataSyntax, is_quoted: bool) -> str:
    """Return a paragraph of a cell of CSV, TSV or DSV; what would begin another block begins none."""
    if translation.strip() == read.text:
        return region
    words = "".join(text for text, _ in write_asciidoc_inline(translation, read, lines=False)).strip()
    return syntax.write(_escape_start(words), is_quoted=is_quoted)
