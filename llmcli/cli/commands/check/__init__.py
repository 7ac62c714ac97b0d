"""``llm check``."""

from __future__ import annotations

from typing import Annotated

from llmcli.cli.command_context import CommandContext
from llmcli.cli.flags import Writes
from llmcli.cli.options import command
from llmcli.cli.parsing.parameters import Argument, Option
from llmcli.machine_needs import READING


@command(
    without=("seed",),
    examples="""
      llm check answer.md --against report.txt
      llm check answer.md --against docs notes.txt
      llm summarize report.txt | llm check - --against report.txt
      llm check answer.md --against notes.txt --threshold 0.7
      llm check --json answer.md --against notes.txt
      llm check --dry-run answer.md --against docs
    """,
    model_task="classify",
    needs=READING,
    also="Runs: llm verify.",
    writes=Writes.SCORES,
)
def check(
    ctx: CommandContext,
    answer: Annotated[
        str | None, Argument(metavar="[ANSWER]", help="The text to check; - or none: standard input.")
    ] = None,
    more: Annotated[list[str] | None, Argument(metavar="[SOURCE]...", help="More sources.")] = None,
    *,
    against: Annotated[list[str], Option("--against", metavar="SOURCE", help="A document or directory; repeatable.")],
    threshold: Annotated[
        float,
        Option("--threshold", min=0.0, max=1.0, metavar="P", help="Least probability of support for each sentence."),
    ] = 0.5,
    passages: Annotated[
        int, Option("--passages", min=1, max=20, metavar="N", help="Passages to score for each sentence.")
    ] = 2,
    dry_run: Annotated[bool, Option("--dry-run", help="Show passages, calls, tokens and time; run no model.")] = False,
) -> int:
    """Check each sentence of a text against documents.

    The exit code is 1 if one is not supported.

    The probability of support comes from scores of the model and from comparisons by rule; nothing is generated. The
    quote is the sentence of the documents that is nearest.
    """
    from llmcli.cli.commands.check.check_run import run_check

    sources = [*against, *(more or ())]
    return run_check(ctx, answer, sources, threshold=threshold, passages=passages, dry_run=dry_run)
