"""Splitting streamed Markdown into top-level blocks, line by line, without looking back.

A block ends where no later line can change how it looks. Lists end after each top-level item, so that a long list is
shown as it grows; the lines of a code fence are blocks of their own. This is a splitter for display, not a parser:
fences, headings, list items and thematic breaks follow CommonMark 0.31, and a parser handles the inside of a block.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from enum import Enum, auto

from llmcli.frozen_dataclass import frozen

MAX_BLOCK_CHARS = 16_384
"""A larger block is cut at a line, so that the unfinished part stays bounded."""

_FENCE = re.compile(r"( *)(`{3,}(?=[^`]*$)|~{3,})")
_HEADING = re.compile(r" {0,3}#{1,6}(?:[ \t]|$)")
_LIST_ITEM = re.compile(r"( *)(?:[-*+]|\d{1,9}[.)])(?:[ \t]|$)")
_THEMATIC_BREAK = re.compile(r" {0,3}(?:(?:\*[ \t]*){3,}|(?:_[ \t]*){3,}|(?:-[ \t]*){3,})$")
_SETEXT = re.compile(r" {0,3}-+[ \t]*$")


class BlockKind(Enum):
    """The kind of a block, as far as it matters for display."""

    PROSE = auto()
    ITEM = auto()
    CODE = auto()  # one line of a fence
    FENCE = auto()  # the line that opens or closes a fence: not shown


@frozen
class MarkdownBlock:
    """A finished block. ``indent``: columns that its list items take; ``blank_before``: an empty line comes before it."""

    kind: BlockKind
    text: str
    indent: int = 0
    blank_before: bool = False


class MarkdownBlockSplitter:
    """Splits lines into finished blocks; ``open_block`` returns the unfinished one."""

    def __init__(self) -> None:
        self._block_lines: list[str] = []
        self._block_chars = 0
        self._kind = BlockKind.PROSE
        self._indent = 0
        self._blank_before = False
        self._fence = ""
        self._fence_indent = 0
        self._list_indent: int | None = None  # of the list that an indented line would continue

    @property
    def in_fence(self) -> bool:
        """Whether the next line is code."""
        return bool(self._fence)

    def open_block(self, partial: str) -> MarkdownBlock:
        """Return the unfinished block with the unfinished line ``partial`` at its end."""
        if self._fence:
            return MarkdownBlock(BlockKind.CODE, self._feed_code(partial), self._fence_indent)
        lines = [*self._block_lines, *([partial] if partial else [])]
        indent = self._indent if self._block_lines else self._list_continuation_indent(partial)
        return MarkdownBlock(self._kind, _dedent(lines, indent), indent, self._blank_before)

    def feed_line(self, line: str) -> Iterator[MarkdownBlock]:
        """Take a complete line (without its newline); yield the blocks that it finishes."""
        if self._fence:
            yield self._in_fence(line)
        elif not line.strip():
            yield from self.flush()
            self._blank_before = True
        elif match := _FENCE.match(line):
            yield from self.flush()
            self._fence, self._fence_indent = match[2], len(match[1])
            yield MarkdownBlock(BlockKind.FENCE, line, blank_before=True)
        else:
            yield from self._feed_prose(line)

    def _in_fence(self, line: str) -> MarkdownBlock:
        bare = line.strip()
        if len(bare) >= len(self._fence) and not bare.strip(self._fence[0]) and bare[:1] == self._fence[0]:
            self._fence = ""
            self._blank_before = True
            return MarkdownBlock(BlockKind.FENCE, line)
        return MarkdownBlock(BlockKind.CODE, self._feed_code(line), self._fence_indent)

    def _feed_code(self, line: str) -> str:
        return line[min(self._fence_indent, len(line) - len(line.lstrip(" "))) :]

    def _feed_prose(self, line: str) -> Iterator[MarkdownBlock]:
        item = _LIST_ITEM.match(line)
        alone = bool(_HEADING.match(line)) or bool(
            _THEMATIC_BREAK.match(line) and not (self._block_lines and _SETEXT.match(line))
        )
        if alone:
            yield from self.flush()
            self._blank_before = True
        elif item and (self._kind is not BlockKind.ITEM or len(item[1]) <= self._indent or not self._block_lines):
            yield from self.flush()
        if not self._block_lines:
            self._kind = BlockKind.ITEM if item and not alone else BlockKind.PROSE
            self._indent = self._list_continuation_indent(line)
            if self._kind is BlockKind.ITEM:
                self._list_indent = self._indent
            elif self._indent == 0:
                self._list_indent = None
        self._block_lines.append(line)
        self._block_chars += len(line)
        if alone or self._block_chars > MAX_BLOCK_CHARS or (self._kind is BlockKind.PROSE and _SETEXT.match(line)):
            yield from self.flush()
            self._blank_before = alone or self._blank_before

    def _list_continuation_indent(self, line: str) -> int:
        """Return the columns to take off a block that continues a list; elsewhere indentation has a meaning."""
        spaces = len(line) - len(line.lstrip(" "))
        return spaces if self._list_indent is not None and spaces > self._list_indent else 0

    def flush(self) -> Iterator[MarkdownBlock]:
        """Finish the open block."""
        if self._block_lines:
            yield MarkdownBlock(self._kind, _dedent(self._block_lines, self._indent), self._indent, self._blank_before)
            self._block_lines, self._block_chars, self._blank_before = [], 0, False
        self._kind = BlockKind.PROSE


def _dedent(lines: list[str], indent: int) -> str:
    return "\n".join(line[min(indent, len(line) - len(line.lstrip(" "))) :] for line in lines)
