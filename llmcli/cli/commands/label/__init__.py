"""``llm label``."""

from __future__ import annotations

from typing import Annotated

from llmcli.cli.command_context import CommandContext
from llmcli.cli.command_registry import CommandArea
from llmcli.cli.flags import Writes
from llmcli.cli.options import command
from llmcli.cli.parsing.parameters import Argument, Option
from llmcli.cli.records.record_flags import RecordFlags
from llmcli.machine_needs import LABELS


@command(
    without=("limit", "sample", "provenance"),
    examples="""
      llm label --labels billing,bug,praise tickets.csv --column text
      llm label --labels good,bad reviews.jsonl --calibration reviews
    """,
    flags=RecordFlags,
    model_task="classify",
    needs=LABELS,
    area=CommandArea.RECORDS,
    also="Results: llm calibrations.",
    writes=Writes.SCORES,
    has_rows=False,
)
def label(
    ctx: CommandContext,
    labels: Annotated[
        str,
        Option("--labels", metavar="A,B,...|@FILE", help="The labels, or a YAML file with descriptions."),
    ],
    file: Annotated[str, Argument(metavar="FILE", help="Lines or records.")],
    calibration: Annotated[
        str | None,
        Option(
            "--calibration",
            metavar="NAME",
            help="Save a calibration for llm classify under this name.",
            autocompletion="calibrations",
        ),
    ] = None,
    label_column: Annotated[
        str, Option("--label-column", metavar="NAME", help="Column for the label in the output.")
    ] = "label",
) -> int:
    """Ask you for the labels that teach most.

    They are written beside the records.

    Each answer is one key, and on the disk before the next question: the same command goes on after any end. The output
    is -o FILE, by default tickets.labelled.csv for tickets.csv. At most 2,000 records, drawn at random, are candidates.
    The model evaluates them behind the questions, and the next start only the rest: what it makes of them stays in the
    cache.
    """
    from llmcli.cli.commands.label.labelling_run import LabellingRun
    from llmcli.cli.labels.label_run import read_labels

    run = LabellingRun(ctx, read_labels(ctx, labels), file, calibration=calibration, column=label_column)
    return run.run()
