"""The line below an answer of a small model, once a day for each verb: what it is, and how to get a better one."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING

from llmcli.cli.console import suggestion
from llmcli.files import private_files
from llmcli.models.size_classes import TOY_MEANING, is_toy_size

if TYPE_CHECKING:
    from llmcli.cli.command_context import CommandContext

NOTICE_DIRECTORY = "small_model_notices"
"""The directory in the cache whose files have the names of verbs or notices, and the times when these were shown
last."""
_INTERVAL_S = 24 * 60 * 60


def write_small_model_notice(ctx: CommandContext) -> None:
    """Write the line to stderr if a small model has answered, a person reads it, and it is the first within a day."""
    console, runtime = ctx.console, ctx.runtime
    if console.quiet or console.as_json or runtime.is_remote or not console.stderr_is_terminal:
        return
    if not is_toy_size(runtime.backend().info().parameters):
        return
    if not record_notice(ctx, runtime.verb):
        return
    from llmcli.cli.model_question import recommended_model

    best = recommended_model(runtime.models, runtime.fit_policy(shown=True), runtime.verb)
    if best is None:
        how = "for others: llm models search WORDS"
    else:
        name = best.entry.name
        is_here = any(model.catalogue == name and not model.missing for model in runtime.models.list())
        pull = "" if is_here else f"{suggestion.format_command('models', 'pull', name)} && "
        how = f"better here: {pull}{suggestion.format_command('models', 'default', name)}"
    console.write_note(f"{runtime.responder_name} {TOY_MEANING}; {how}")


def record_notice(ctx: CommandContext, name: str) -> bool:
    """Return whether a notice that is shown once a day is due, and record that it is shown now.

    Where that cannot be recorded it is not shown: it would come after each answer, and no model can be stored there.
    """
    path = ctx.runtime.paths.cache / NOTICE_DIRECTORY / name
    try:
        if 0 <= time.time() - _last_notice(path) < _INTERVAL_S:
            return False
        private_files.replace_file(path, b"")
    except OSError:
        return False
    return True


def _last_notice(path: Path) -> float:
    """Return when the notice was shown last, in seconds since 1970; 0 for never. Raises ``OSError``."""
    try:
        return path.stat().st_mtime
    except FileNotFoundError:
        return 0.0
