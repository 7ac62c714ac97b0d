"""Reading a secret: on a terminal without echo, otherwise the first line of standard input."""

from __future__ import annotations

import os
import select
import termios
from collections.abc import Iterator
from contextlib import contextmanager

from llmcli.cli.console import sanitize
from llmcli.cli.console.console import Console
from llmcli.errors import MissingError, UsageError

_POLL_MS = 100
_MAX_BYTES = 16_384


def read_secret_line(console: Console, question: str) -> str:
    """Return what was typed after ``question``, or the first line of a pipe, without white space around it.

    Raises ``UsageError`` if there is no terminal to ask on, and what ``interrupt.check()`` raises.
    """
    if not console.stdin_is_terminal:
        return _read_line(console)
    if not console.stderr_is_terminal:
        raise UsageError("asking for a key needs a terminal", detail="Or pipe the key in.")
    with console.environment.use_keyboard(), _without_echo(console.environment.stdin):
        os.write(console.environment.stderr, f"{sanitize.single_line(question)}: ".encode())
        try:
            return _read_line(console)
        finally:
            os.write(console.environment.stderr, b"\n")


@contextmanager
def _without_echo(fd: int) -> Iterator[None]:
    """Show nothing of what is typed during the block; lines stay lines, and Ctrl-C stays a signal."""
    before = termios.tcgetattr(fd)
    hidden = list(before)
    hidden[3] &= ~(termios.ECHO | termios.ECHONL)
    termios.tcsetattr(fd, termios.TCSAFLUSH, hidden)
    try:
        yield
    finally:
        termios.tcsetattr(fd, termios.TCSAFLUSH, before)


def _read_line(console: Console) -> str:
    fd, data = console.environment.stdin, b""
    poll = select.poll()
    poll.register(fd, select.POLLIN)
    while b"\n" not in data and len(data) < _MAX_BYTES:
        console.interrupt.check()
        if not poll.poll(_POLL_MS):
            continue
        try:
            piece = os.read(fd, _MAX_BYTES)
        except OSError as error:
            raise MissingError("-", kind="input", detail=error.strerror or "") from error
        if not piece:
            break
        data += piece
    return data.partition(b"\n")[0].decode("utf-8", "replace").strip()
