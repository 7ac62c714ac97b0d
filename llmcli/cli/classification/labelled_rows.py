"""Labelled rows that a command line names: examples, and rows for choosing a threshold."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from llmcli.cli.command_context import CommandContext
from llmcli.cli.records.record_inputs import record_flags, text_choice
from llmcli.documents.reading.file_reader import open_stream
from llmcli.documents.records.formats.record_format import ReadOptions
from llmcli.documents.records.record import TEXT_COLUMN, find_field, value_as_text
from llmcli.documents.records.record_source import RecordInput, RecordSource
from llmcli.documents.records.selection import TextChoice
from llmcli.errors import BadDocument, UsageError

LabelledRows = list[tuple[str, str]]


def read_labelled_rows(ctx: CommandContext, path: str, column: str, labels: Sequence[str]) -> LabelledRows:
    """Return (text, label) of each row of a CSV, TSV, JSON Lines or Parquet file; rows without either are left out.

    The text is found as in the input (--column, --template, or the default column beside ``column``, which holds the
    label). Raises ``UsageError`` for a missing column, a label that is not one of ``labels`` and a file without rows,
    and what reading raises.
    """
    flags = record_flags(ctx)
    source = RecordSource(
        [RecordInput(path, partial(open_stream, path, ctx.runtime.interrupt))],
        None,
        ReadOptions(flags.delimiter),
        is_table=True,
    )
    try:
        schema = source.open()
        choice = text_choice(ctx, required=True)
        if choice.template is None and not choice.columns:
            choice = _default_choice(path, schema.columns, column)
        choice = choice.resolve(schema)
        rows = []
        for record in source:
            choice.apply(record)
            if record.error is not None:
                raise record.error
            try:
                label = value_as_text(find_field(record.fields, column)).strip()
            except KeyError as error:
                detail = f"it has no column {column} with labels; Try: --label-column NAME"
                raise BadDocument(path, line=record.line, detail=detail) from error
            if not label or not record.text.strip():
                continue
            if label not in labels:
                detail = f"The labels are {', '.join(labels)}."
                raise UsageError(f"{path}, line {record.line}: {label!r} is not one of the labels", detail=detail)
            rows.append((record.text, label))
    finally:
        source.close()
    if not rows:
        raise UsageError(f"{path} has no labelled rows", detail="It needs a column with texts and one with labels.")
    return rows


def _default_choice(path: str, columns: Sequence[str], label_column: str) -> TextChoice:
    others = [name for name in columns if name != label_column]
    if TEXT_COLUMN in others or not columns:
        return TextChoice((TEXT_COLUMN,))
    if len(others) == 1:
        return TextChoice((others[0],))
    raise UsageError(
        f"which column of {path} holds the text?", detail=f"Try: --column NAME, one of {', '.join(others)}"
    )


def rows_digest(rows: Sequence[tuple[str, str]]) -> str:
    """Return a hash of labelled rows, for the manifest of a job."""
    import hashlib

    return hashlib.sha256(repr(list(rows)).encode("utf-8", "surrogatepass")).hexdigest()
