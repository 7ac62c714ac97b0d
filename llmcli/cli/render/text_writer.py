"""How the text of one item reaches its reader: line by line in a pipe, cleaned on a terminal, rendered where it is prose."""

from __future__ import annotations

from enum import Enum, auto
from typing import Protocol

from llmcli.cli.console.descriptor_writer import DescriptorWriter
from llmcli.cli.console.sanitize import Sanitizer


class ByteSink(Protocol):
    """Where bytes go: stdout, or the file of ``-o``."""

    def write(self, data: bytes) -> None:
        """Write all of ``data``."""
        ...


class TextWriter(Protocol):
    """Takes a text in pieces."""

    def feed(self, text: str) -> None:
        """Show the next piece."""
        ...

    def finish(self) -> None:
        """End the text."""
        ...

    def abandon(self) -> None:
        """Stop in the middle, at the start of a line where the text was not a document."""
        ...


class TextEnding(Enum):
    """How a text ends: a generated answer with exactly one newline, a document as it does."""

    LINE = auto()
    DOCUMENT = auto()


class PlainTextWriter:
    """Text as it is, in whole lines; on a terminal every piece at once, without control sequences."""

    def __init__(self, sink: ByteSink, *, ending: TextEnding, terminal: bool) -> None:
        self._sink = sink
        self._ending = ending
        self._sanitizer = Sanitizer() if terminal else None
        self._held_newlines = ""  # newlines that may turn out to be the last ones
        self._partial_line = ""  # a line that is not complete: in a pipe another process may write between its pieces
        self._mid_line = False

    def feed(self, text: str) -> None:
        """Write ``text``, but hold back newlines at its end where the ending is ours to choose."""
        if self._sanitizer is not None:
            text = self._sanitizer.feed(text)
        if self._ending is TextEnding.LINE:
            text = self._held_newlines + text
            kept = text.rstrip("\n")
            self._held_newlines = text[len(kept) :]
            text = kept
        if not text:
            return
        if self._sanitizer is None:
            lines, newline, rest = text.rpartition("\n")
            if not newline:
                self._partial_line += text
                return
            text, self._partial_line = self._partial_line + lines + newline, rest
        self._write(text)

    def finish(self) -> None:
        """Write what is left, and the one newline of a generated answer."""
        self._write_rest("\n" if self._ending is TextEnding.LINE else "")

    def abandon(self) -> None:
        """Write what is left; end the line on a terminal, and that of a generated answer."""
        mid_line = self._mid_line or bool(self._partial_line)
        self._write_rest("\n" if mid_line and (self._sanitizer is not None or self._ending is TextEnding.LINE) else "")

    def _write_rest(self, ending: str) -> None:
        text, self._partial_line = self._partial_line + ending, ""
        if text:
            self._write(text)

    def _write(self, text: str) -> None:
        self._mid_line = not text.endswith("\n")
        self._sink.write(text.encode("utf-8", "replace"))


def writes_to_terminal(sink: ByteSink) -> bool:
    """Whether people see what ``sink`` gets: standard output on a terminal, or a terminal that -o names."""
    return isinstance(sink, DescriptorWriter) and sink.is_terminal
