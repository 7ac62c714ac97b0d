"""Showing a long text on a terminal through the user's pager, as git does."""

from __future__ import annotations

import os
import re
import select
import shlex
import subprocess

from llmcli.cli.console.console import Console
from llmcli.cli.console.signals import ignore_interrupt_keys

_DEFAULT_PAGER = "less"
_LESS_OPTIONS = "FRX"  # end at once where all fits the screen, show colours, leave the text on the screen
_SHELL_CHARACTERS = re.compile(r"[|&;<>()$`*?\[#~=\n]")
_POLL_MS = 100


def write_paged(console: Console, text: str) -> None:
    """Write ``text``, through the pager if standard output is a terminal that can do more than print.

    It goes directly to standard output if the pager cannot be started, or fails before it has read everything. Leaving
    the pager early is no error.
    """
    environment = console.environment
    pager = environment.environ.get("PAGER", _DEFAULT_PAGER).strip()
    paged = console.stdout_is_terminal and environment.environ.get("TERM") != "dumb" and pager not in {"", "cat"}
    data = text.encode("utf-8", "replace")
    if paged:
        problem = _run_pager(console, pager, data)
        if problem is None:
            return
        if "PAGER" in environment.environ:
            console.warn(f"the pager {pager} {problem}")
    with environment.suspend_painters(), console.open_stdout() as writer:
        writer.write(data)


def _run_pager(console: Console, pager: str, data: bytes) -> str | None:
    """Show ``data`` in the pager and wait for its end; returns why it was not shown, or None."""
    environment = console.environment
    try:
        words = ["/bin/sh", "-c", pager] if _SHELL_CHARACTERS.search(pager) else shlex.split(pager)
    except ValueError:
        return "is no command: a quotation mark or a backslash is not closed"
    source, sink = os.pipe()
    with os.fdopen(source, "rb", buffering=0) as unread:
        try:
            with environment.use_keyboard(), ignore_interrupt_keys():
                with os.fdopen(sink, "wb", buffering=0):
                    process = subprocess.Popen(  # noqa: S603 (the command is the user's own)
                        words,
                        stdin=source,
                        stdout=environment.stdout,
                        stderr=environment.stderr,
                        env={"LESS": _LESS_OPTIONS, **environment.environ},
                    )
                    complete = _feed(process, sink, data)
                failed = process.wait() != 0
        except OSError as error:
            return f"cannot be started: {error.strerror}"
        return "failed before it had read the text" if failed and (not complete or unread.read(1)) else None


def _feed(process: subprocess.Popen[bytes], sink: int, data: bytes) -> bool:
    """Write ``data`` to the pipe ``sink`` until ``process`` ends; returns whether all of it fitted in.

    This process holds the other end open, to see afterwards what is unread, so that no write fails.
    """
    os.set_blocking(sink, False)
    poll = select.poll()
    poll.register(sink, select.POLLOUT)
    rest = memoryview(data)
    while rest and process.poll() is None:
        if poll.poll(_POLL_MS):
            rest = rest[os.write(sink, rest) :]
    return not rest
