"""Files that a command writes beside its output: a report, a summary, a chart."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from llmcli.errors import OutputError, UsageError

if TYPE_CHECKING:
    from llmcli.cli.command_context import CommandContext


def check_report_path(option: str, path: str) -> None:
    """Raise, before a model is loaded, for a file that could not be written when it has answered.

    ``UsageError``: "-", since standard output has the answers. ``OutputError``: there is no such directory, or it
    cannot be written.
    """
    if path == "-":
        raise UsageError(f"{option} needs the name of a file", detail="Standard output has the rows.")
    file = Path(path)
    if file.is_dir():
        raise OutputError(path, detail="It is a directory.")
    if not file.parent.is_dir():
        raise OutputError(path, detail=f"There is no directory {file.parent}.")
    if not os.access(file if file.exists() else file.parent, os.W_OK):
        raise OutputError(path, detail="Permission denied")


def write_report_file(ctx: CommandContext, path: str, content: bytes) -> None:
    """Write a file beside the output of a command. Raises as ``atomic_write`` does."""
    with ctx.console.open_file(path) as file:
        file.write(content)
