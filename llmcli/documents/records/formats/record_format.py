"""What a format of records is: a reader and a writer, one record at a time."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from io import BufferedReader
from typing import Any, Protocol

from llmcli.documents.records.record import Record, RecordSchema
from llmcli.frozen_dataclass import frozen

ERROR_COLUMN = "error"
"""The column that says what is wrong with a record."""


@frozen
class ReadOptions:
    """The user's options for reading; None leaves the choice to the reader. ``delimiter`` is one character."""

    delimiter: str | None = None


@frozen
class OutputColumns:
    """The columns of an output: those of the input, then those that the verb adds, then ``error``.

    ``types`` are the Python types of the added columns: ``str``, ``float``, ``int`` or ``bool``. ``has_error``: failed
    records are written with their error.
    """

    source: RecordSchema
    added: Mapping[str, type]
    has_error: bool

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


def merge_row(record: Record, added: Mapping[str, Any], error: str, *, has_error: bool) -> dict[str, Any]:
    """Return the fields of an output row in order."""
    row = {**record.fields, **added}
    if error and has_error:
        row[ERROR_COLUMN] = error
    return row


def unexpected_columns(row: Mapping[str, Any], known: Sequence[str]) -> list[str]:
    """Return the names in ``row`` that the output has no columns for."""
    return [name for name in row if name not in known]
