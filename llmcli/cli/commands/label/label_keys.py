"""The keys of labels and of the other actions, read one by one from the terminal."""

from __future__ import annotations

import os
import select
import termios
import tty
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from llmcli.cli.console.console import Console
from llmcli.errors import UsageError

UNDO, SKIP, QUIT = "u", "s", "q"
_DIGITS = "123456789"
_POLL_MS = 100
_ESCAPE = b"\x1b"
_MAX_KEY_BYTES = 16


def assign_keys(labels: Sequence[str]) -> dict[str, str]:
    """Return the label of each key: digits for the first nine, and the first letter where it is free.

    Raises ``UsageError`` for a label that gets no key.
    """
    keys = dict(zip(_DIGITS, labels, strict=False))
    taken = {UNDO, SKIP, QUIT}
    for label in labels:
        letter = label[:1].lower()
        if letter and letter.isalpha() and letter not in taken:
            taken.add(letter)
            keys[letter] = label
    unreachable = [label for label in labels if label not in keys.values()]
    if unreachable:
        words = f"no key is left for the label {unreachable[0]}"
        raise UsageError(words, detail="Use nine labels at most, or further ones with first letters of their own.")
    return keys


@contextmanager
def single_keys(fd: int) -> Iterator[None]:
    """Pass on each key at once and without echo in the block; Ctrl-C still interrupts."""
    before = termios.tcgetattr(fd)
    try:
        tty.setcbreak(fd)
        yield
    finally:
        termios.tcsetattr(fd, termios.TCSADRAIN, before)


def read_key(console: Console, show: Callable[[], None], check: Callable[[], None]) -> str:
    """Show the question, again when the width changes; return the next key in lower case, ``QUIT`` at the end of input.

    ``check`` is called between two keys, and what it raises ends the wait.
    A key that sends more than one byte, such as an arrow or a letter beyond ASCII, is "": its bytes are no answers. A signal
    or the deadline ends the wait.
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
        return QUIT
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
