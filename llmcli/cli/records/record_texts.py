"""The texts of all records of an input, for commands that give one answer about all of them."""

from __future__ import annotations

from collections.abc import Sequence

from llmcli.cli.command_context import CommandContext
from llmcli.cli.records import record_inputs
from llmcli.cli.records.record_flags import OnError, record_flags
from llmcli.documents.reading.document import Document
from llmcli.errors import EmptyInput, UsageError
from llmcli.fast_dataclass import frozen
from llmcli.types import ItemFailed

_ROW_OPTIONS = ("output_format", "overwrite", "resume", "retry_failed", "dedupe", "shard")
"""Options of a job that writes a row for each record."""


@frozen
class RecordTexts:
    """The texts, named by their records, and the records and inputs that could not be read."""

    documents: Sequence[Document | ItemFailed]
    warnings: tuple[str, ...]


def read_record_texts(ctx: CommandContext, files: Sequence[str], option: str) -> RecordTexts:
    """Read the texts of the records; those that are blank are left out and counted in a warning.

    Raises ``UsageError`` for options of jobs that write rows, which ``option`` excludes, ``EmptyInput`` if no record
    has a text, and what opening the source raises.
    """
    _refuse_row_options(ctx, option)
    source = record_inputs.open_source(ctx, files)
    selection = record_inputs.selection(ctx)
    documents: list[Document | ItemFailed] = []
    warnings: list[str] = []
    count = blank = 0
    try:
        schema = source.open()
        choice = record_inputs.text_choice(ctx, required=True).resolve(schema)
        if schema.renamed:
            warnings.append(f"columns without a name of their own are called {', '.join(schema.renamed)}")
        for record in selection.apply(source):
            ctx.runtime.interrupt.check_input()
            choice.apply(record)
            count += 1
            warnings += [f"{record.name}: {note}" for note in record.notes]
            if record.error is not None:
                documents.append(ItemFailed(0, record.name, record.error))
            elif record.text.strip():
                documents.append(Document(record.name, record.text))
            else:
                blank += 1
        source.require_unchanged()
    finally:
        source.close()
    documents += [ItemFailed(0, name, error) for name, error in source.failed]
    if not documents:
        subject = files[0] if len(files) == 1 else ""
        raise EmptyInput(subject, detail="No record has a text. Name another column: --column NAME")
    if blank:
        warnings.append(f"records without a text were left out: {blank} of {count}")
    return RecordTexts(documents, tuple(warnings))


def _refuse_row_options(ctx: CommandContext, option: str) -> None:
    flags = record_flags(ctx)
    given = [name for name in _ROW_OPTIONS if getattr(flags, name)]
    if flags.on_error is not OnError.KEEP:
        given.append("on_error")
    if given:
        name = f"--{given[0].replace('_', '-')}"
        raise UsageError(f"{option} writes one answer, {name} is for rows", detail=f"Leave out {name}.")
