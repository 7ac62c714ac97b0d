"""Lines of a text as editors count them: a line ends with LF, CRLF or CR."""

from __future__ import annotations

import re
from collections.abc import Iterator

_LINE = re.compile(r"[^\r\n]*(?:\r\n|\r|\n)|[^\r\n]+")
_LINE_END = re.compile(r"\r\n?|\n")


def line_spans(text: str) -> Iterator[tuple[int, int]]:
    """Yield the offsets of each line, with its end."""
    return (match.span() for match in _LINE.finditer(text))


def line_starts(text: str) -> list[int]:
    """Return the offsets at which lines begin; after the last line end, one more does."""
    return [0, *(match.end() for match in _LINE_END.finditer(text))]


def count_line_ends(text: str) -> int:
    """Return the number of line ends."""
    return text.count("\n") + text.count("\r") - text.count("\r\n")


def line_at(text: str, offset: int) -> int:
    """Return the line of an offset, from 1."""
    return count_line_ends(text[:offset]) + 1


def blanks_before(text: str, offset: int) -> str:
    """Return the blanks and line ends right before an offset."""
    at = offset
    while at and text[at - 1] in " \t\r\n":
        at -= 1
    return text[at:offset]
