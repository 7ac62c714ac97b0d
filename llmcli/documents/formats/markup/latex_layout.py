"""The form of a translated text in LaTeX: wrapped like its source, with commands that end where they ended."""

from __future__ import annotations

import re
from typing import Self

from llmcli.documents.formats.markup.latex_text import write_words
from llmcli.documents.formats.markup.markup_text import MarkupPart, MarkupText, fill_lines
from llmcli.documents.text_cleaning import clean_translation, collapse_whitespace
from llmcli.fast_dataclass import frozen

_LINE_END = re.compile(r"[ \t]*(?:\r\n|\r|\n)[ \t]*")
_ENDS_WITH_NAME = re.compile(r"\\[A-Za-z@]+\Z")
_TAKES_OPTION = re.compile(r"\\(?:\\\*?|item)\s*\Z")
_DISPLAY_MATH = ("$$", "\\[", "\\begin")
_COMMENT = re.compile("%")
_MIN_WRAP_CHARS = 40
_LEAD_CHARS = 60
"""Characters before a text that may be a command which its first word would change."""


@frozen
class LatexLayout:
    """The form of a text: what is between its lines ("" if it has one), and their width.

    ``follows_name``: the name of a command ends right before it. ``may_be_option``: a bracket at its beginning would be
    an option. ``in_option``: a bracket would end it.
    """

    between: str
    width: int
    newline: str
    follows_name: bool
    may_be_option: bool
    in_option: bool

    @classmethod
    def of(cls, text: str, start: int, region: str, newline: str, *, in_option: bool) -> Self:
        """Return the layout of the text at an offset."""
        found = _LINE_END.search(region)
        lines = re.split(r"\r\n|\r|\n", region) if found else []
        lead = text[max(0, start - _LEAD_CHARS) : start]
        return cls(
            found[0].lstrip(" \t") if found else "",
            max([_MIN_WRAP_CHARS, *map(len, lines)]) if found else 0,
            newline,
            bool(_ENDS_WITH_NAME.search(lead)),
            bool(_TAKES_OPTION.search(lead)),
            in_option,
        )


def encode_latex(translation: str, *, read: MarkupText, region: str, layout: LatexLayout) -> str:
    """Return a text in lines as long as those of its source; comments end lines, and displayed math has its own."""
    if translation.strip() == read.text:
        return region
    parts = _move_blanks(read.split_translation(translation))
    lines: list[str] = []
    run: list[tuple[str, bool]] = []
    before = "\\" if layout.follows_name else ""
    has_comment = False
    for part in parts:
        written = part.written if part.kind else _write_words(part.text, region, layout)
        written = _separate(before, written, region, is_first=not lines and not run, layout=layout)
        is_display = part.kind == "math" and written.startswith(_DISPLAY_MATH)
        is_comment = part.kind == "code" and written.startswith("%")
        has_comment = has_comment or is_comment
        if is_display:
            lines += [*fill_lines(run, layout.width, _COMMENT), written]
            run = []
        else:
            run.append((written, bool(part.kind)))
        if is_comment or (part.kind == "break" and layout.between):
            lines += fill_lines(run, layout.width, _COMMENT)
            run = []
        before = written
    lines += fill_lines(run, layout.width, _COMMENT)
    return (layout.between or (layout.newline if has_comment else " ")).join(lines)


def _move_blanks(parts: list[MarkupPart]) -> list[MarkupPart]:
    done = [part if part.kind else MarkupPart(collapse_whitespace(clean_translation(part.text))) for part in parts]
    return [part for part in done if part.text or part.kind]


def _write_words(words: str, region: str, layout: LatexLayout) -> str:
    written = write_words(words, region)
    return written.replace("]", "{]}") if layout.in_option else written


def _separate(before: str, written: str, region: str, *, is_first: bool, layout: LatexLayout) -> str:
    """Return what is written behind ``before``, set off where it would become part of a command."""
    first = written.lstrip()[:1]
    takes_option = layout.may_be_option if is_first else bool(_TAKES_OPTION.search(before))
    if takes_option and first and first in "[*":
        return "{}" + written
    if is_first:
        return " " + written if layout.follows_name and first.isalpha() else written
    if not _ENDS_WITH_NAME.search(before):
        return written
    is_blank = written[:1].isspace() and not re.search(re.escape(before) + r"\s", region)
    return "{}" + written if is_blank or written[:1].isalpha() or (first and first in "{[*@") else written
