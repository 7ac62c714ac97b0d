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
from llmcli.documents.records.record import TEXT_COLUMN, find_field, value_as_text
from llmcli.documents.records.record_source import RecordInput, RecordSource, TextChoice, require_columns
from llmcli.errors import BadDocument, UsageError

LabelledRows = list[tuple[str, Any]]
"""Pairs of a text and what ``LabelParser`` returns: a label, or the names that hold."""

LabelParser = Callable[[Any], Any]
"""Return the label of a cell, None for a row to leave out. Raises ``UnknownLabel``."""

_TRUE, _FALSE = frozenset({"yes", "true", "1"}), frozenset({"no", "false", "0"})


class UnknownLabel(ValueError):
    """A cell whose ``text`` is not one of ``labels``."""

    def __init__(self, text: str, labels: Sequence[str]) -> None:
        super().__init__(text)
        self.text = text
        self.labels = tuple(labels)


def make_label_parser(labels: Sequence[str]) -> LabelParser:
    """Return the reader of cells with one of the labels; a row with an empty one is left out."""

    def read(value: Any) -> str | None:
        text = value_as_text(value).strip()
        if text and text not in labels:
            raise UnknownLabel(text, labels)
        return text or None

    return read


def make_label_list_parser(labels: Sequence[str]) -> LabelParser:
    """Return the reader of cells with several labels: a list, or a text with commas. An empty one has none of them."""

    def read(value: Any) -> tuple[str, ...]:
        if isinstance(value, list):
            names = [value_as_text(each).strip() for each in value]
        else:
            text = value_as_text(value).strip()
            names = [text] if text in labels else [name.strip() for name in text.split(",") if name.strip()]
        for name in names:
            if name not in labels:
                raise UnknownLabel(name, labels)
        return tuple(label for label in labels if label in names)

    return read


def read_yes_or_no(name: str) -> LabelParser:
    """Return the reader of cells with yes, true or 1, for which ``name`` holds, or no, false or 0."""

    def read(value: Any) -> tuple[str, ...] | None:
        text = value_as_text(value).strip().lower()
        if text in _TRUE:
            return (name,)
        if text and text not in _FALSE:
            raise UnknownLabel(text, ("yes", "no"))
        return () if text else None

    return read


def labelled_rows_name(path: str) -> str:
    """Return the file's name for people; ``-`` is standard input."""
    return "standard input" if path == STDIN else path


def read_labelled_rows(ctx: CommandContext, path: str, column: str, read_label: LabelParser) -> LabelledRows:
    """Return (text, label) of each row of a CSV, TSV, JSON Lines or Parquet file; rows without either are left out.

    The text is found as in the input (--column, --template, or the default column beside ``column``, which holds the
    label). Raises ``UsageError`` for a missing column, an unknown label and a file without rows, and what reading
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
