"""Times the prompt of a chat after Ctrl-C: while an answer is written, and while a long message is evaluated.

``llm chat`` runs on a pseudo-terminal. Each run sends a message, waits until the answer has begun (or the evaluation of
a message of ``--words`` random words), waits a moment more, up to half a second, and types Ctrl-C. The figure is the
time from that key until the terminal has the next prompt.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import random
import re
import select
import signal
import struct
import subprocess
import sys
import tempfile
import termios
import time
from collections.abc import Iterator
from pathlib import Path

import common

PATIENCE_S = 120.0
SIZE = (24, 80)  # rows and columns
LATEST_S = 0.5
"""Seconds from the beginning of the work to Ctrl-C, at most."""
TARGET_S = 0.2
# from bracketed paste to a visible cursor, as prompt_toolkit paints a prompt with a bar below it
PROMPT = re.compile(rb"\x1b\[\?2004h(?:(?!\x1b\[\?25h).)*\[0m>(?:(?!\x1b\[\?25h).)*\x1b\[\?25h", re.DOTALL)
EVALUATION = re.compile(rb"of [0-9,]+ tokens")  # the status line
# its first row, since the status line writes no line end
ANSWER = re.compile(rb"\x1b\[\?2004l.*?[A-Za-z]+ [A-Za-z]+[^\x1b\n]*\r\n", re.DOTALL)
INTERRUPT = b"\x03"
STORY = "Tell me a long story about a lighthouse, with many details."


class Chat:
    """A chat on a terminal; ``seen`` is what it has written since the last match."""

    def __init__(self, master: int) -> None:
        self._master = master
        self.seen = b""

    def type(self, keys: bytes) -> None:
        """Type keys; the terminal is read meanwhile, since it takes only so many at once."""
        while keys:
            readable, writable, _ = select.select([self._master], [self._master], [])
            if readable:
                self.seen += os.read(self._master, 65536)
            if writable:
                keys = keys[os.write(self._master, keys[:1024]) :]

    def wait_for(self, pattern: re.Pattern[bytes]) -> float:
        """Wait until the terminal shows ``pattern``; return when, in seconds of ``time.perf_counter``."""
        until = time.monotonic() + PATIENCE_S
        while not (found := pattern.search(self.seen)):
            if not select.select([self._master], [], [], max(0.0, until - time.monotonic()))[0]:
                sys.exit(f"the chat did not go on; it has written: {self.seen[-500:]!r}")
            self.seen += os.read(self._master, 65536)
        now = time.perf_counter()
        self.seen = self.seen[found.end() :]
        return now

    def read_for(self, seconds: float) -> None:
        """Read what the chat writes during that time."""
        until = time.monotonic() + seconds
        while select.select([self._master], [], [], max(0.0, until - time.monotonic()))[0]:
            self.seen += os.read(self._master, 65536)


@contextlib.contextmanager
def open_chat(command: list[str], environ: dict[str, str]) -> Iterator[Chat]:
    """Yield a chat that shows its first prompt."""
    master, slave = os.openpty()
    fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", *SIZE, 0, 0))
    process = subprocess.Popen(
        [sys.executable, "-c", _CONTROL_TERMINAL, *command], stdin=slave, stdout=slave, stderr=slave, env=environ
    )
    os.close(slave)
    chat = Chat(master)
    try:
        chat.wait_for(PROMPT)
        yield chat
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait()
        os.close(master)


_CONTROL_TERMINAL = "import fcntl, os, sys, termios; os.setsid(); fcntl.ioctl(0, termios.TIOCSCTTY, 0); os.execv(sys.argv[1], sys.argv[1:])"


def interrupt_answer(chat: Chat, chance: random.Random) -> float | None:
    """Return the seconds from Ctrl-C during an answer to the prompt; None if the answer had ended before."""
    chat.type(f"{STORY}\r".encode())
    chat.wait_for(ANSWER)
    return _interrupt(chat, chance)


def interrupt_evaluation(chat: Chat, chance: random.Random, words: int) -> float | None:
    """Return the seconds from Ctrl-C during the evaluation of a message to the prompt."""
    text = " ".join(common.words(words, chance.random()))
    chat.type(b"\x1b[200~" + text.encode() + b"\x1b[201~\r")
    chat.wait_for(EVALUATION)
    return _interrupt(chat, chance)


def _interrupt(chat: Chat, chance: random.Random) -> float | None:
    chat.read_for(chance.uniform(0, LATEST_S))
    ended = PROMPT.search(chat.seen) is not None
    started = time.perf_counter()
    if not ended:
        chat.type(INTERRUPT)
    seconds = chat.wait_for(PROMPT) - started
    chat.type(b"/reset\r")
    chat.wait_for(PROMPT)
    return None if ended else seconds


def main(argv: list[str]) -> int:
    """Print the table; returns the exit code: 1 if the slowest run is slower than the target."""
    options = common.parser(__doc__ or "", runs=20)
    options.add_argument("--words", type=int, default=4000, help="words of the long message (default: 4000)")
    options.add_argument("--context", type=int, default=8192, help="tokens of the context (default: 8192)")
    options.add_argument("--no-worker", action="store_true", help="run the model in the chat's own process")
    given = options.parse_args(argv)
    chance = random.Random(1)  # noqa: S311 (moments to measure at)
    with tempfile.TemporaryDirectory(prefix="llm", dir="/tmp") as name:  # a path short enough for sockets
        directory = Path(name)
        (directory / "run").mkdir(mode=0o700)
        own = {kind: str(directory / kind.lower()) for kind in ("DATA", "CACHE", "CONFIG")}
        environ = {**os.environ, **{f"LLMCLI_{kind}_DIR": path for kind, path in own.items()}}
        environ |= {"LLMCLI_RUNTIME_DIR": str(directory / "run"), "LLMCLI_TUNE": "off", "TERM": "xterm-256color"}
        environ |= {"LLMCLI_WEIGHTS": "original"}
        command = [given.llm, "chat", "-m", common.model_path(given.model), "--ctx", str(given.context)]
        command += ["--set", "worker=off"] if given.no_worker else []
        with open_chat(command, environ) as chat:
            interrupt_answer(chat, chance)  # the model is loaded
            kinds = {
                "while an answer is written": lambda: interrupt_answer(chat, chance),
                "while a message is evaluated": lambda: interrupt_evaluation(chat, chance, given.words),
            }
            taken = {
                kind: [each for _ in range(given.runs) if (each := run()) is not None] for kind, run in kinds.items()
            }
        subprocess.run([given.llm, "worker", "stop"], env=environ, check=True, capture_output=True)
    rows = [
        [kind, str(len(each)), common.median_range(each, 3), f"{sum(one <= TARGET_S for one in each)} of {len(each)}"]
        for kind, each in taken.items()
    ]
    common.print_table(rows, ["Ctrl-C", "runs", "seconds to the prompt", f"within {TARGET_S} s"])
    return 0 if all(each and max(each) <= TARGET_S for each in taken.values()) else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
