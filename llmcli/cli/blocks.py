"""Cutting streamed Markdown into top-level blocks, line by line, without ever looking back.

A block ends where no later line can change how it looks. Lists end after each top-level item, so that a long list is
shown as it grows; the lines of a code fence are blocks of their own. This is a reader for display (CommonMark 0.31
decides what a fence, a heading, a list item and a thematic break are), not a parser: what is inside a block is left to
one.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum, auto

MAX_CHARS = 16_384
"""A block that grows beyond this is cut at a line, so that no input makes the unfinished part unbounded."""

_FENCE = re.compile(r"( *)(`{3,}(?=[^`]*$)|~{3,})")
_HEADING = re.compile(r" {0,3}#{1,6}(?:[ \t]|$)")
_ITEM = re.compile(r"( *)(?:[-*+]|\d{1,9}[.)])(?:[ \t]|$)")
_BREAK = re.compile(r" {0,3}(?:(?:\*[ \t]*){3,}|(?:_[ \t]*){3,}|(?:-[ \t]*){3,})$")
_SETEXT = re.compile(r" {0,3}-+[ \t]*$")


class Kind(Enum):
    """What a block is, as far as it matters for showing it."""

    PROSE = auto()
    ITEM = auto()
    CODE = auto()  # one line of a fence
    FENCE = auto()  # the line that opens or closes a fence: shown as nothing


@dataclass(frozen=True, slots=True)
class Block:
    """A finished block. ``indent``: columns that its list items take; ``spaced``: an empty line comes before it."""

    kind: Kind
    text: str
    indent: int = 0
    spaced: bool = False


class Blocks:
    """Takes lines, gives finished blocks; ``open`` is what is not finished yet."""

    def __init__(self) -> None:
        self._lines: list[str] = []
        self._size = 0
        self._kind = Kind.PROSE
        self._indent = 0
        self._spaced = False
        self._fence = ""
        self._fence_indent = 0
        self._list_indent: int | None = None  # of the list that an indented line would continue

    @property
    def in_fence(self) -> bool:
        """Whether the next line is code."""
        return bool(self._fence)

    def open(self, partial: str) -> Block:
        """Return the unfinished block with the unfinished line ``partial`` at its end."""
        if self._fence:
            return Block(Kind.CODE, self._code(partial), self._fence_indent)
        lines = [*self._lines, *([partial] if partial else [])]
        indent = self._indent if self._lines else self._indent_of(partial)
        return Block(self._kind, _dedent(lines, indent), indent, self._spaced)

    def line(self, line: str) -> Iterator[Block]:
        """Take a complete line (without its newline); yield the blocks that it finishes."""
        if self._fence:
            yield self._in_fence(line)
        elif not line.strip():
            yield from self.flush()
            self._spaced = True
        elif match := _FENCE.match(line):
            yield from self.flush()
            self._fence, self._fence_indent = match[2], len(match[1])
            yield Block(Kind.FENCE, line, spaced=True)
        else:
            yield from self._prose(line)

    def _in_fence(self, line: str) -> Block:
        bare = line.strip()
        if len(bare) >= len(self._fence) and not bare.strip(self._fence[0]) and bare[:1] == self._fence[0]:
            self._fence = ""
            self._spaced = True
            return Block(Kind.FENCE, line)
        return Block(Kind.CODE, self._code(line), self._fence_indent)

    def _code(self, line: str) -> str:
        return line[min(self._fence_indent, len(line) - len(line.lstrip(" "))) :]

    def _prose(self, line: str) -> Iterator[Block]:
        item = _ITEM.match(line)
        alone = bool(_HEADING.match(line)) or bool(_BREAK.match(line) and not (self._lines and _SETEXT.match(line)))
        if alone:
            yield from self.flush()
            self._spaced = True
        elif item and (self._kind is not Kind.ITEM or len(item[1]) <= self._indent or not self._lines):
            yield from self.flush()
        if not self._lines:
            self._kind = Kind.ITEM if item and not alone else Kind.PROSE
            self._indent = self._indent_of(line)
            if self._kind is Kind.ITEM:
                self._list_indent = self._indent
            elif self._indent == 0:
                self._list_indent = None
        self._lines.append(line)
        self._size += len(line)
        if alone or self._size > MAX_CHARS or (self._kind is Kind.PROSE and _SETEXT.match(line)):
            yield from self.flush()
            self._spaced = alone or self._spaced

    def _indent_of(self, line: str) -> int:
        """Return the columns to take off a block that continues a list; elsewhere indentation means something."""
        spaces = len(line) - len(line.lstrip(" "))
        return spaces if self._list_indent is not None and spaces > self._list_indent else 0

    def flush(self) -> Iterator[Block]:
        """Finish the open block."""
        if self._lines:
            yield Block(self._kind, _dedent(self._lines, self._indent), self._indent, self._spaced)
            self._lines, self._size, self._spaced = [], 0, False
        self._kind = Kind.PROSE


def _dedent(lines: list[str], indent: int) -> str:
    return "\n".join(line[min(indent, len(line) - len(line.lstrip(" "))) :] for line in lines)
