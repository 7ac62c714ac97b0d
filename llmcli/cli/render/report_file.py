"""Files that a command writes beside its output: a report, a summary, a chart."""

from __future__ import annotations

from typing import TYPE_CHECKING

from llmcli.errors import UsageError
from llmcli.files.atomic_file import require_writable

if TYPE_CHECKING:
    from llmcli.cli.command_context import CommandContext


def check_report_path(option: str, path: str) -> None:
    """Raise, before a model is loaded, for a file that could not be written when it has answered.

    ``UsageError``: "-", since standard output has the answers. Otherwise as ``require_writable``.
    """
    if path == "-":
        raise UsageError(f"{option} needs the name of a file", detail="Standard output has the rows.")
    require_writable(path)


def write_report_file(ctx: CommandContext, path: str, content: bytes) -> None:
    """Write a file beside the output of a command. Raises as ``atomic_write`` does."""
    with ctx.console.open_file(path) as file:
        file.write(content)
