"""``llm summarize --insights``."""

from __future__ import annotations

from collections.abc import Sequence

from llmcli.cli.command_context import CommandContext
from llmcli.cli.input import source_inputs
from llmcli.cli.records.record_flags import wants_records
from llmcli.cli.render.renderer import DisplayOptions, render_events
from llmcli.errors import UsageError
from llmcli.tasks.summarization.summary_options import AUTO, SummaryOptions
from llmcli.tasks.tables.table_insights import summarize_tables


def summarize_by_insights(ctx: CommandContext, files: Sequence[str], wanted: SummaryOptions, *, writes: bool) -> int:
    """Show figures and trends of tables; return the exit code. No model is loaded.

    ``writes``: there are options of summaries that a model writes. Raises ``UsageError`` for these, and for others in
    ``wanted``.
    """
    if writes or wanted != SummaryOptions(style=AUTO):
        raise UsageError(
            "--insights computes figures; it has no style, length, focus or quotes", detail="Leave out other options."
        )
    if wants_records(ctx.flags):
        raise UsageError("--insights summarizes whole tables, not records", detail="Leave out the options of records.")
    names, documents = source_inputs.read_sources(ctx, files)
    return render_events(
        ctx,
        lambda: summarize_tables(documents, ctx.runtime.interrupt),
        DisplayOptions(input_names=tuple(names)),
    )
