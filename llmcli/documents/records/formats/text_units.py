"""Text in other units than lines: a paragraph, a sentence or a whole document is a record. Results are lines."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from io import BufferedReader

from llmcli.documents.reading.document import Document, open_document
from llmcli.documents.reading.file_reader import MAX_BINARY_BYTES
from llmcli.documents.reading.source_reader import find_source_format, is_plain_text, read_source
from llmcli.documents.records.byte_lines import MAX_RECORD_BYTES, ByteLines
from llmcli.documents.records.formats.record_format import OutputColumns, ReadOptions, RecordReader, RecordWriter
from llmcli.documents.records.record import TEXT_COLUMN, Record, RecordSchema
from llmcli.documents.sentences import sentence_ends
from llmcli.documents.text_cutting import split_at
from llmcli.errors import BadDocument, InputError, LlmError, MissingExtra, UsageError
from llmcli.interrupt import run_interruptible

_Block = tuple[int, list[str], bytes, LlmError | None]
"""The number of the first line, the texts of the lines, their bytes, and what is wrong with them."""


class TextUnitReader:
    """Reads blocks of lines and splits each into records; ``line`` of a record is where it begins.

    Blocks end at blank lines, which belong to no record.
    """

    def __init__(self, stream: BufferedReader, name: str, split: Callable[[str], list[str]]) -> None:
        self.schema = RecordSchema("lines", (TEXT_COLUMN,))
        self._lines = ByteLines(stream, name)
        self._split = split

    @property
    def position(self) -> int:
        return self._lines.end

    def __iter__(self) -> Iterator[Record]:
        index = 0
        for first, texts, data, error in self._blocks():
            line, raw = first, data
            whole = "".join(texts)
            for piece in [whole] if error is not None else self._split(whole):
                found = piece.strip()
                yield Record(index, found, line, fields={TEXT_COLUMN: found}, raw=raw, error=error)
                index += 1
                line += piece.count("\n")
                raw = b""  # the bytes of a block belong to its first record

    def _blocks(self) -> Iterator[_Block]:
        first, texts, raw, problem = 1, list[str](), list[bytes](), None
        size = 0
        while line := self._lines.read():
            text, error = self._lines.decode(line)
            if error is None and not text.strip():
                if texts:
                    yield first, texts, b"".join(raw), problem
                texts, raw, problem, size = [], [], None, 0
                continue
            if not texts:
                first = self._lines.number
            texts.append(text)
            raw.append(line)
            size += len(line)
            problem = problem or error
            if size > MAX_RECORD_BYTES:
                texts, raw = [""], []
                problem = BadDocument(self._lines.name, line=first, detail="the record is longer than 64 MiB")
        if texts:
            yield first, texts, b"".join(raw), problem


class TextUnitFormat:
    """A format whose records are the pieces that ``split`` makes of a block."""

    def __init__(self, split: Callable[[str], list[str]]) -> None:
        self._split = split

    def open_reader(self, stream: BufferedReader, name: str, options: ReadOptions) -> RecordReader:
        del options
        return TextUnitReader(stream, name, self._split)

    def open_writer(self, columns: OutputColumns) -> RecordWriter:
        """Raises ``UsageError``: results are lines."""
        del columns
        raise UsageError("this format is only for inputs", detail="Try: --output-format lines")


class DocumentReader:
    """Reads the whole input as one record, also an empty one: a text as it is, other documents by their readers."""

    def __init__(self, stream: BufferedReader, name: str) -> None:
        self.schema = RecordSchema("lines", (TEXT_COLUMN,))
        self.position = 0
        self._stream, self._name = stream, name

    def __iter__(self) -> Iterator[Record]:
        data = self._stream.read(MAX_BINARY_BYTES + 1)
        self.position = len(data)
        record = Record(0, "", 1, fields={TEXT_COLUMN: ""}, raw=data)
        try:
            document = run_interruptible(_read_document, data, self._name)
        except (InputError, MissingExtra) as error:
            record.error = error
        else:
            record.text = document.text.strip()
            record.fields = {TEXT_COLUMN: record.text}
            record.notes = tuple(document.notes)
        yield record


def _read_document(data: bytes, name: str) -> Document:
    """Return the document in ``data``; a table or JSON is a text as well, and no overview of it.

    Raises as ``read_source`` and ``open_document``.
    """
    if is_plain_text(data):
        if len(data) > MAX_RECORD_BYTES:
            raise BadDocument(name, detail="the record is longer than 64 MiB")
        found = find_source_format(data, name)
        if found is None or found.is_text:
            return open_document(data, name)
    return read_source(data, name)


class _DocumentFormat(TextUnitFormat):
    """The format whose records are whole inputs."""

    def open_reader(self, stream: BufferedReader, name: str, options: ReadOptions) -> RecordReader:
        del options
        return DocumentReader(stream, name)


def _split_nothing(text: str) -> list[str]:
    return [text]


def _split_into_sentences(text: str) -> list[str]:
    joined = text.rstrip("\r\n")
    return split_at(joined, sentence_ends(joined))


PARAGRAPHS = TextUnitFormat(_split_nothing)
SENTENCES = TextUnitFormat(_split_into_sentences)
DOCUMENT = _DocumentFormat(_split_nothing)
