"""``llm sentiment``."""

from __future__ import annotations

from llmcli.cli.command_context import CommandContext
from llmcli.cli.options import SCORING_OPTIONS, FilesArgument, command
from llmcli.cli.records.record_flags import RecordFlags


@command(
    *SCORING_OPTIONS,
    examples="""
      llm sentiment reviews.txt
      echo "What a day!" | llm sentiment
      llm sentiment --json reviews.txt > labels.jsonl
      llm sentiment reviews.csv --column text -o labelled.csv
    """,
    flags=RecordFlags,
)
def sentiment(ctx: CommandContext, files: FilesArgument = None) -> int:
    """Label each line or record as positive, neutral or negative."""
    from llmcli.cli.records.record_run import RecordTask, prompt_manifest, run_records
    from llmcli.tasks.sentiment import PROMPT, SentimentVerb, add_scoring_notices

    prompts = ctx.runtime.prompts
    task = RecordTask(
        lambda backend, options: SentimentVerb(backend, prompts, options),
        prompt_manifest(prompts.get(PROMPT)),
        add_scoring_notices,
    )
    return run_records(ctx, files or [], task)
