"""The options of verbs that process records, in addition to the recurring ones."""

from enum import StrEnum
from typing import TYPE_CHECKING, Annotated

from llmcli.cli.flags import Affects, Flags, InManifest
from llmcli.cli.parsing.parameters import Option, OptionSection
from llmcli.fast_dataclass import frozen

if TYPE_CHECKING:
    from llmcli.cli.command_context import CommandContext


class OnError(StrEnum):
    """What becomes of a record that fails."""

    KEEP = "keep"
    SKIP = "skip"
    FAIL = "fail"


def _parse_delimiter(value: str | None) -> str | None:
    value = {"tab": "\t", "\\t": "\t"}.get(value or "", value)
    if value is not None and (len(value) != 1 or value in '"\r\n'):
        raise ValueError("expected one character, or tab")
    return value


def _check_shard(value: str | None) -> str | None:
    if value is not None:
        from llmcli.documents.records.shard import Shard

        Shard.parse(value)
    return value


OnErrorOption = Annotated[
    OnError,
    Option(
        "--on-error",
        help="A record that fails is kept with its error, left out, or ends the job.",
        section=OptionSection.RECORDS,
        rare=True,
    ),
    Affects.ROWS,
    InManifest("--on-error"),
]


@frozen
class RecordFlags(Flags):
    """The recurring options, and those of records."""

    column: Annotated[
        list[str] | None,
        Option(
            "--column",
            "--field",
            metavar="NAME",
            help="The column with the text (a.b: inside); repeatable.",
            section=OptionSection.RECORDS,
        ),
    ] = None
    template: Annotated[
        str | None,
        Option(
            "--template",
            metavar="TEXT|@FILE",
            help="The text of a record, made of its columns: '{{ row.title }}'.",
            section=OptionSection.RECORDS,
            rare=True,
        ),
        InManifest("template"),
    ] = None
    format: Annotated[
        str | None,
        Option(
            "--format",
            metavar="FORMAT",
            help="Format of the records: lines, csv, tsv, jsonl, parquet (default: by name and content).",
            autocompletion="record_formats",
            section=OptionSection.RECORDS,
            rare=True,
        ),
    ] = None
    delimiter: Annotated[
        str | None,
        Option(
            "--delimiter",
            metavar="CHAR",
            help="Delimiter of a CSV file (default: detected).",
            callback=_parse_delimiter,
            section=OptionSection.RECORDS,
            rare=True,
        ),
        InManifest("delimiter"),
    ] = None
    output_format: Annotated[
        str | None,
        Option(
            "--output-format",
            metavar="FORMAT",
            help="Format of the output (default: by the name of -o, else that of the input).",
            autocompletion="record_formats",
            section=OptionSection.RECORDS,
            rare=True,
        ),
        Affects.ROWS,
    ] = None
    on_error: OnErrorOption = OnError.KEEP
    overwrite: Annotated[
        bool,
        Option(
            "--overwrite",
            help="Replace columns that have the names of new ones.",
            section=OptionSection.RECORDS,
            rare=True,
        ),
        Affects.ROWS,
        InManifest("--overwrite"),
    ] = False
    resume: Annotated[
        bool,
        Option("--resume", help="Go on with the unfinished job of -o FILE.", section=OptionSection.RECORDS, rare=True),
        Affects.ROWS,
    ] = False
    retry_failed: Annotated[
        bool,
        Option(
            "--retry-failed",
            help="Process only the records that have an error in -o FILE.",
            section=OptionSection.RECORDS,
            rare=True,
        ),
        Affects.ROWS,
    ] = False
    limit: Annotated[
        int | None,
        Option("--limit", min=1, metavar="N", help="Process only the first N records.", section=OptionSection.RECORDS),
        InManifest("limit"),
    ] = None
    sample: Annotated[
        int | None,
        Option(
            "--sample",
            min=1,
            metavar="N",
            help="Process N random records, by --seed.",
            section=OptionSection.RECORDS,
            rare=True,
        ),
        InManifest("sample"),
    ] = None
    dry_run: Annotated[
        bool,
        Option("--dry-run", help="Show calls, tokens and time; run no model."),
        Affects.EVALUATION,
        Affects.ROWS,
    ] = False
    dedupe: Annotated[
        bool,
        Option("--dedupe", help="Answer records with the same text once.", section=OptionSection.RECORDS, rare=True),
        Affects.EVALUATION,
        Affects.ROWS,
        InManifest("--dedupe"),
    ] = False
    shard: Annotated[
        str | None,
        Option(
            "--shard",
            metavar="I/N",
            help="Process each Nth record from record I; llm merge joins the N outputs.",
            callback=_check_shard,
            section=OptionSection.RECORDS,
            rare=True,
        ),
        Affects.ROWS,
        InManifest("--shard"),
    ] = None


RECORD_OPTIONS = ("column", "template", "format", "delimiter", "output_format", "limit", "sample", "shard")
"""Options that make an input records where a verb would otherwise read whole documents."""


def wants_records(flags: Flags) -> bool:
    """Whether an option was given that only records have."""
    assert isinstance(flags, RecordFlags)
    return any(getattr(flags, name) is not None for name in RECORD_OPTIONS) or any(
        (
            flags.on_error is not OnError.KEEP,
            flags.overwrite,
            flags.resume,
            flags.retry_failed,
            flags.dedupe,
        )
    )


def record_flags(ctx: "CommandContext") -> RecordFlags:
    """Return the options of a command that has those of records."""
    assert isinstance(ctx.flags, RecordFlags)
    return ctx.flags
