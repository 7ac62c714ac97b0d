"""Parquet, through the library pyarrow, which comes with the extra ``parquet``."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from decimal import Decimal
from io import BufferedReader
from typing import Any

from llmcli.documents.json_values import SpelledNumber
from llmcli.documents.records.formats.record_format import (
    ERROR_COLUMN,
    OutputColumns,
    ReadOptions,
    merge_row,
)
from llmcli.documents.records.record import ColumnType, Record, RecordSchema
from llmcli.errors import BadDocument, MissingExtra, OutputError, UsageError

_BATCH_ROWS = 256
_GROUP_ROWS = 4096
"""Rows that are in memory at a time, and form a row group of an output."""


def _import_pyarrow() -> tuple[Any, Any]:
    """Return the modules ``pyarrow`` and ``pyarrow.parquet``. Raises ``MissingExtra``."""
    try:
        import pyarrow as pa
        import pyarrow.parquet as pq
    except ImportError as error:
        raise MissingExtra("pyarrow", detail="parquet") from error
    return pa, pq


class ParquetReader:
    """Reads rows in batches; values keep their types."""

    def __init__(self, stream: BufferedReader, name: str) -> None:
        pa, pq = _import_pyarrow()
        if not stream.seekable():
            raise UsageError("Parquet cannot be read from a pipe", detail="Name the file instead.")
        try:
            self._file = pq.ParquetFile(stream)
        except (pa.ArrowException, OSError) as error:
            raise BadDocument(name, detail=f"it is no valid Parquet file: {error}") from error
        schema = self._file.schema_arrow
        self.schema = RecordSchema("parquet", tuple(schema.names), arrow_schema=schema)
        self._stream = stream
        self.position = stream.tell()
        """Bytes read so far, known after the file is closed too: another thread asks for it."""

    def __iter__(self) -> Iterator[Record]:
        index = 0
        for batch in self._file.iter_batches(batch_size=_BATCH_ROWS):
            self.position = self._stream.tell()
            for row in batch.to_pylist():
                raw = json.dumps(row, default=str).encode()
                yield Record(index, "", index + 1, fields=row, raw=raw)
                index += 1


class ParquetWriter:
    """Writes row groups. The columns of another format get the types of the values in the first row group."""

    resumable = False

    def __init__(self, columns: OutputColumns) -> None:
        """Raises ``MissingExtra``, and ``OutputError`` for a column whose name is no Unicode text."""
        self._pa, self._pq = _import_pyarrow()
        self._columns = columns
        self._names = columns.names
        self._types = self._known_types()
        self._rows: list[dict[str, Any]] = []
        self._sink = _ByteBuffer()
        self._writer: Any = None
        self._schema: Any = None

    def _known_types(self) -> dict[str, Any]:
        """Return the types of the columns whose values do not decide it, by name."""
        pa, source = self._pa, self._columns.source.arrow_schema
        for name in self._names:
            if _has_surrogate(name):
                detail = f"the name of the column {name!a} is no Unicode text; JSON Lines can hold it"
                raise OutputError("Parquet", detail=detail)
        added = self._columns.added
        known = {} if source is None else {field.name: field.type for field in source if field.name not in added}
        return known | {name: _arrow_type(pa, kind) for name, kind in added.items() if kind is not object}

    def head(self) -> bytes:
        return b""

    def row(self, record: Record, added: Mapping[str, Any], error: str) -> bytes:
        return self._append([self._admit_row(record, added, error)])

    def rows(self, record: Record, added: Sequence[Mapping[str, Any]]) -> bytes:
        """Return several rows of a record, all or none of them. Raises as ``row`` does."""
        return self._append([self._admit_row(record, each, "") for each in added])

    def _admit_row(self, record: Record, added: Mapping[str, Any], error: str) -> dict[str, Any]:
        row = merge_row(record, added, error, self._columns)
        problems = {}
        for name, value in row.items():
            try:
                if value is not None:
                    self._admit(name, value)
            except _UnrepresentableError as problem:
                problems[name] = problem
        if error:
            row |= dict.fromkeys(problems)
            if ERROR_COLUMN in problems:  # it quotes what the record has
                row[ERROR_COLUMN] = error.encode("utf-8", "backslashreplace").decode()
        elif problems:
            detail = f"{next(iter(problems.values()))}; JSON Lines can hold it (-o FILE.jsonl)"
            raise BadDocument(record.file, line=record.line, detail=detail)
        return row

    def _append(self, rows: Sequence[dict[str, Any]]) -> bytes:
        self._rows += rows
        if len(self._rows) >= _GROUP_ROWS:
            self._write_group()
        return self._sink.take()

    def _admit(self, name: str, value: Any) -> None:
        """Let a column have a value, whose type may widen that of the column before the first row group is written.

        Raises ``_UnrepresentableError``.
        """
        pa, known = self._pa, self._types.get(name)
        number = _find_unrepresentable(value)
        if number is not None:
            raise _UnrepresentableError(f"{number} has more digits than a number of Parquet")
        try:
            if known is not None and not pa.types.is_nested(known) and _is_of_type(pa, value, known):
                return
            source = self._columns.source.arrow_schema
            is_new = name in self._columns.added
            if self._columns.added[name] is not object if is_new else (source is not None and name in self._types):
                pa.array([value], type=known)
                return
            found = pa.array([value]).type
            wider = found if known is None else self._unify(known, found)
            if _has_empty_object(pa, wider):
                raise _UnrepresentableError(f"the column {name} has an empty object, which Parquet cannot hold")
            if wider == known:
                pa.array([value], type=known)
            elif self._schema is None:
                pa.array([*(row.get(name) for row in self._rows), value], type=wider)
                self._types[name] = wider
            else:
                raise pa.ArrowInvalid(f"{found} is not {known}")
        except OverflowError as error:
            raise _UnrepresentableError(f"the column {name} has a number beyond 64 bits") from error
        except UnicodeEncodeError as error:
            raise _UnrepresentableError(f"the column {name} has a lone surrogate, which is no Unicode text") from error
        except (pa.ArrowException, TypeError, ValueError) as error:
            holds = f"the column {name} holds {'values of one type' if known is None else known}"
            raise _UnrepresentableError(f"{holds}, and this value is of another type") from error

    def _unify(self, one: Any, other: Any) -> Any:
        """Return a type that holds the values of both. Raises ``ArrowTypeError`` where there is none."""
        schemas = [self._pa.schema([("", each)]) for each in (one, other)]
        return self._pa.unify_schemas(schemas, promote_options="permissive").field(0).type

    def tail(self) -> bytes:
        self._write_group()
        self._writer.close()
        return self._sink.take()

    def _write_group(self) -> None:
        pa = self._pa
        try:
            if self._writer is None:
                self._schema = self._make_schema()
                self._writer = self._pq.ParquetWriter(self._sink, self._schema)
            if self._rows:
                self._writer.write_table(pa.Table.from_pylist(self._rows, schema=self._schema))
        except pa.ArrowException as error:
            raise OutputError("Parquet", detail=f"it cannot hold these columns: {error}") from error
        self._rows = []

    def _make_schema(self) -> Any:
        """Return the schema; a column without a value holds texts."""
        pa, source = self._pa, self._columns.source.arrow_schema
        kept = {} if source is None else {field.name: field for field in source}
        for name in self._names:
            self._types.setdefault(name, pa.string())
        fields = [
            kept[name] if name in kept and name not in self._columns.added else pa.field(name, self._types[name])
            for name in self._names
        ]
        return pa.schema(fields, metadata=source.metadata if source is not None else None)


def _arrow_type(pa: Any, kind: ColumnType) -> Any:
    """Return the type of a column whose values do not decide it."""
    if isinstance(kind, list):
        return pa.list_(_arrow_type(pa, kind[0]))
    if isinstance(kind, dict):
        return pa.struct([(name, _arrow_type(pa, each)) for name, each in kind.items()])
    vector = pa.list_(pa.float32())
    return {str: pa.string(), float: pa.float64(), int: pa.int64(), bool: pa.bool_(), list: vector}[kind]


class _UnrepresentableError(Exception):
    """A value that a column cannot hold; its text says why."""


def _is_of_type(pa: Any, value: Any, known: Any) -> bool:
    """Return whether a scalar needs no conversion to be told that it fits."""
    kind = type(value)
    if kind is str:
        return bool(known == pa.string()) and not _has_surrogate(value)
    if kind is int:
        return bool(known == pa.int64()) and -(2**63) <= value < 2**63
    return (kind is bool and bool(known == pa.bool_())) or (isinstance(value, float) and bool(known == pa.float64()))


def _has_surrogate(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return True
    return False


def _has_empty_object(pa: Any, kind: Any) -> bool:
    """Return whether a type is or contains an object without fields."""
    if pa.types.is_struct(kind):
        return kind.num_fields == 0 or any(_has_empty_object(pa, field.type) for field in kind)
    return bool(pa.types.is_list(kind)) and _has_empty_object(pa, kind.value_type)


def _find_unrepresentable(value: Any) -> SpelledNumber | None:
    """Return a number of JSON that is not the shortest decimal of its nearest float; None if there is none."""
    if isinstance(value, SpelledNumber):
        return None if Decimal(value.spelling) == Decimal(float.__repr__(value)) else value
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return next((found for found in map(_find_unrepresentable, inner) if found is not None), None)


class _ByteBuffer:
    """A writable file whose content is taken from it as it grows."""

    closed = False

    def __init__(self) -> None:
        self._parts: list[bytes] = []
        self._size = 0

    def write(self, data: Any) -> int:
        self._parts.append(bytes(data))
        self._size += len(self._parts[-1])
        return len(self._parts[-1])

    def tell(self) -> int:
        return self._size

    def flush(self) -> None:
        """Do nothing."""

    def close(self) -> None:
        """Do nothing: the content is taken afterwards."""

    def writable(self) -> bool:
        return True

    def readable(self) -> bool:
        return False

    def seekable(self) -> bool:
        return False

    def take(self) -> bytes:
        """Return what was written since the last call."""
        parts, self._parts = self._parts, []
        return b"".join(parts)


def interleave_tables(paths: Sequence[str], order: Iterable[tuple[int, int]]) -> Iterator[bytes]:
    """Yield a Parquet file with the rows of others: ``order`` names for each record its file, and 1 if it has a row.

    Columns whose types differ get one that holds all. Raises ``BadDocument`` where there is none.
    """
    pa, pq = _import_pyarrow()
    files = [pq.ParquetFile(path) for path in paths]
    try:
        schema = pa.unify_schemas([file.schema_arrow for file in files], promote_options="permissive")
    except pa.ArrowException as error:
        raise BadDocument(paths[0], detail=f"the parts have columns of different types: {error}") from error
    sources = [_TableRows(pa, file) for file in files]
    sink = _ByteBuffer()
    with pq.ParquetWriter(sink, schema) as writer:
        numbers = (number for number, length in order if length)
        while group := list(itertools.islice(numbers, _GROUP_ROWS)):
            counts = [0] * len(files)
            places = []
            for number in group:  # its row is that many rows behind the first one of its file
                places.append(counts[number])
                counts[number] += 1
            begins = list(itertools.accumulate(counts, initial=0))
            rows = [source.take(count).cast(schema) for source, count in zip(sources, counts, strict=True)]
            chosen = [begins[number] + place for number, place in zip(group, places, strict=True)]
            writer.write_table(pa.concat_tables(rows).take(chosen))
            yield sink.take()
    yield sink.take()


class _TableRows:
    """The rows of a Parquet file as tables of any length, one after the other."""

    def __init__(self, pa: Any, file: Any) -> None:
        self._pa = pa
        self._batches = file.iter_batches(batch_size=_GROUP_ROWS)
        self._rows = file.schema_arrow.empty_table()

    def take(self, count: int) -> Any:
        """Return the next ``count`` rows."""
        while self._rows.num_rows < count:
            self._rows = self._pa.concat_tables([self._rows, self._pa.Table.from_batches([next(self._batches)])])
        taken, self._rows = self._rows.slice(0, count), self._rows.slice(count)
        return taken


class ParquetFormat:
    """The format Parquet."""

    def open_reader(self, stream: BufferedReader, name: str, options: ReadOptions) -> ParquetReader:
        del options
        return ParquetReader(stream, name)

    def open_writer(self, columns: OutputColumns) -> ParquetWriter:
        return ParquetWriter(columns)


FORMAT = ParquetFormat()
