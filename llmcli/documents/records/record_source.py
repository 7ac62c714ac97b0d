"""The records of one or several inputs, numbered consecutively, as a stream."""

from __future__ import annotations

import codecs
import itertools
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack
from io import BufferedReader
from typing import Any

from llmcli.documents.format_registry import load_record_format, record_format_by_suffix, sniff_record_format
from llmcli.documents.reading.file_reader import require_unchanged
from llmcli.documents.records.formats.record_format import ReadOptions, RecordReader
from llmcli.documents.records.record import TEXT_COLUMN, Record, RecordSchema, find_field, value_as_text
from llmcli.errors import BadDocument, LlmError, UsageError
from llmcli.fast_dataclass import frozen


@frozen
class RecordInput:
    """One input. ``open`` returns its stream; ``size`` in bytes, None for a pipe.

    ``open`` raises ``MissingError`` and ``IsADirectory``.
    """

    name: str
    open: Callable[[], AbstractContextManager[BufferedReader]]
    size: int | None = None


class RecordSource:
    """The records of ``inputs``; iterate once. ``open`` may be called before, to learn the schema.

    At the end of an input, ``BadDocument`` is raised if it has changed while it was read.

    ``format_name`` None: found for the first input by its name or content. All inputs have the format and, if it is
    delimited, the columns of the first one. ``is_table`` is as in ``sniff_record_format``. With several inputs, one
    that cannot be opened is added to ``failed`` instead of raising, unless none can be opened.
    """

    def __init__(
        self,
        inputs: Sequence[RecordInput],
        format_name: str | None = None,
        options: ReadOptions | None = None,
        *,
        is_table: bool = False,
    ) -> None:
        self.failed: list[tuple[str, LlmError]] = []
        self._inputs = list(inputs)
        self._several = len(inputs) > 1
        self.names = [each.name for each in inputs]
        """The names of the inputs."""
        self._format_name = format_name
        self._options = options or ReadOptions()
        self._is_table = is_table
        self._stack = ExitStack()
        self._reader: RecordReader | None = None
        self._stream: tuple[BufferedReader, str] | None = None
        self._current = ""
        self._bytes_before = 0
        sizes = [each.size for each in inputs]
        self.size = None if None in sizes else sum(size or 0 for size in sizes)
        """Bytes of all inputs, None if unknown."""

    @property
    def paths(self) -> list[str] | None:
        """The paths of the inputs, None if one is no file."""
        return None if self.is_stream else self.names

    @property
    def is_stream(self) -> bool:
        """Whether an input is a pipe or a terminal, so that opening it may wait for its first bytes."""
        return self.size is None

    @property
    def position(self) -> int:
        """Bytes of all inputs that were read."""
        return self._bytes_before + (self._reader.position if self._reader else 0)

    def open(self) -> RecordSchema:
        """Open the first input that can be opened and return its schema.

        Raises ``BadDocument``, ``BinaryInput``, ``NotUtf8``, ``UsageError``, and what opening raises.
        """
        if self._reader is None:
            self._reader = self._open_next()
            if self._reader is None:
                raise self.failed[0][1]
        return self._reader.schema

    def require_unchanged(self) -> None:
        """Raise ``BadDocument`` if the input that is open no longer has the bytes that were read of it."""
        if self._stream is not None:
            require_unchanged(*self._stream)

    def close(self) -> None:
        """Close the input that is open."""
        self._stream = None
        self._stack.close()

    def __iter__(self) -> Iterator[Record]:
        schema, index = self.open(), 0
        reader = self._reader
        while reader is not None:
            self._require_same_columns(schema, reader.schema)
            for record in reader:
                record.index = index
                record.file = self._current
                yield record
                index += 1
            self.require_unchanged()
            self._bytes_before += reader.position
            self._reader = None
            self.close()
            reader = self._reader = self._open_next()

    def _open_next(self) -> RecordReader | None:
        while self._inputs:
            each = self._inputs.pop(0)
            try:
                stream = self._stack.enter_context(each.open())
            except LlmError as error:
                if not self._several:
                    raise
                self.failed.append((each.name, error))
                continue
            self._stream = stream, each.name
            self._current = each.name if self._several else ""
            if self._format_name is None:
                beginning = stream.peek(1)
                self._format_name = sniff_record_format(each.name, beginning, is_table=self._is_table)
                _refuse_json_array(each.name, beginning, self._format_name)
            return load_record_format(self._format_name).open_reader(stream, each.name, self._options)
        return None

    def _require_same_columns(self, first: RecordSchema, schema: RecordSchema) -> None:
        is_empty = not schema.columns
        if schema.format != "jsonl" and schema.columns != first.columns and not is_empty:
            raise UsageError(
                f"{self._current} has other columns than the first input: {', '.join(schema.columns)}",
                detail="Process it in a command of its own.",
            )


def _refuse_json_array(name: str, beginning: bytes, format_name: str) -> None:
    """Raise ``BadDocument`` for an array of JSON: by the file's name, or, if it shows no format, by an object in it."""
    text = beginning.removeprefix(codecs.BOM_UTF8).lstrip()
    is_named = name.lower().endswith(".json")
    if format_name == "jsonl" or not text.startswith(b"["):
        return
    if is_named or (record_format_by_suffix(name) is None and text[1:].lstrip().startswith(b"{")):
        detail = "it is one JSON array; Try: jq -c '.[]' FILE > FILE.jsonl"
        raise BadDocument(name, detail=detail)


_DIGEST_BYTES = 16
_MAX_NAMES, _MAX_NAME_CHARS = 30, 60
"""How many columns an error lists, and how much of each name."""


@frozen
class TextChoice:
    """The text of a record: a template rendered with its fields, or columns joined by newlines.

    ``required`` False: without either, it is all columns of a table.
    """

    columns: tuple[str, ...] = ()
    template: Callable[[Mapping[str, Any]], str] | None = None
    required: bool = True

    def resolve(self, schema: RecordSchema, name: str = "the input") -> TextChoice:
        """Return the choice with the default column: the only one, or ``text``; ``name`` is that of the file.

        Raises ``UsageError`` when there is no default, or when a table has no such column.
        """
        if self.template is not None and not self.columns:
            return self
        names = schema.columns
        columns = self.columns
        if not columns and not self.required:
            return self
        if not columns:
            default = names[0] if len(names) == 1 else TEXT_COLUMN
            if default not in names and names:
                raise UsageError("which column holds the text?", detail=_list_columns(names))
            return TextChoice((default,), self.template)
        require_columns(schema, columns, "--column", name)
        return self

    def apply(self, record: Record) -> None:
        """Set the record's text; a record without the field becomes malformed."""
        if record.error is not None:
            return
        try:
            if self.template is not None:
                record.text = self.template(record.fields)
            elif record.fields:
                names = self.columns or tuple(record.fields)
                texts = [value_as_text(find_field(record.fields, name)) for name in names]
                record.text = texts[0] if len(texts) == 1 else "\n".join(texts)
        except KeyError as error:
            record.error = BadDocument(record.file, line=record.line, detail=f"it has no field {error.args[0]}")
        except LlmError as error:
            record.error = error


def require_columns(schema: RecordSchema, columns: Sequence[str], option: str, name: str = "the input") -> None:
    """Raise ``UsageError`` if the table ``name`` does not have these columns of an option."""
    names = schema.columns
    if schema.format != "jsonl" and names:  # an empty input has no columns
        missing = [column for column in columns if not _has_field(names, column)]
        if missing:
            raise UsageError(f"{name} has no column {', '.join(missing)}", detail=_list_columns(names, option))


def _has_field(names: Sequence[str], column: str) -> bool:
    return column in names or ("." in column and column.partition(".")[0] in names)


def _list_columns(names: Sequence[str], option: str = "--column") -> str:
    shown = [name if len(name) <= _MAX_NAME_CHARS else f"{name[:_MAX_NAME_CHARS]}..." for name in names[:_MAX_NAMES]]
    more = f" and {len(names) - _MAX_NAMES} more" if len(names) > _MAX_NAMES else ""
    return f"Try: {option} NAME, one of {', '.join(shown)}{more}" if names else f"Try: {option} NAME"


@frozen
class RecordSelection:
    """Which records of an input are processed: the first ``limit``, or ``sample`` random ones, by ``seed``.

    With both, the sample is drawn from the first ``limit`` records.
    """

    limit: int | None = None
    sample: int | None = None
    seed: int = 0

    def apply(self, records: Iterable[Record]) -> Iterator[Record]:
        """Yield the chosen records in the order of the input; ``index`` numbers them anew.

        A sample reads the whole input before it yields the first record, and holds only the sample in memory.
        """
        chosen: Iterable[Record] = itertools.islice(records, self.limit)
        if self.sample is not None:
            chosen = draw_sample(chosen, self.sample, self.seed)
        for index, record in enumerate(chosen):
            record.index = index
            yield record


def draw_sample(records: Iterable[Record], count: int, seed: int) -> list[Record]:
    """Return ``count`` records drawn without replacement, each set equally probable, in the order of the input.

    Algorithm R (Vitter 1985, Random Sampling with a Reservoir).
    """
    import random

    chance = random.Random(seed)  # noqa: S311 (a sample, no secret)
    reservoir: list[Record] = []
    for number, record in enumerate(records):
        if number < count:
            reservoir.append(record)
        else:
            position = chance.randrange(number + 1)
            if position < count:
                reservoir[position] = record
    return sorted(reservoir, key=lambda record: record.index)


def chain_digests(records: Iterable[Record]) -> Iterator[Record]:
    """Set the digest of each record: a hash of its bytes and of the digest of the record before it."""
    import hashlib

    digest = b""
    for record in records:
        digest = hashlib.blake2b(record.raw, key=digest, digest_size=_DIGEST_BYTES).digest()
        record.digest = digest
        yield record
