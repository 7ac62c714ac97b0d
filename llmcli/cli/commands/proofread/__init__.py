"""``llm proofread``."""

from __future__ import annotations

from typing import Annotated

from llmcli.cli.command_context import CommandContext
from llmcli.cli.flags import Writes
from llmcli.cli.options import FilesArgument, command
from llmcli.cli.parsing.parameters import Option
from llmcli.machine_needs import READING


@command(
    without=("seed",),
    examples="""
      llm proofread letter.txt
      llm proofread --top 10 report.pdf
      llm proofread --threshold 16 chapter1.txt chapter2.txt
      llm proofread --json letter.txt
      llm proofread --sarif docs/*.md -o proofread.sarif
    """,
    model_task="chat",
    needs=READING,
    overflow_advice="",
    listed=False,
    writes=Writes.SCORES,
)
def proofread(
    ctx: CommandContext,
    files: FilesArgument = None,
    *,
    top: Annotated[
        int | None, Option("--top", min=1, metavar="N", help="Only the N most suspicious words of each document.")
    ] = None,
    threshold: Annotated[
        float | None,
        Option("--threshold", min=0.0, metavar="BITS", help="Least score of a word (default: 20; with --top: 0)."),
    ] = None,
    sarif: Annotated[bool, Option("--sarif", help="Print a SARIF 2.1.0 log for code review tools.")] = False,
) -> int:
    """List the words that look wrong, by how much they surprise the model.

    Prints FILE:LINE:COLUMN: WORD SCORE in the order of the text. The score is the surprisal of the word in bits:
    -log2 of its probability, given the text before it. Nothing is generated. A word that looks misspelled has 10 bits
    more, and -> SUGGESTION after its score.
    """
    from llmcli.cli.commands.proofread.proofread_run import run_proofread

    return run_proofread(ctx, files or [], top=top, threshold=threshold, sarif=sarif)
