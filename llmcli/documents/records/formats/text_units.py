"""Plain text in other units than lines: a paragraph, a sentence or a whole document is a record. Results are lines."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from io import BufferedReader

from llmcli.documents.records.byte_lines import MAX_RECORD_BYTES, ByteLines
from llmcli.documents.records.formats.record_format import OutputColumns, ReadOptions, RecordWriter
from llmcli.documents.records.record import TEXT_COLUMN, Record, RecordSchema
from llmcli.documents.sentences import sentence_ends
from llmcli.documents.text_cutting import split_at
from llmcli.errors import BadDocument, LlmError, UsageError

_Block = tuple[int, list[str], bytes, LlmError | None]
"""The number of the first line, the texts of the lines, their bytes, and what is wrong with them."""


class TextUnitReader:
    """Reads blocks of lines and splits each into records; ``line`` of a record is where it begins.

    Blocks end at blank lines, which belong to no record; with ``whole``, the input is one block, also an empty one.
    """

    def __init__(
        self, stream: BufferedReader, name: str, split: Callable[[str], list[str]], *, whole: bool = False
    ) -> None:
        self.schema = RecordSchema("lines", (TEXT_COLUMN,))
        self._lines = ByteLines(stream, name)
        self._split = split
        self._whole = whole

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
            if not self._whole and error is None and not text.strip():
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
        if texts or self._whole:
            yield first, texts, b"".join(raw), problem


class TextUnitFormat:
    """A format whose records are the pieces that ``split`` makes of a block; ``whole`` as in ``TextUnitReader``."""

    def __init__(self, split: Callable[[str], list[str]], *, whole: bool = False) -> None:
        self._split = split
        self._whole = whole

    def open_reader(self, stream: BufferedReader, name: str, options: ReadOptions) -> TextUnitReader:
        del options
        return TextUnitReader(stream, name, self._split, whole=self._whole)

    def open_writer(self, columns: OutputColumns) -> RecordWriter:
        """Raises ``UsageError``: results are lines."""
        del columns
        raise UsageError("this format is only for inputs", detail="Try: --output-format lines")


def _split_nothing(text: str) -> list[str]:
    return [text]


def _split_into_sentences(text: str) -> list[str]:
    joined = text.rstrip("\r\n")
    return split_at(joined, sentence_ends(joined))


PARAGRAPHS = TextUnitFormat(_split_nothing)
SENTENCES = TextUnitFormat(_split_into_sentences)
DOCUMENT = TextUnitFormat(_split_nothing, whole=True)
