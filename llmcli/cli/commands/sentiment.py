"""``llm sentiment``."""

from __future__ import annotations

from llmcli.cli import inputs
from llmcli.cli.context import Context
from llmcli.cli.options import Files, command
from llmcli.cli.output import How
from llmcli.cli.rows import labelled


@command(
    examples="""
      llm sentiment reviews.txt
      echo "What a day!" | llm sentiment
      llm sentiment --json reviews.txt > labels.jsonl
    """
)
def sentiment(cli: Context, files: Files = None) -> int:
    """Label each line as positive, neutral or negative."""
    from llmcli.tasks.sentiment import sentiment as task

    records, failed = inputs.records(cli, files or [])
    options = cli.options()
    return cli.show(
        lambda backend: inputs.followed_by(task(backend, cli.prompts, records, options), failed),
        How(row=labelled, markdown=False),
    )
