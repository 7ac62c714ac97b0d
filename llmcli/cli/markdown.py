"""Streamed Markdown on a terminal.

Finished blocks are rendered once and never painted again; only the unfinished one is shown live, its last rows at most,
and only the rows that changed are written. So the cost of a block does not depend on what came before it, and nothing
flickers. Links show their address, since the text of a link is the model's to choose.
"""

from __future__ import annotations

import io
import re
from typing import TYPE_CHECKING, Any

from llmcli.cli.blocks import Block, Blocks, Kind
from llmcli.cli.sanitize import Sanitizer, clean
from llmcli.cli.text import Sink
from llmcli.cli.world import World

if TYPE_CHECKING:
    from markdown_it.token import Token
    from rich.console import Console

_LIVE_ROWS = 12  # at most; a terminal cannot take back what has scrolled away
_STEPS = 32  # the unfinished block is rendered again after it grew by one part in so many
_CODE_STYLE = "cyan"


class MarkdownText:
    """A ``TextOut`` that renders. ``rendered`` counts the characters that were handed to the renderer."""

    def __init__(self, world: World, sink: Sink, *, terminal: bool) -> None:
        self._world = world
        self._sink = sink
        self._live = terminal
        self._clean = Sanitizer()
        self._blocks = Blocks()
        self._partial = ""
        self._shown: list[str] = []  # the rows of the unfinished block, as they are on the terminal
        self._last_size = 0
        self._begun = False
        self.rendered = 0

    def feed(self, text: str) -> None:
        """Show the next piece."""
        *complete, self._partial = (self._partial + self._clean.feed(text)).split("\n")
        for line in complete:
            for block in self._blocks.line(line):
                self._commit(block)
        if self._live:
            self._show_open()

    def finish(self) -> None:
        """Show the rest; an answer without text is an empty line."""
        self._show_rest()
        if not self._begun:
            self._write("\n")

    def _show_rest(self) -> None:
        if self._partial:
            for block in self._blocks.line(self._partial):
                self._commit(block)
            self._partial = ""
        for block in self._blocks.flush():
            self._commit(block)

    def abandon(self) -> None:
        """Leave what is shown, and the cursor below it; in a pipe, where nothing unfinished was shown, show it."""
        if not self._live:
            self._show_rest()
        elif self._shown:
            self._shown = []
            self._write("\n")

    def _commit(self, block: Block) -> None:
        self._last_size = 0
        rows = self._rows(block)
        self._begun = self._begun or bool(rows)
        self._paint(rows, last=True)

    def _show_open(self) -> None:
        block = self._blocks.open(self._partial)
        size = len(block.text)
        if not size or size - self._last_size <= size // _STEPS:
            return
        self._last_size = size
        rows = self._rows(block)
        if block.kind is Kind.CODE and rows:
            rows = self._print_code(block.text[: self._width - block.indent], block.indent)
        self._paint(rows[-min(_LIVE_ROWS, max(1, self._world.rows(self._world.stdout) - 2)) :], last=False)

    def _paint(self, rows: list[str], *, last: bool) -> None:
        """Replace the rows on the terminal by ``rows``, leaving those at the top that are the same.

        The cursor stands at the end of the last shown row; afterwards too, or below it when these are the ``last``.
        """
        most = len(rows) if last else len(rows) - 1  # the cursor's own row is written again
        same = 0
        while same < min(most, len(self._shown)) and rows[same] == self._shown[same]:
            same += 1
        out = []
        if same < len(self._shown):
            up = len(self._shown) - 1 - same
            out.append("\r" + (f"\x1b[{up}A" if up else "") + "\x1b[J")
        elif self._shown:
            out.append("\n")
        out.append("\n".join(rows[same:]))
        if last and rows[same:]:
            out.append("\n")
        self._shown = [] if last else rows
        self._write("".join(out))

    def _write(self, text: str) -> None:
        if text:
            self._sink.write(text.encode("utf-8", "replace"))

    # ---- rendering ----------------------------------------------------------------------------------------------

    @property
    def _width(self) -> int:
        """One column is left free: terminals differ in what they do at the last one."""
        return max(10, self._world.columns(self._world.stdout) - 1)

    def _rows(self, block: Block) -> list[str]:
        """Return a block as rows of the terminal, with the empty line before it where there is one."""
        self.rendered += len(block.text)
        gap = [""] if block.spaced and self._begun else []
        if block.kind is Kind.FENCE:
            return gap
        if block.kind is Kind.CODE:
            return self._print_code(block.text, block.indent)
        width = max(10, self._width - block.indent)
        rows = [row.rstrip() for row in _render(block.text, width, self._world).splitlines()]
        while rows and _blank(rows[0]):
            rows.pop(0)
        while rows and _blank(rows[-1]):
            rows.pop()
        return gap + [" " * block.indent + row if row else row for row in rows]

    def _print_code(self, text: str, indent: int) -> list[str]:
        from rich.text import Text

        console = _console(self._width, self._world)
        console.print(Text(text.expandtabs(), style=_CODE_STYLE), soft_wrap=True, end="")
        return [" " * indent + _text(console)]


def _blank(row: str) -> bool:
    return not re.sub(r"\x1b\[[0-9;]*m", "", row).strip()


def _console(width: int, world: World) -> Console:
    """Return a console that renders into memory; NO_COLOR and TERM are read from the world's environment."""
    from rich.console import Console

    return Console(
        file=io.StringIO(), force_terminal=True, width=width, legacy_windows=False, _environ=dict(world.environ)
    )


def _text(console: Console) -> str:
    stream = console.file
    assert isinstance(stream, io.StringIO)
    return stream.getvalue()


def _render(text: str, width: int, world: World) -> str:
    console = _console(width, world)
    console.print(_markdown(text))
    return _text(console)


def _markdown(text: str) -> Any:
    """Return rich's Markdown with plain headings, made harmless: HTML entities can spell control characters."""
    from rich.markdown import Heading, Markdown
    from rich.text import Text

    class LeftHeading(Heading):
        """rich centres headings and boxes the first; prose of an answer stays at the left."""

        def __rich_console__(self, console: Any, options: Any) -> Any:
            heading = self.text.copy()
            heading.stylize("bold underline" if self.tag == "h1" else "bold")
            yield Text("").join([heading])

    class Plain(Markdown):
        """Markdown with our headings."""

        elements = {**Markdown.elements, "heading_open": LeftHeading}  # noqa: RUF012

    markdown = Plain(text, hyperlinks=False)
    _disarm(markdown.parsed)
    return markdown


def _disarm(tokens: list[Token]) -> None:
    """Take control characters out of the parsed text, and keep line breaks: a poem's mean something."""
    for token in tokens:
        if token.type == "softbreak":
            token.type = "hardbreak"
        token.content = clean(token.content)
        token.attrs = {key: clean(value) if isinstance(value, str) else value for key, value in token.attrs.items()}
        _disarm(token.children or [])
