"""The keys that a person types while the chat works: they are not echoed, and kept for the next prompt.

The terminal reports single keys during the work, as it does at the prompt, since it would otherwise echo them into the
answer, and an end of input (Ctrl-D) after other keys would be lost.
"""

from __future__ import annotations

import os
import re
import select
import signal
import termios
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

from llmcli.cli.console.environment import Environment
from llmcli.cli.console.signals import call_when_continued
from llmcli.interrupt import Interrupt

_INTERRUPT = b"\x03"  # Ctrl-C
_END_OF_INPUT = re.compile(b"[\x04\x00]")  # Ctrl-D; NUL where it was typed while the terminal reported lines
_READ_BYTES = 65_536
_LINE_ENDS = re.compile(rb"\r\n|\r|\n")
_LOCAL_MODES = 3  # the index of these flags in what termios returns


class TypedKeys:
    """The keys typed on the terminal that is the standard input of ``environment``.

    ``wants_to_leave``: Ctrl-D was typed during the work.
    """

    def __init__(self, environment: Environment) -> None:
        self._environment = environment
        self._descriptor = environment.stdin
        self._keys = bytearray()
        self.settings: list[Any] = termios.tcgetattr(self._descriptor)
        self.wants_to_leave = False

    def restore(self) -> None:
        """Give the terminal the settings that it had when the chat began."""
        self._apply(self.settings)

    def _apply(self, settings: list[Any]) -> None:
        with suppress(termios.error):  # a terminal that was closed has no settings
            termios.tcsetattr(self._descriptor, termios.TCSANOW, settings)

    @contextmanager
    def restored_at_death(self, interrupt: Interrupt) -> Iterator[None]:
        """Restore the terminal if a second signal ends the process during the block."""
        interrupt.cleanups.append(self.restore)
        try:
            yield
        finally:
            interrupt.cleanups.remove(self.restore)

    @contextmanager
    def collecting(self) -> Iterator[None]:
        """Collect the keys that are typed during the block; Ctrl-C still sends a signal."""
        before: list[Any] = termios.tcgetattr(self._descriptor)
        during = list(before)
        during[_LOCAL_MODES] &= ~(termios.ECHO | termios.ICANON)
        during[_LOCAL_MODES] |= termios.NOFLSH  # Ctrl-C keeps what was typed before it
        self._apply(during)
        try:
            self.collect()
            with call_when_continued(lambda: self._apply_in_foreground(during)):
                yield
        finally:
            self.collect()
            self._apply(before)

    def _apply_in_foreground(self, settings: list[Any]) -> None:
        """Apply settings again after Ctrl-Z and ``fg``: the shell has set its own."""
        if self._environment.is_foreground(self._descriptor):
            self._apply(settings)

    @contextmanager
    def cooked_mode(self) -> Iterator[None]:
        """Give the terminal back during the block, which asks a question; what was typed before is no answer to it."""
        self.collect()
        during: list[Any] = termios.tcgetattr(self._descriptor)
        self.restore()
        try:
            with call_when_continued(lambda: None):
                yield
        finally:
            self._apply(during)

    def collect(self) -> None:
        """Take what was typed since the last call; a terminal that waits for its reader delays even Ctrl-C."""
        while select.select([self._descriptor], [], [], 0)[0]:
            typed = b""
            with suppress(OSError):  # the terminal was closed
                typed = os.read(self._descriptor, _READ_BYTES)
            self._keys += typed
            if _INTERRUPT in typed:  # typed before the terminal sent a signal for it again
                signal.raise_signal(signal.SIGINT)
            if not typed or _END_OF_INPUT.search(typed):
                self.wants_to_leave = True
                return

    def take(self) -> str:
        """Return the keys for the next prompt, as a terminal sends them.

        Several lines are a paste, which is not to be sent line by line; after Ctrl-D nothing is kept.
        """
        typed, self._keys = bytes(self._keys).replace(_INTERRUPT, b""), bytearray()
        if self.wants_to_leave:
            return ""
        lines = _LINE_ENDS.split(typed)
        if len(lines) > 2 or (len(lines) == 2 and lines[1]):  # noqa: PLR2004 (one line and its end)
            typed = b"\x1b[200~" + b"\r".join(lines) + b"\x1b[201~"
        else:
            typed = b"\r".join(lines)
        return typed.decode("utf-8", "replace")
