"""Streamed Markdown on a terminal: split into top-level blocks, line by line, without looking back, and rendered."""

from __future__ import annotations

import io
import re
from collections.abc import Iterator
from enum import Enum, auto
from typing import TYPE_CHECKING, Any

from llmcli.cli.console.environment import Environment
from llmcli.cli.console.sanitize import Sanitizer, strip_controls
from llmcli.cli.render.text_writer import ByteSink
from llmcli.fast_dataclass import frozen

if TYPE_CHECKING:
    from markdown_it.token import Token
    from rich.console import Console

MAX_BLOCK_CHARS = 16_384
"""A larger block is cut at a line, so that the unfinished part stays bounded."""

_FENCE = re.compile(r"( *)(`{3,}(?=[^`]*$)|~{3,})")
_HEADING = re.compile(r" {0,3}#{1,6}(?:[ \t]|$)")
_LIST_ITEM = re.compile(r"( *)(?:[-*+]|\d{1,9}[.)])(?:[ \t]|$)")
_THEMATIC_BREAK = re.compile(r" {0,3}(?:(?:\*[ \t]*){3,}|(?:_[ \t]*){3,}|(?:-[ \t]*){3,})$")
_SETEXT = re.compile(r" {0,3}-+[ \t]*$")


class _BlockKind(Enum):
    """The kind of a block, as far as it matters for display."""

    PROSE = auto()
    ITEM = auto()
    CODE = auto()  # one line of a fence
    FENCE = auto()  # the line that opens or closes a fence: not shown


@frozen
class MarkdownBlock:
    """A finished block.

    ``indent``: columns that its list items take; ``blank_before``: an empty line comes before it.
    """

    kind: _BlockKind
    text: str
    indent: int = 0
    blank_before: bool = False


class MarkdownBlockSplitter:
    """Splits lines into finished blocks; ``open_block`` returns the unfinished one."""

    def __init__(self) -> None:
        self._block_lines: list[str] = []
        self._block_chars = 0
        self._kind = _BlockKind.PROSE
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
            return MarkdownBlock(_BlockKind.CODE, self._feed_code(partial), self._fence_indent)
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
            yield MarkdownBlock(_BlockKind.FENCE, line, blank_before=True)
        else:
            yield from self._feed_prose(line)

    def _in_fence(self, line: str) -> MarkdownBlock:
        bare = line.strip()
        if len(bare) >= len(self._fence) and not bare.strip(self._fence[0]) and bare[:1] == self._fence[0]:
            self._fence = ""
            self._blank_before = True
            return MarkdownBlock(_BlockKind.FENCE, line)
        return MarkdownBlock(_BlockKind.CODE, self._feed_code(line), self._fence_indent)

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
        elif item and (self._kind is not _BlockKind.ITEM or len(item[1]) <= self._indent or not self._block_lines):
            yield from self.flush()
        if not self._block_lines:
            self._kind = _BlockKind.ITEM if item and not alone else _BlockKind.PROSE
            self._indent = self._list_continuation_indent(line)
            if self._kind is _BlockKind.ITEM:
                self._list_indent = self._indent
            elif self._indent == 0:
                self._list_indent = None
        self._block_lines.append(line)
        self._block_chars += len(line)
        if alone or self._block_chars > MAX_BLOCK_CHARS or (self._kind is _BlockKind.PROSE and _SETEXT.match(line)):
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
        self._kind = _BlockKind.PROSE


def _dedent(lines: list[str], indent: int) -> str:
    return "\n".join(line[min(indent, len(line) - len(line.lstrip(" "))) :] for line in lines)


_MAX_LIVE_ROWS = 12  # at most; a terminal cannot change rows that have scrolled away
_RERENDER_FRACTION = 32  # the unfinished block is rendered again after it grew by this fraction (1/N)
_CODE_STYLE = "cyan"


class MarkdownWriter:
    """A ``TextWriter`` that renders. ``rendered_chars`` counts the characters passed to the renderer."""

    def __init__(self, environment: Environment, sink: ByteSink, *, terminal: bool) -> None:
        self._environment = environment
        self._sink = sink
        self._live = terminal
        self._sanitizer = Sanitizer()
        self._blocks = MarkdownBlockSplitter()
        self._partial_line = ""
        self._painted_rows: list[str] = []  # the rows of the unfinished block, as they are on the terminal
        self._last_rendered_chars = 0
        self._wrote_rows = False
        self.rendered_chars = 0

    def feed(self, text: str) -> None:
        """Show the next piece."""
        *complete, self._partial_line = (self._partial_line + self._sanitizer.feed(text)).split("\n")
        for line in complete:
            for block in self._blocks.feed_line(line):
                self._write_block(block)
        if self._live:
            self._paint_open_block()

    def finish(self) -> None:
        """Show the rest; an answer without text is an empty line."""
        self._flush_blocks()
        if not self._wrote_rows:
            self._write("\n")

    def _flush_blocks(self) -> None:
        if self._partial_line:
            for block in self._blocks.feed_line(self._partial_line):
                self._write_block(block)
            self._partial_line = ""
        for block in self._blocks.flush():
            self._write_block(block)

    def abandon(self) -> None:
        """Keep what is shown and move the cursor below it; in a pipe, show the unfinished block."""
        if not self._live:
            self._flush_blocks()
        elif self._painted_rows:
            self._painted_rows = []
            self._write("\n")

    def _write_block(self, block: MarkdownBlock) -> None:
        self._last_rendered_chars = 0
        rows = self._block_rows(block)
        self._wrote_rows = self._wrote_rows or bool(rows)
        self._paint(rows, last=True)

    def _paint_open_block(self) -> None:
        block = self._blocks.open_block(self._partial_line)
        size = len(block.text)
        if not size or size - self._last_rendered_chars <= size // _RERENDER_FRACTION:
            return
        self._last_rendered_chars = size
        rows = self._block_rows(block)
        if block.kind is _BlockKind.CODE and rows:
            rows = self._code_rows(block.text[: self._width - block.indent], block.indent)
        self._paint(
            rows[-min(_MAX_LIVE_ROWS, max(1, self._environment.rows(self._environment.stdout) - 2)) :], last=False
        )

    def _paint(self, rows: list[str], *, last: bool) -> None:
        """Replace the rows on the terminal with ``rows``, keeping unchanged ones at the top.

        The cursor is at the end of the last shown row, before and after; below it if these are the ``last`` rows.
        """
        most = len(rows) if last else len(rows) - 1  # the cursor's own row is written again
        same = 0
        while same < min(most, len(self._painted_rows)) and rows[same] == self._painted_rows[same]:
            same += 1
        out = []
        if same < len(self._painted_rows):
            up = len(self._painted_rows) - 1 - same
            out.append("\r" + (f"\x1b[{up}A" if up else "") + "\x1b[J")
        elif self._painted_rows:
            out.append("\n")
        out.append("\n".join(rows[same:]))
        if last and rows[same:]:
            out.append("\n")
        self._painted_rows = [] if last else rows
        self._write("".join(out))

    def _write(self, text: str) -> None:
        if text:
            self._sink.write(text.encode("utf-8", "replace"))

    # ---- rendering ----------------------------------------------------------------------------------------------

    @property
    def _width(self) -> int:
        """One column is left free: terminals differ in how they treat the last one."""
        return max(10, self._environment.columns(self._environment.stdout) - 1)

    def _block_rows(self, block: MarkdownBlock) -> list[str]:
        """Return a block as rows of the terminal, with the empty line before it, if any."""
        self.rendered_chars += len(block.text)
        gap = [""] if block.blank_before and self._wrote_rows else []
        if block.kind is _BlockKind.FENCE:
            return gap
        if block.kind is _BlockKind.CODE:
            return self._code_rows(block.text, block.indent)
        width = max(10, self._width - block.indent)
        rows = [row.rstrip() for row in _render_rows(block.text, width, self._environment).splitlines()]
        while rows and _is_blank(rows[0]):
            rows.pop(0)
        while rows and _is_blank(rows[-1]):
            rows.pop()
        return gap + [" " * block.indent + row if row else row for row in rows]

    def _code_rows(self, text: str, indent: int) -> list[str]:
        from rich.text import Text

        console = _memory_console(self._width, self._environment)
        console.print(Text(text.expandtabs(), style=_CODE_STYLE), soft_wrap=True, end="")
        return [" " * indent + _captured_text(console)]


def _is_blank(row: str) -> bool:
    return not re.sub(r"\x1b\[[0-9;]*m", "", row).strip()


def _memory_console(width: int, environment: Environment) -> Console:
    """Return a console that renders into memory; NO_COLOR and TERM are read from the run's environment."""
    from rich.console import Console
    from rich.theme import Theme

    return Console(
        file=io.StringIO(),
        force_terminal=True,
        width=width,
        legacy_windows=False,
        theme=Theme(
            {"markdown.code": f"bold {_CODE_STYLE}"}
        ),  # rich's black background is unreadable on a light terminal
        _environ=dict(environment.environ),
    )


def _captured_text(console: Console) -> str:
    stream = console.file
    assert isinstance(stream, io.StringIO)
    return stream.getvalue()


def _render_rows(text: str, width: int, environment: Environment) -> str:
    console = _memory_console(width, environment)
    console.print(_parse_markdown(text))
    return _captured_text(console)


def _parse_markdown(text: str) -> Any:
    """Return rich's Markdown with plain headings, sanitized: HTML entities can encode control characters."""
    from rich.markdown import Heading, Markdown
    from rich.text import Text

    class LeftHeading(Heading):
        """A heading at the left; rich would centre headings and put a box around the first."""

        def __rich_console__(self, console: Any, options: Any) -> Any:
            heading = self.text.copy()
            heading.stylize("bold underline" if self.tag == "h1" else "bold")
            yield Text("").join([heading])

    class Plain(Markdown):
        """Markdown with our headings."""

        elements = {**Markdown.elements, "heading_open": LeftHeading}  # noqa: RUF012 (rich reads it from the class)

    markdown = Plain(text, hyperlinks=False)
    _strip_controls_from_tokens(markdown.parsed)
    return markdown


def _strip_controls_from_tokens(tokens: list[Token]) -> None:
    """Remove control characters from the parsed text, and keep line breaks, which matter in a poem."""
    for token in tokens:
        if token.type == "softbreak":
            token.type = "hardbreak"
        token.content = strip_controls(token.content)
        token.attrs = {
            key: strip_controls(value) if isinstance(value, str) else value for key, value in token.attrs.items()
        }
        _strip_controls_from_tokens(token.children or [])
