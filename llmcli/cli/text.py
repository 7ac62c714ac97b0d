"""How the text of one item reaches its reader: as it is in a pipe, cleaned on a terminal, rendered where it is prose."""

from __future__ import annotations

from enum import Enum, auto
from typing import Protocol

from llmcli.cli.context import Context
from llmcli.cli.sanitize import Sanitizer


class Sink(Protocol):
    """Where bytes go: stdout, or the file of ``-o``."""

    def write(self, data: bytes) -> None:
        """Write all of ``data``."""
        ...


class TextOut(Protocol):
    """Takes a text in pieces."""

    def feed(self, text: str) -> None:
        """Show the next piece."""
        ...

    def finish(self) -> None:
        """End the text."""
        ...

    def abandon(self) -> None:
        """Stop in the middle: a terminal is left at the start of a line, a pipe as it is."""
        ...


class Ending(Enum):
    """How a text ends: a generated answer with exactly one newline, a document as it does."""

    LINE = auto()
    DOCUMENT = auto()


class PlainText:
    """Text as it is, or without control sequences on a terminal; every piece is written at once."""

    def __init__(self, sink: Sink, *, ending: Ending, terminal: bool) -> None:
        self._sink = sink
        self._ending = ending
        self._clean = Sanitizer() if terminal else None
        self._held = ""  # newlines that may turn out to be the last ones
        self._mid_line = False

    def feed(self, text: str) -> None:
        """Write ``text``, but hold back newlines at its end where the ending is ours to choose."""
        if self._clean is not None:
            text = self._clean.feed(text)
        if self._ending is Ending.LINE:
            text = self._held + text
            kept = text.rstrip("\n")
            self._held = text[len(kept) :]
            text = kept
        if text:
            self._sink.write(text.encode("utf-8", "replace"))
            self._mid_line = not text.endswith("\n")

    def finish(self) -> None:
        """Write the one newline of a generated answer."""
        if self._ending is Ending.LINE:
            self._sink.write(b"\n")

    def abandon(self) -> None:
        """Leave a terminal at the start of a line."""
        if self._clean is not None and self._mid_line:
            self._sink.write(b"\n")


def text_out(cli: Context, sink: Sink, *, ending: Ending, markdown: bool) -> TextOut:
    """Return the way for one text to ``sink``.

    Markdown is rendered for a terminal, or where FORCE_COLOR asks for it; never into a file, with ``--json``, or when
    the setting ``markdown`` or TERM=dumb says no.
    """
    to_file = cli.flags.output is not None
    terminal = not to_file and cli.world.terminal(cli.world.stdout)
    capable = cli.world.environ.get("TERM") != "dumb" if terminal else bool(cli.world.environ.get("FORCE_COLOR"))
    if markdown and capable and not to_file and cli.settings["markdown"] == "on":
        from llmcli.cli.markdown import MarkdownText

        return MarkdownText(cli.world, sink, terminal=terminal)
    return PlainText(sink, ending=ending, terminal=terminal)
