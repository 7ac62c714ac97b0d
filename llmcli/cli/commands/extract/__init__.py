"""``llm extract``."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

from llmcli.cli.command_context import CommandContext
from llmcli.cli.options import FilesArgument, command
from llmcli.cli.parsing.parameters import Option


class ValueFormat(StrEnum):
    """How values are written."""

    JSON = "json"
    JSONL = "jsonl"
    CSV = "csv"
    TSV = "tsv"
    PARQUET = "parquet"


@command(
    without=("mark",),
    examples="""
      llm extract --schema 'name, amount (number), due (date)' invoice.txt
      llm extract --schema 'sender, due (date)' letter.txt invoice.txt -o due.csv
      llm extract --schema person.json --json letter.txt
      llm extract --many --schema 'person, role' report.txt --html found.html
      cat letter.txt | llm extract --schema 'sender, order int, complaint bool'
    """,
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
    many: Annotated[bool, Option("--many", help="Any number of objects from each document.")] = False,
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
            help="json, jsonl, csv, tsv or parquet (default: by the name of -o, else json for one document and jsonl for "
            "several).",
        ),
    ] = None,
    html: Annotated[
        str | None,
        Option("--html", metavar="FILE", help="Write a page that shows the documents with the finds marked."),
    ] = None,
    dry_run: Annotated[bool, Option("--dry-run", help="Show passages, calls, tokens and time; run no model.")] = False,
) -> int:
    """Take the values of a schema out of documents.

    Texts, numbers and dates can only be such as stand in the document; a value that it does not give is null. --json
    has the quote, page or lines and probability of each value.
    """
    from llmcli.cli.commands.extract.extract_run import ExtractOptions, run_extract

    wanted = ExtractOptions(schema, many, free, examples, None if format is None else format.value, html, dry_run)
    return run_extract(ctx, files or [], wanted)
