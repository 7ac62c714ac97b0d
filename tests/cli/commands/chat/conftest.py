"""Chats on real terminals with a scripted model."""

from __future__ import annotations

import fcntl
import os
import re
import select
import struct
import termios
import time

import pexpect.fdpexpect
import pyte
import pytest
from chat_server import ChatServer
from terminal import PROMPT, RecordedScreen


class TerminalChat:
    """A chat on a terminal of its own, of which the test plays the person."""

    def __init__(self, server, argv, *, env, cwd, columns=80, rows=24) -> None:
        self.master, self.slave = os.openpty()
        self.resize(columns, rows)
        self.settings = termios.tcgetattr(self.slave)
        self.raw = bytearray()
        self._server = server
        self.pid = server.start(["chat", *argv], os.ttyname(self.slave), env, str(cwd))
        self.child = pexpect.fdpexpect.fdspawn(self.master, encoding="utf-8", codec_errors="replace", timeout=20)
        self.child.delaybeforesend = None
        self.child.maxread = 65536  # pexpect searches all that it has after each part that it reads
        self.child.logfile_read = self
        self.ended = False

    def write(self, text: str) -> None:
        """Record what the chat has written."""
        self.raw += text.encode()

    def flush(self) -> None:
        """Do nothing: a log of pexpect needs it."""

    def resize(self, columns, rows) -> None:
        """Change the size of the terminal."""
        fcntl.ioctl(self.master, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    def prompt(self) -> str:
        """Wait for the prompt; return what was shown before it, without control sequences, in one line."""
        self.child.expect(PROMPT)
        return " ".join(re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", self.child.before).split())

    def type(self, keys) -> None:
        """Type keys."""
        self.child.send(keys)

    def say(self, line) -> str:
        """Type a line; return what is shown up to the next prompt."""
        self.type(f"{line}\r")
        return self.prompt()

    def wait(self) -> int:
        """Wait for the end and read what is left; return the exit code, negative for a signal."""
        code = self.reap()
        while select.select([self.master], [], [], 0)[0]:
            self.child.read_nonblocking(65536, 0)
        return code

    def reap(self) -> int:
        """Wait for the end; return the exit code, negative for a signal."""
        self.ended = True
        return self._server.wait(self.pid)

    def hang_up(self) -> None:
        """Close the terminal of a chat that has ended, so that reading from it ends."""
        os.close(self.slave)
        self.slave = os.open(os.devnull, os.O_RDONLY)

    def kill(self, signum) -> None:
        """Send a signal."""
        os.kill(self.pid, signum)

    def settings_now(self) -> list[object]:
        """Return the settings of the terminal."""
        return termios.tcgetattr(self.slave)

    def until_answering(self) -> None:
        """Wait until the terminal is set as it is during an answer."""
        until = time.monotonic() + 20
        while not self.settings_now()[3] & termios.NOFLSH:
            assert time.monotonic() < until

    def screen(self, columns=80, rows=24) -> list[str]:
        """Return all lines that were on a screen of this size, with those that have scrolled away."""
        screen = RecordedScreen(columns, rows)
        pyte.ByteStream(screen).feed(bytes(self.raw))
        return screen.shown_rows()

    def close(self) -> None:
        """End the chat, if it still runs."""
        if not self.ended:
            self.kill(9)
            self.wait()
        os.close(self.slave)
        os.close(self.master)


@pytest.fixture(scope="session")
def chat_server():
    """Start the process from which chats are forked."""
    server = ChatServer()
    yield server
    server.close()


@pytest.fixture
def chat_on_terminal(chat_server, tiny, tmp_path):
    """Start ``llm chat ARGV`` with a scripted model on a terminal of its own."""
    chats = []

    def start(*argv, env=None, **size):
        environ = {**os.environ, "LLMCLI_MODEL": str(tiny("chatml")), "TERM": "xterm-256color", **(env or {})}
        chats.append(TerminalChat(chat_server, argv, env=environ, cwd=tmp_path, **size))
        return chats[-1]

    yield start
    for chat in chats:
        chat.close()
