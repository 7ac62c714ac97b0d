"""Bash on a terminal, with a reader who answers questions, and what the terminal shows at the end."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pexpect
import pexpect.fdpexpect
import pyte
from fork_server import ForkServer
from terminal import PROMPT, RecordedScreen

from .exceptions import NORMALIZERS

_ROWS = 50
_TAB = "\N{SYMBOL FOR HORIZONTAL TABULATION}"
"""Takes the place of a tab on the screen, where it would become spaces."""


def converse(
    programs: ForkServer, words: list[str], directory: Path, environ: dict[str, str], columns: int, *, timeout_s: float
) -> str:
    """Run bash on a terminal and answer what it asks; return all that was written there."""
    bash = shutil.which("bash") or "/bin/bash"
    terminal = programs.run_script([bash, *words], directory, environ, (_ROWS, columns))
    child = pexpect.fdpexpect.fdspawn(terminal, encoding="utf-8", codec_errors="replace", timeout=timeout_s)
    seen, said = [], 0
    while True:
        found = child.expect([pexpect.EOF, r"\[y/N\] |\[Y/n\] ", r"\(not shown\): ", PROMPT])
        seen.append(child.before + (child.after if found else ""))
        if not found:
            break
        if found == 1:
            child.send("y\r")
        elif found == 2:
            child.send("sk-none\r")
        else:
            said += 1
            child.send("Hello.\r" if said % 2 else "/exit\r")
    child.close()
    return "".join(seen)


def render_screen(seen: str, columns: int) -> str:
    """Return the lines that were on the screen at the end, those that left it upwards too."""
    screen = RecordedScreen(columns, _ROWS)
    pyte.Stream(screen).feed(seen.replace("\t", _TAB))
    text = "\n".join(screen.shown_rows()).rstrip()
    return text.replace(_TAB, "\t") + "\n" if text else ""


def normalize(text: str) -> str:
    """Replace what differs from run to run."""
    for pattern, instead in NORMALIZERS.values():
        text = re.sub(pattern, instead, text)
    return text
