"""Lines on standard error, which is written past Python's buffers and wrapped at words on a terminal."""

from __future__ import annotations

import os
from contextlib import suppress

from llmcli.cli.console import sanitize
from llmcli.cli.console.environment import Environment


def write_message(environment: Environment, text: str) -> None:
    """Write sentences to stderr, wrapped at words on a terminal; ignore errors."""
    if environment.is_terminal(environment.stderr):
        from llmcli.cli.console import wrapping

        columns = environment.columns(environment.stderr) - 1
        text = "\n".join(wrapping.wrap_long_lines(sanitize.strip_controls(text), columns))
    write_stderr(environment, text)


def write_stderr(environment: Environment, text: str) -> None:
    """Write lines to stderr, on a terminal without control sequences; ignore errors."""
    if 2 in environment.closed_fds:  # noqa: PLR2004 (standard error)
        return
    text = sanitize.strip_controls(text) if environment.is_terminal(environment.stderr) else text
    data = (text + "\n").encode("utf-8", "replace")
    with environment.suspend_painters(), suppress(OSError):
        while data:
            data = data[os.write(environment.stderr, data) :]
