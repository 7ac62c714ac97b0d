"""``llm sentiment``."""

from __future__ import annotations

from llmcli.cli.command_context import CommandContext
from llmcli.cli.input import inputs
from llmcli.cli.options import SCORING_OPTIONS, FilesArgument, command
from llmcli.cli.render.label_rows import format_label_row
from llmcli.cli.render.renderer import DisplayOptions, render_task


@command(
    *SCORING_OPTIONS,
    examples="""
      llm sentiment reviews.txt
      echo "What a day!" | llm sentiment
      llm sentiment --json reviews.txt > labels.jsonl
    """,
)
def sentiment(ctx: CommandContext, files: FilesArgument = None) -> int:
    """Label each line as positive, neutral or negative."""
    from llmcli.tasks.sentiment import sentiment as task

    records, failed = inputs.read_records(ctx, files or [])
    options = ctx.generation_options()
    return render_task(
        ctx,
        lambda backend: inputs.append_failed(task(backend, ctx.runtime.prompts, records, options), failed),
        DisplayOptions(format_row=format_label_row, markdown=False),
    )
