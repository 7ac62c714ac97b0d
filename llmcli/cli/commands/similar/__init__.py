"""``llm similar``."""

from __future__ import annotations

from typing import Annotated

from llmcli.cli.command_context import CommandContext
from llmcli.cli.command_registry import CommandArea
from llmcli.cli.flags import Writes
from llmcli.cli.options import FilesArgument, command
from llmcli.cli.parsing.parameters import Argument, Option
from llmcli.cli.records.record_flags import RecordFlags
from llmcli.machine_needs import READING


@command(
    examples="""
      llm similar "The app crashes" tickets.txt
      llm similar --top 3 "disk failing" errors.log
      llm similar --files "bicycle repair" notes.txt report.txt
      llm similar --json --column text refund tickets.csv
    """,
    flags=RecordFlags,
    model_task="classify",
    needs=READING,
    area=CommandArea.RECORDS,
    listed=False,
    writes=Writes.VECTORS,
    has_rows=False,
)
def similar(
    ctx: CommandContext,
    query: Annotated[str, Argument(metavar="QUERY", help="The text to compare with.")],
    files: FilesArgument = None,
    *,
    top: Annotated[int, Option("--top", min=1, max=100_000, metavar="N", help="Number of results.")] = 10,
    threshold: Annotated[
        float, Option("--threshold", min=-1.0, max=1.0, metavar="S", help="Least similarity of a result.")
    ] = -1.0,
    whole: Annotated[bool, Option("--files", help="Read each file as one text.")] = False,
) -> int:
    """Find the lines, records or files that are nearest to a text in meaning.

    Prints FILE:LINE: SIMILARITY TEXT, the most similar first. The similarity is the cosine of the vectors that llm
    embed computes, after the mean of all texts is subtracted: 1 is the same, 0 is unrelated.
    """
    from llmcli.cli.commands.similar.similar_run import run_similar

    return run_similar(ctx, query, files or [], top=top, threshold=threshold, whole=whole)
