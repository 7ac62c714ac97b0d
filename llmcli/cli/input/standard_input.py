"""Standard input, and the names of inputs in front of findings: FILE:LINE, as grep prints them."""

from __future__ import annotations

import io
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from llmcli.cli.console import sanitize
from llmcli.cli.console.console import Console

STDIN = "-"
"""The name that stands for standard input among files."""


def announce_stdin_wait(console: Console) -> None:
    """Tell a terminal that standard input is being read."""
    if console.stderr_is_terminal and not console.quiet:
        console.write_message("llm: waiting for standard input (Ctrl-D ends it; --no-stdin skips it)")


@contextmanager
def open_stdin(console: Console) -> Iterator[io.BufferedReader[Any]]:
    """Yield standard input as a stream of bytes that are read as they arrive; report the wait on a terminal's stderr."""
    from llmcli.documents.reading.file_reader import open_stdin_stream

    if console.stdin_is_terminal:
        console.status_line.disable()
    fd, interrupt = console.environment.stdin, console.interrupt
    with open_stdin_stream(fd, interrupt, lambda: announce_stdin_wait(console)) as stream:
        yield stream


def stdin_lines(console: Console) -> Iterator[str]:
    """Yield each line as soon as it is complete, without its end; the last one needs no newline.

    Raises ``NotUtf8`` (with the offset in the stream) and ``BinaryInput`` after the lines before the bad one, and what
    ``interrupt.check()`` raises.
    """
    from llmcli.documents.records.byte_lines import ByteLines

    with open_stdin(console) as stream:
        lines = ByteLines(stream, STDIN)
        while raw := lines.read():
            text, error = lines.decode(raw)
            if error is not None:
                raise error
            yield text.removesuffix("\n").removesuffix("\r")


def format_source_name(name: str) -> str:
    """Return the name of an input on one line, without line breaks and control characters; "stdin" for ``-``."""
    return "stdin" if name == STDIN else sanitize.single_line(name)
