"""``llm classify``."""

from __future__ import annotations

from typing import Annotated

from llmcli.cli.command_context import CommandContext
from llmcli.cli.command_registry import CommandArea
from llmcli.cli.flags import Writes
from llmcli.cli.labels.scoring_flags import ScoringFlags
from llmcli.cli.options import FilesArgument, command
from llmcli.cli.parsing.parameters import Option
from llmcli.machine_needs import LABELS


@command(
    examples="""
      llm classify --labels billing,bug,praise tickets.txt
      llm classify --labels @labels.yaml tickets.csv --column text -o tagged.csv
      llm classify --labels bug,crash,idea --multi --threshold 0.6 tickets.csv
      llm classify --labels billing,bug,praise --examples labelled.csv tickets.txt
      llm classify --labels @labels.yaml --calibrate labelled.csv --plot fit.svg
    """,
    flags=ScoringFlags,
    model_task="classify",
    needs=LABELS,
    area=CommandArea.RECORDS,
    writes=Writes.SCORES,
)
def classify(
    ctx: CommandContext,
    labels: Annotated[
        str,
        Option("--labels", metavar="A,B,...|@FILE", help="The labels, or a YAML file with descriptions."),
    ],
    files: FilesArgument = None,
    multi: Annotated[bool, Option("--multi", help="Labels do not exclude each other: give all that apply.")] = False,
) -> int:
    """Give each line or record one of your labels, with probabilities."""
    from llmcli.cli.labels.label_run import make_classify_run, read_labels

    return make_classify_run(ctx, read_labels(ctx, labels), multi=multi).run(files or [])
