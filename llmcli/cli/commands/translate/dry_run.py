"""``--dry-run``: the amount of work, and about how long it takes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from llmcli.cli.command_context import CommandContext
from llmcli.cli.render.estimate_table import estimate_seconds, total_row
from llmcli.errors import LlmError, PartialError
from llmcli.types import ItemFailed, Phase

if TYPE_CHECKING:
    from llmcli.store.translation_memory import TranslationMemory
    from llmcli.tasks.translation.per_file.target_file import TranslationJob
    from llmcli.tasks.translation_estimate import TranslationEstimate


def write_estimate(
    ctx: CommandContext, jobs: Sequence[TranslationJob | ItemFailed], memory: TranslationMemory | None
) -> int:
    """Write the work for each document and in total, a line each; return the exit code."""
    from llmcli.tasks.translation_estimate import estimate_translation

    rows, failed = [], []
    for job in jobs:
        try:
            if isinstance(job, ItemFailed):
                raise job.error
            with ctx.console.status_line.waiting(Phase.WORKING, ""):
                found = estimate_translation(job, memory)
            rows.append(_estimate_row(ctx, found))
        except LlmError as error:
            ctx.runtime.interrupt.check()  # not a failure of this document
            failed.append(error)
            name = job.name if isinstance(job, ItemFailed) else job.document.name
            ctx.console.write_error(error, name=name)
    ctx.console.write_table(
        [*rows, total_row(rows, ("segments", "new", "tokens", "seconds"))]
        if len(rows) > 1 and not ctx.console.as_json
        else rows
    )
    if not failed:
        return 0
    return PartialError.exit_code if rows else failed[0].exit_code


def _estimate_row(ctx: CommandContext, found: TranslationEstimate) -> dict[str, Any]:
    return {
        "name": found.name,
        "to": found.target,
        "from": found.source,
        "format": found.format,
        "segments": found.segments,
        "new": found.segments_to_translate,
        "tokens": found.prompt_tokens,
        "seconds": estimate_seconds(ctx, found.prompt_tokens, found.answer_tokens),
    }
