"""Labelled rows that a command line names: examples, and rows to learn from or to compare with."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from llmcli.cli.command_context import CommandContext
from llmcli.cli.input.inputs import STDIN, open_stdin
from llmcli.cli.records.record_flags import record_flags
from llmcli.cli.records.record_inputs import text_choice
from llmcli.documents.reading.file_reader import open_stream
from llmcli.documents.records.formats.record_format import ReadOptions
from llmcli.documents.records.record import TEXT_COLUMN, find_field
from llmcli.documents.records.record_source import RecordInput, RecordSource, TextChoice, require_columns
from llmcli.errors import BadDocument, UsageError
from llmcli.tasks.labels.label_spec import UnknownLabel

LabelledRows = list[tuple[str, Any]]
"""Pairs of a text and what ``LabelSpec.read_label`` returns: a label, or the targets that hold."""


def labelled_rows_name(path: str) -> str:
    """Return the file's name for people; ``-`` is standard input."""
    return "standard input" if path == STDIN else path


def read_labelled_rows(ctx: CommandContext, path: str, column: str, read_label: Callable[[Any], Any]) -> LabelledRows:
    """Return (text, label) of each row of a CSV, TSV, JSON Lines or Parquet file; rows without either are left out.

    The text is found as in the input (--column, --template, or the default column beside ``column``, which holds the
    label; ``read_label`` is that of a ``LabelSpec``). Raises ``UsageError`` for a missing column, an unknown label and a file without rows, and what reading
    raises.
    """
    flags = record_flags(ctx)
    name = labelled_rows_name(path)
    from_file = partial(open_stream, path, ctx.runtime.interrupt)
    opens = partial(open_stdin, ctx.console) if path == STDIN else from_file
    source = RecordSource(
        [RecordInput(path, opens)],
        None,
        ReadOptions(flags.delimiter),
        is_table=True,
    )
    try:
        schema = source.open()
        choice = text_choice(ctx, required=True)
        if choice.template is None and not choice.columns:
            choice = _default_choice(name, schema.columns, column)
        choice = choice.resolve(schema, name)
        require_columns(schema, [column], "--label-column", name)
        rows = []
        for record in source:
            choice.apply(record)
            if isinstance(record.error, BadDocument):
                raise BadDocument(path, line=record.line, detail=record.error.detail, kind="labelled rows")
            if record.error is not None:
                raise record.error
            try:
                label = read_label(find_field(record.fields, column))
            except KeyError as error:
                detail = f"it has no field {column}"
                raise BadDocument(path, line=record.line, detail=detail, kind="label") from error
            except UnknownLabel as error:
                words = f"{name}, line {record.line}: {error.text!r} is not one of the labels"
                raise UsageError(words, detail=f"The labels are {', '.join(error.labels)}.") from error
            if label is not None and record.text.strip():
                rows.append((record.text, label))
    finally:
        source.close()
    if not rows:
        raise UsageError(f"{name} has no labelled rows", detail="It needs a column with texts and one with labels.")
    return rows


def _default_choice(name: str, columns: Sequence[str], label_column: str) -> TextChoice:
    others = [name for name in columns if name != label_column]
    if TEXT_COLUMN in others or not columns:
        return TextChoice((TEXT_COLUMN,))
    if len(others) == 1:
        return TextChoice((others[0],))
    raise UsageError(
        f"which column of {name} holds the text?", detail=f"Try: --column NAME, one of {', '.join(others)}"
    )
