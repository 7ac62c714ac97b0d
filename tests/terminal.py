"""Pseudo-terminals for tests: a recorded screen, and the prompts to expect of an ``llm`` on one."""

from __future__ import annotations

import fcntl
import os
import struct
import termios
import threading
from pathlib import Path

import pexpect
import pyte

ROOT = Path(__file__).parents[1]
# as prompt_toolkit paints it, from bracketed paste to a visible cursor below which the bar is; typed text is no new
# prompt
PROMPT = r"\x1b\[\?2004h(?:(?!\x1b\[\?25h).)*\[0m>(?:(?!\x1b\[\?25h).)*\x1b\[\?25h"


class RecordedScreen(pyte.Screen):
    """A screen that keeps the lines that have left it upwards; pyte's own takes twice as long, since it also pages."""

    def __init__(self, columns: int = 80, rows: int = 24) -> None:
        self.past = []
        super().__init__(columns, rows)

    def index(self) -> None:
        """Move down a line, which scrolls at the bottom."""
        top, bottom = self.margins or (0, self.lines - 1)
        if self.cursor.y == bottom:
            self.past.append(self.buffer[top])
        super().index()

    def erase_in_display(self, how: int = 0, *more, **modes) -> None:
        """Erase a part of the screen, or all that was ever on it (3)."""
        super().erase_in_display(how, *more, **modes)
        if how == 3:
            self.past.clear()

    def shown_rows(self) -> list[str]:
        """Return all lines that were ever on it, without spaces at their ends."""
        past = ("".join(line[x].data for x in range(self.columns)) for line in self.past)
        return [line.rstrip() for line in (*past, *self.display)]


class Terminal:
    """A pseudo-terminal whose screen is kept by pyte; ``slave`` is what a program gets."""

    def __init__(self, columns: int = 80, rows: int = 24) -> None:
        self.master, self.slave = os.openpty()
        fcntl.ioctl(self.slave, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
        self.raw = bytearray()
        self._columns, self._rows = columns, rows
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        while True:
            try:
                data = os.read(self.master, 65536)
            except OSError:
                return
            self.raw += data

    def close(self) -> str:
        """Close the program's end and return all lines that were ever on the screen, without blank ones at the end."""
        os.close(self.slave)
        self._reader.join(5)
        os.close(self.master)
        screen = RecordedScreen(self._columns, self._rows)
        pyte.ByteStream(screen).feed(bytes(self.raw))
        return "\n".join(screen.shown_rows()).rstrip()


def ended(child):
    """Wait for the end and return the exit code, negative for a signal."""
    child.expect(pexpect.EOF)
    child.wait()
    child.close()
    return child.exitstatus if child.signalstatus is None else -child.signalstatus
