"""``llm embed``."""

from __future__ import annotations

from typing import Annotated

from llmcli.cli.command_context import CommandContext
from llmcli.cli.command_registry import CommandArea
from llmcli.cli.flags import Writes
from llmcli.cli.options import FilesArgument, command
from llmcli.cli.parsing.parameters import Option
from llmcli.cli.records.record_flags import RecordFlags
from llmcli.machine_needs import READING
from llmcli.tasks.embed import Pooling


@command(
    examples="""
      llm embed notes.txt
      llm embed --column text tickets.csv -o tickets.jsonl
      llm embed notes.txt -o notes.npy
      llm embed --files notes.txt report.txt
      echo "The bicycle workshop is closed." | llm embed --pooling last
    """,
    flags=RecordFlags,
    model_task="classify",
    needs=READING,
    area=CommandArea.RECORDS,
    listed=False,
    writes=Writes.VECTORS,
)
def embed(
    ctx: CommandContext,
    files: FilesArgument = None,
    *,
    pooling: Annotated[
        Pooling,
        Option("--pooling", help="The mean of the states of all tokens, or the state of the last token."),
    ] = Pooling.MEAN,
    no_normalize: Annotated[bool, Option("--no-normalize", help="Do not scale vectors to length 1.")] = False,
    whole: Annotated[bool, Option("--files", help="Read each file as one text.")] = False,
) -> int:
    """Turn lines, records or files into vectors.

    Prints the records as JSON Lines with the column embedding; tables keep their format. -o FILE.npy writes a NumPy
    array of 32-bit floats, a row for each record. The setting embedding_model names the model that computes vectors.
    """
    from llmcli.cli.commands.embed.embed_run import run_embed

    return run_embed(ctx, files or [], pooling, normalizes=not no_normalize, whole=whole)
