"""``--dry-run``: the amount of work, and about how long it takes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from llmcli.cli.command_context import CommandContext
from llmcli.errors import LlmError, PartialError
from llmcli.types import ItemFailed, Phase

if TYPE_CHECKING:
    from llmcli.store.translation_memory import TranslationMemory
    from llmcli.tasks.translation.per_file.target_file import TranslationJob
    from llmcli.tasks.translation_estimate import TranslationEstimate

_BATCH_SPEEDUP = 1.5
"""How many times faster a batch of answers is than one answer, on a CPU."""
_PREFILL_SPEEDUP = 3.0
"""How many times faster prefill is than decode."""


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
    ctx.console.write_table([*rows, _total_row(rows)] if len(rows) > 1 and not ctx.console.as_json else rows)
    if not failed:
        return 0
    return PartialError.exit_code if rows else failed[0].exit_code


def _estimate_row(ctx: CommandContext, found: TranslationEstimate) -> dict[str, Any]:
    speed = _decode_rate(ctx) if found.segments_to_translate else 1.0
    seconds = (found.answer_tokens / _BATCH_SPEEDUP + found.prompt_tokens / _PREFILL_SPEEDUP) / speed if speed else None
    return {
        "name": found.name,
        "to": found.target,
        "from": found.source,
        "format": found.format,
        "segments": found.segments,
        "new": found.segments_to_translate,
        "tokens": found.prompt_tokens,
        "seconds": None if seconds is None else round(seconds, 1),
    }


def _total_row(rows: Sequence[dict[str, Any]]) -> dict[str, Any]:
    total: dict[str, Any] = {"name": "total", "to": "", "from": "", "format": ""}
    for key in ("segments", "new", "tokens", "seconds"):
        numbers: list[Any] = [row[key] for row in rows]
        total[key] = None if None in numbers else round(sum(numbers), 1)
    return total


def _decode_rate(ctx: CommandContext) -> float | None:
    """Return the estimated decode rate for one answer in tokens per second; None if unknown."""
    from llmcli.models.gguf.header_parser import read_header

    if ctx.runtime.is_remote:
        return None
    model = ctx.runtime.resolve_model()
    return ctx.runtime.fit_policy(shown=True).estimate(read_header(model.path), model.size).tokens_per_second
