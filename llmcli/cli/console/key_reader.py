"""Keys that are read one by one from the terminal."""

from __future__ import annotations

import os
import select
import termios
import tty
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from llmcli.cli.console.console import Console

END_OF_INPUT = "q"
"""The key that stands for the end of input: it quits."""
_POLL_MS = 100
_ESCAPE = b"\x1b"
_MAX_KEY_BYTES = 16


@contextmanager
def single_keys(fd: int) -> Iterator[None]:
    """Pass on each key at once and without echo in the block; Ctrl-C still interrupts."""
    before = termios.tcgetattr(fd)
    try:
        tty.setcbreak(fd)
        yield
    finally:
        termios.tcsetattr(fd, termios.TCSADRAIN, before)


def read_key(console: Console, show: Callable[[], None], check: Callable[[], None] = lambda: None) -> str:
    """Show the question, again when the width changes; return the next key in lower case, or ``END_OF_INPUT``.

    ``check`` is called between two keys, and what it raises ends the wait. A key that sends more than one byte, such as
    an arrow or a letter beyond ASCII, is "": its bytes are no answers. A signal or the deadline ends the wait.
    """
    poll = select.poll()
    poll.register(console.environment.stdin, select.POLLIN)
    columns = console.environment.columns(console.environment.stderr)
    show()
    while not poll.poll(_POLL_MS):
        console.interrupt.check()
        check()
        if columns != (now := console.environment.columns(console.environment.stderr)):
            columns = now
            show()
    console.interrupt.check()
    data = os.read(console.environment.stdin, 1)
    if data in {b"", b"\x04"}:
        return END_OF_INPUT
    if data != _ESCAPE and data < b"\x80":
        return data.decode("ascii").lower()
    # the rest of the key comes at once; what follows an escape sequence in the same read is lost with it
    length = _MAX_KEY_BYTES if data == _ESCAPE else _count_following(data)
    if length and poll.poll(_POLL_MS):
        os.read(console.environment.stdin, length)
    return ""


def _count_following(first: bytes) -> int:
    """Return how many bytes follow the first one of a character in UTF-8."""
    return 3 if first >= b"\xf0" else 2 if first >= b"\xe0" else 1 if first >= b"\xc0" else 0
