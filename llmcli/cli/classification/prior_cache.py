"""Where the priors of labels are kept."""

from __future__ import annotations

from pathlib import Path

from llmcli.cli.command_context import CommandContext


def prior_directory(ctx: CommandContext) -> Path:
    """Return the directory of measured priors in the cache."""
    return ctx.runtime.paths.cache / "priors"
