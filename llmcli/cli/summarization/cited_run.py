"""``llm summarize --cite``."""

from __future__ import annotations

from collections.abc import Sequence

from llmcli.cli.command_context import CommandContext
from llmcli.cli.input import source_inputs
from llmcli.cli.records.record_flags import wants_records
from llmcli.cli.render.renderer import DisplayOptions, render_task
from llmcli.errors import UsageError
from llmcli.tasks.summarization.summary_options import HEADLINE, KEY_SENTENCES, SummaryOptions


def summarize_cited(
    ctx: CommandContext, files: Sequence[str], wanted: SummaryOptions, *, cite: bool, keep: bool
) -> int:
    """Show points with quotes; return the exit code. Raises ``UsageError`` for options that do not go together."""
    if not cite:
        raise UsageError("--keep-unsupported is an option of --cite", detail="Add --cite.")
    if wants_records(ctx.flags):
        raise UsageError("--cite summarizes documents, not records", detail="Leave out the options of records.")
    if wanted.style == HEADLINE:
        raise UsageError("a headline has no points to cite", detail="Leave out --style, or --cite.")
    if wanted.style == KEY_SENTENCES:
        raise UsageError("key sentences are quotes themselves", detail="Leave out --style, or --cite.")
    from llmcli.tasks.cited_summary import summarize_with_citations

    names, documents = source_inputs.read_sources(ctx, files)
    options = ctx.generation_options()
    return render_task(
        ctx,
        lambda backend: source_inputs.add_source_notes(
            summarize_with_citations(backend, ctx.runtime.prompts, documents, options, wanted, keeps_unsupported=keep),
            documents,
        ),
        DisplayOptions(input_names=tuple(names)),
    )
