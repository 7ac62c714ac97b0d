"""``llm extract``."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

from llmcli.cli.command_context import CommandContext
from llmcli.cli.flags import shared_options
from llmcli.cli.options import FilesArgument, command
from llmcli.cli.parsing.parameters import Option
from llmcli.cli.records.record_flags import RecordFlags, wants_records
from llmcli.machine_needs import WRITING


class ValueFormat(StrEnum):
    """How values are written."""

    JSON = "json"
    JSONL = "jsonl"
    CSV = "csv"
    TSV = "tsv"
    PARQUET = "parquet"


_OTHERS = frozenset({"format", "output_format"})
"""Options that extract lacks; its own --format is that of the output, also of records."""


@command(
    *(option.name for option in shared_options(RecordFlags) if option.name not in _OTHERS),
    examples="""
      llm extract --schema 'name, amount (number), due (date)' invoice.txt
      llm extract --schema 'sender, due (date)' letter.txt invoice.txt -o due.csv
      llm extract --schema person.json --json letter.txt
      llm extract --many --schema 'person, role' report.txt --html found.html
      cat letter.txt | llm extract --schema 'sender, order int, complaint bool'
      llm extract --column message --schema 'amount (number), day (date)' messages.csv -o found.csv
    """,
    flags=RecordFlags,
    model_task="summarize",
    overflow_advice="give fewer or shorter --examples, or a smaller --schema",
    needs=WRITING,
)
def extract(
    ctx: CommandContext,
    files: FilesArgument = None,
    *,
    schema: Annotated[
        str,
        Option(
            "--schema",
            metavar="SCHEMA",
            help="The values: 'name, age int, due (date): when to pay' (types: text, int, number, bool, date, list), a "
            "JSON Schema (FILE.json, @FILE), or a Pydantic class (MODULE:CLASS).",
        ),
    ],
    many: Annotated[bool, Option("--many", help="Any number of objects of each text; of a record, rows.")] = False,
    free: Annotated[bool, Option("--free", help="Let the model write values that do not stand in the text.")] = False,
    examples: Annotated[
        str | None,
        Option("--examples", metavar="FILE", help='Examples for the model, a line each: {"text": ..., "values": ...}.'),
    ] = None,
    format: Annotated[  # noqa: A002 (the name of the option)
        ValueFormat | None,
        Option(
            "--format",
            metavar="FORMAT",
            help="json, jsonl, csv, tsv, parquet (default: that of -o or of the records, else json or jsonl).",
        ),
    ] = None,
    html: Annotated[
        str | None,
        Option("--html", metavar="FILE", help="Write a page that shows the documents with the finds marked."),
    ] = None,
) -> int:
    """Take the values of a schema out of documents.

    Texts, numbers and dates can only be such as stand in the document; a value that it does not give is null. --json
    has the quote, page or lines and probability of each value. With --column, the values of each record become new
    columns.
    """
    from llmcli.cli.commands.extract.extract_run import ExtractOptions, run_extract

    wanted = ExtractOptions(schema, many, free, examples, None if format is None else format.value, html)
    if wants_records(ctx.flags):
        from llmcli.cli.commands.extract.extract_records import extract_records

        return extract_records(ctx, files or [], wanted)
    return run_extract(ctx, files or [], wanted)
