"""``llm sentiment``."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

from llmcli.cli.command_context import CommandContext
from llmcli.cli.command_registry import CommandArea
from llmcli.cli.labels.scoring_flags import ScoringFlags
from llmcli.cli.options import FilesArgument, command
from llmcli.cli.parsing.parameters import Option
from llmcli.machine_needs import LABELS

MAX_SCALE = 100


class TextUnit(StrEnum):
    """What gets a label of its own in plain text."""

    LINE = "line"
    SENTENCE = "sentence"
    PARAGRAPH = "paragraph"
    DOCUMENT = "document"


@command(
    examples="""
      llm sentiment reviews.txt
      echo "What a day!" | llm sentiment
      llm sentiment --json reviews.txt > labels.jsonl
      llm sentiment reviews.csv --column text -o labelled.csv
      llm sentiment --calibrate rated.csv --calibration mood
      llm sentiment --by paragraph --scale 5 notes.txt --output-format csv
    """,
    flags=ScoringFlags,
    model_task="classify",
    needs=LABELS,
    area=CommandArea.RECORDS,
)
def sentiment(
    ctx: CommandContext,
    files: FilesArgument = None,
    by: Annotated[TextUnit, Option("--by", help="What is labelled in plain text.")] = TextUnit.LINE,
    scale: Annotated[
        int | None,
        Option("--scale", min=2, max=MAX_SCALE, metavar="N", help="Also rate from 1 to N, N being positive."),
    ] = None,
    aspects: Annotated[bool, Option("--aspects", help="Also list what the text has opinions about.")] = False,
) -> int:
    """Label each line or record as positive, neutral or negative."""
    from llmcli.cli.labels.label_run import run_sentiment

    return run_sentiment(ctx, files or [], by=by.value, scale=scale, aspects=aspects)
