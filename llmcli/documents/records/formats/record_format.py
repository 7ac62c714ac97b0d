"""The interface of a format of records: a reader and a writer, one record at a time."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from io import BufferedReader
from typing import Any, Protocol

from llmcli.documents.records.record import ColumnType, Record, RecordSchema
from llmcli.errors import BadDocument
from llmcli.fast_dataclass import frozen

ERROR_COLUMN = "error"
"""The column that says what is wrong with a record."""
LINE_COLUMN = "line"
"""The one column of an output of plain lines."""


@frozen
class ReadOptions:
    """The user's options for reading; None leaves the choice to the reader. ``delimiter`` is one character."""

    delimiter: str | None = None


@frozen
class OutputColumns:
    """The columns of an output: those of the input, then those that the verb adds, then ``error``.

    ``added`` has the types of the added columns. ``has_error``: failed records are written with their error.
    ``overwrites``: added columns replace those of the input with their names.
    """

    source: RecordSchema
    added: Mapping[str, ColumnType]
    has_error: bool
    overwrites: bool = False

    @property
    def names(self) -> list[str]:
        """All columns in order; an added one that exists in the input keeps the place that it has there."""
        error = [ERROR_COLUMN] if self.has_error else []
        return list(dict.fromkeys([*self.source.columns, *self.added, *error]))


class RecordReader(Protocol):
    """Reads the records of one input; ``schema`` is known before the first record, ``position`` counts bytes read."""

    schema: RecordSchema

    @property
    def position(self) -> int: ...

    def __iter__(self) -> Iterator[Record]:
        """Yield the records, numbered from 0; a malformed one has an ``error``."""
        ...


class RecordWriter(Protocol):
    """Formats records; the results of its methods, joined, are the file.

    ``resumable``: a file can be continued after its rows so far.
    """

    resumable: bool

    def head(self) -> bytes:
        """Return what precedes the rows."""
        ...

    def row(self, record: Record, added: Mapping[str, Any], error: str) -> bytes:
        """Return the row of a record with the values of the added columns; ``error`` is "" unless it failed.

        Raises ``BadDocument`` for a record that the format cannot hold.
        """
        ...

    def tail(self) -> bytes:
        """Return what follows the rows."""
        ...


class RecordFormat(Protocol):
    """A format; a module of this package has one, called ``FORMAT``."""

    def open_reader(self, stream: BufferedReader, name: str, options: ReadOptions) -> RecordReader:
        """Return a reader; reads the header. Raises ``BadDocument``, ``MissingExtra`` and what the stream raises."""
        ...

    def open_writer(self, columns: OutputColumns) -> RecordWriter:
        """Return a writer. Raises ``MissingExtra``."""
        ...


def new_fields(record: Record, added: Mapping[str, Any], error: str, columns: OutputColumns) -> dict[str, Any]:
    """Return the fields that the row of a record has beside those of the input, in order.

    Raises ``BadDocument`` when the record has a field of its own with the name of one of them, unless it failed.
    """
    new = dict(added)
    if columns.has_error and (error or (columns.overwrites and ERROR_COLUMN in record.fields)):
        new[ERROR_COLUMN] = error or None
    if columns.overwrites:
        return new
    clashes = [name for name in added if name in record.fields]
    if clashes and not error:
        detail = f"it already has the field {', '.join(clashes)}; --overwrite replaces it"
        raise BadDocument(record.file, line=record.line, detail=detail)
    for name in clashes:
        del new[name]
    return new


def merge_row(record: Record, added: Mapping[str, Any], error: str, columns: OutputColumns) -> dict[str, Any]:
    """Return the fields of an output row in order, for a format with columns.

    Raises ``BadDocument`` for a record that has fields which the output has no columns for, or keys that occur twice.
    """
    row = {**record.fields, **new_fields(record, added, error, columns)}
    extra = unexpected_columns(row, columns.names)
    if extra:
        detail = f"the first record has no field {', '.join(extra)}; JSON Lines can hold it (-o FILE.jsonl)"
        raise BadDocument(record.file, line=record.line, detail=detail)
    if record.repeated_names:
        names = ", ".join(dict.fromkeys(record.repeated_names))
        detail = f"the key {names} occurs more than once; JSON Lines can hold it (-o FILE.jsonl)"
        raise BadDocument(record.file, line=record.line, detail=detail)
    return row


def unexpected_columns(row: Mapping[str, Any], known: Sequence[str]) -> list[str]:
    """Return the names in ``row`` that the output has no columns for."""
    columns = frozenset(known)
    return [name for name in row if name not in columns]
