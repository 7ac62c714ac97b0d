"""``--dry-run``: the amount of work, and about how long it takes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from llmcli.cli.command_context import CommandContext
from llmcli.cli.render.estimate_table import estimate_seconds, write_estimate_rows
from llmcli.types import ItemFailed

if TYPE_CHECKING:
    from llmcli.store.translation_memory import TranslationMemory
    from llmcli.tasks.translation.per_file.target_file import TranslationSpec
    from llmcli.tasks.translation_estimate import TranslationEstimate


def write_estimate(
    ctx: CommandContext, specs: Sequence[TranslationSpec | ItemFailed], memory: TranslationMemory | None
) -> int:
    """Write the work for each document and in total, a line each; return the exit code."""
    from llmcli.tasks.translation_estimate import estimate_translation

    def make_row(index: int) -> dict[str, Any]:
        spec = specs[index]
        if isinstance(spec, ItemFailed):
            raise spec.error
        return _estimate_row(ctx, estimate_translation(spec, memory))

    return write_estimate_rows(
        ctx, [spec.name for spec in specs], make_row, summed=("segments", "new", "tokens", "seconds")
    )


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
