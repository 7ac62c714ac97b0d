"""Lines of standard input as they arrive, for verbs that answer each before the next arrives."""

from __future__ import annotations

import codecs
import os
import select
import time
from collections.abc import Iterator

from llmcli.cli.console.console import Console
from llmcli.documents.reading.document import decode_utf8
from llmcli.documents.records import Record
from llmcli.errors import MissingError, NotUtf8

STDIN = "-"
"""The name that stands for standard input among files."""
_CHUNK_BYTES = 65_536
_POLL_MS = 100
_ANNOUNCE_AFTER_S = 2.0


def announce_stdin_wait(console: Console) -> None:
    """Tell a terminal that standard input is being read."""
    if console.stderr_is_terminal and not console.quiet:
        console.write_stderr("llm: waiting for standard input (Ctrl-D ends it; --no-stdin skips it)")


def stdin_lines(console: Console) -> Iterator[Record]:
    """Yield each line as soon as it is complete; the last one needs no newline.

    Raises ``NotUtf8`` (with the offset in the stream) and ``BinaryInput`` after the lines before the bad one, and what
    ``interrupt.check()`` raises.
    """
    rest, index = "", 0
    for text in _decode_chunks(console):
        *complete, rest = (rest + text).split("\n")
        for line in complete:
            yield Record(index, line.removesuffix("\r"), index + 1)
            index += 1
    if rest:
        yield Record(index, rest.removesuffix("\r"), index + 1)


def _decode_chunks(console: Console) -> Iterator[str]:
    """Yield the input as text; the text before a bad byte is yielded before the error is raised."""
    decoder = codecs.getincrementaldecoder("utf-8")()
    offset = 0
    for data in _read_chunks(console):
        if offset == 0 or b"\0" in data:
            _refuse_binary(data)
        pending = len(decoder.getstate()[0])
        try:
            text = decoder.decode(data, final=not data)
        except UnicodeDecodeError as error:
            yield bytes(error.object[: error.start]).decode("utf-8")
            raise NotUtf8(STDIN, offset=offset - pending + error.start) from error
        yield text.removeprefix("\ufeff") if offset == 0 else text
        offset += len(data)


def _refuse_binary(data: bytes) -> None:
    """Refuse binary input by the rules for documents; a sequence cut at the end of a chunk is allowed."""
    try:
        decode_utf8(data, STDIN)
    except NotUtf8 as error:
        if error.detail:  # a byte order mark of another encoding
            raise


def _read_chunks(console: Console) -> Iterator[bytes]:
    """Yield the input in chunks, b"" at the end; report the wait on a terminal's stderr."""
    fd, start, silent = console.environment.stdin, time.monotonic(), True
    if console.stdin_is_terminal:
        console.status_line.disable()
    poll = select.poll()
    poll.register(fd, select.POLLIN)
    while True:
        console.interrupt.check()
        if not poll.poll(_POLL_MS):
            if silent and time.monotonic() - start >= _ANNOUNCE_AFTER_S:
                silent = False
                announce_stdin_wait(console)
            continue
        silent = False
        try:
            data = os.read(fd, _CHUNK_BYTES)
        except OSError as error:
            raise MissingError(STDIN, kind="input", detail=error.strerror or "") from error
        yield data
        if not data:
            return
