"""Showing a long text on a terminal through the user's pager, as git does."""

from __future__ import annotations

import shlex
import subprocess
from collections.abc import Mapping

from llmcli.cli.console.console import Console
from llmcli.cli.console.signals import ignore_interrupt_keys
from llmcli.errors import UsageError

_DEFAULT_PAGER = "less"
_LESS_OPTIONS = "FRX"  # end at once where all fits the screen, show colours, leave the text on the screen


def pager_command(environ: Mapping[str, str]) -> list[str]:
    """Return the words of PAGER, by default less; none if it is empty or cat. Raises ``UsageError``."""
    try:
        words = shlex.split(environ.get("PAGER", _DEFAULT_PAGER))
    except ValueError as error:
        raise UsageError(f"PAGER is not a command: {error}", detail="Try: export PAGER=less") from error
    return [] if words == ["cat"] else words


def write_paged(console: Console, text: str) -> None:
    """Write ``text``, through the pager if standard output is a terminal that can do more than print.

    It goes directly to standard output if the pager cannot be started. Leaving the pager early is no error.
    """
    environment = console.environment
    words = pager_command(environment.environ)
    paged = console.stdout_is_terminal and environment.environ.get("TERM") != "dumb"
    if paged and words and _run_pager(console, words, text):
        return
    with environment.suspend_painters(), console.open_stdout() as writer:
        writer.write(text.encode("utf-8", "replace"))


def _run_pager(console: Console, words: list[str], text: str) -> bool:
    """Show ``text`` in the pager and wait for its end; returns False if it could not be started."""
    environment = console.environment
    try:
        with environment.suspend_painters(), ignore_interrupt_keys():
            subprocess.run(  # noqa: S603 (the command is the user's own)
                words,
                input=text.encode("utf-8", "replace"),
                stdout=environment.stdout,
                stderr=environment.stderr,
                env={"LESS": _LESS_OPTIONS, **environment.environ},
                check=False,
            )
    except OSError as error:
        if "PAGER" in environment.environ:
            console.warn(f"the pager {words[0]} cannot be started: {error.strerror}")
        return False
    return True
