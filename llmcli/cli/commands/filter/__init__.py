"""``llm filter``."""

from __future__ import annotations

from typing import Annotated

from llmcli.cli.command_context import CommandContext
from llmcli.cli.command_registry import CommandArea
from llmcli.cli.flags import Writes
from llmcli.cli.labels.scoring_flags import FilterFlags
from llmcli.cli.options import FilesArgument, command
from llmcli.cli.parsing.parameters import Argument, Option
from llmcli.machine_needs import LABELS

ConjunctsOption = Annotated[
    list[str] | None, Option("--and", metavar="STATEMENT", help="This must hold too; repeatable.")
]
AlternativesOption = Annotated[
    list[str] | None, Option("--or", metavar="STATEMENT", help="Or this alone must hold; repeatable.")
]
ExcludedOption = Annotated[
    list[str] | None, Option("--not", metavar="STATEMENT", help="This must not hold; repeatable.")
]


@command(
    examples="""
      llm filter "it is about money" tickets.txt
      llm filter "the customer wants a refund" tickets.csv --column text
      llm filter -c "the writer is angry" reviews.txt
      llm filter "it is about money" --not "it is about taxes" tickets.txt
      llm filter --files "it is about a bicycle" notes.txt report.txt
      llm filter --files -0 "it is about a bicycle" *.txt | xargs -0 wc -w
      llm filter "it is about money" --calibrate money.csv --calibration money
    """,
    flags=FilterFlags,
    model_task="classify",
    needs=LABELS,
    area=CommandArea.RECORDS,
    also="Bias: llm audit.",
    writes=Writes.SCORES,
)
def filter(  # noqa: A001 (the command's name)
    ctx: CommandContext,
    statement: Annotated[str, Argument(metavar="STATEMENT", help="What must hold for a record.")],
    files: FilesArgument = None,
    *,
    conjuncts: ConjunctsOption = None,
    alternatives: AlternativesOption = None,
    excluded: ExcludedOption = None,
    invert: Annotated[bool, Option("--invert", help="Print the records that do not match.")] = False,
    count: Annotated[bool, Option("-c", "--count", help="Print only the number of matches.")] = False,
    numbers: Annotated[bool, Option("-n", "--line-number", help="Print line numbers.")] = False,
    names: Annotated[bool, Option("--files", help="Print the names of the files that match.")] = False,
    ends_with_null: Annotated[
        bool, Option("-0", "--null", help="End each name with a null character, for xargs -0.", rare=True)
    ] = False,
) -> int:
    """Print the records for which a statement holds.

    Records are lines, rows of a table, or with --files whole files. The exit code is 1 if there are none.
    """
    from llmcli.cli.commands.filter.filter_run import FilterView, make_query, run_filter

    query = make_query(ctx, [statement], conjuncts, alternatives, excluded, invert=invert)
    view = FilterView(count, numbers, names, ends_with_null, tuple(files or ()))
    return run_filter(ctx, query, view, files or [])
