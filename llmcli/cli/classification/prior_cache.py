"""Where the priors of labels are kept."""

from __future__ import annotations

from pathlib import Path

from llmcli.cli.command_context import CommandContext


def prior_directory(ctx: CommandContext) -> Path:
    """Return the directory in the cache for priors of the weights that answer, once the backend has been built."""
    return ctx.runtime.paths.cache / "priors" / (ctx.runtime.weights or "server")
