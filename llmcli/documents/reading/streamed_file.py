"""Text files that are too large to be kept in memory: they are read in blocks, each of whole paragraphs if possible."""

from __future__ import annotations

import codecs
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Protocol

from llmcli.documents.format_registry import JSON_LINES, find_reader_by_name
from llmcli.documents.reading.document import Document, bad_table, decode_utf8, refuse_binary
from llmcli.documents.reading.file_reader import MAX_TEXT_BYTES, TOO_LARGE, is_large_file, open_stream
from llmcli.documents.reading.passages import number_passages
from llmcli.documents.reading.source_reader import find_source_format, is_plain_text, read_source
from llmcli.documents.text_lines import count_line_ends
from llmcli.errors import BadDocument, BinaryInput, NotUtf8
from llmcli.fast_dataclass import frozen
from llmcli.interrupt import Interrupt, check_interrupt

BLOCK_CHARS = 1 << 17
"""About how long a block is: at most twice as long."""
_READ_BYTES = 1 << 17
_HEAD_BYTES = 100_000
_MAX_LINE_CHARS = 16_000_000
_LINE_START = r"(?:\A|(?<=\n)|(?<=\r)(?!\n))"
_BORDER = re.compile(
    rf"{_LINE_START}(?: {{0,3}}(?P<fence>```|~~~)|[ \t]*(?P<blank>\r\n|\r(?!\n|\Z)|\n)(?=[ \t]*[^\s]))"
)
"""A fence of code, or a blank line before a line that is not blank."""
_LINE_END = re.compile(r"\r\n|\r(?!\n|\Z)|\n")


@frozen
class TextBlock:
    """A part of a text, which begins after ``start`` characters, in line ``first_line`` (from 1)."""

    text: str
    start: int
    first_line: int


class StreamedText(Protocol):
    """A text that is read in blocks."""

    @property
    def name(self) -> str:
        """What the text is called."""
        ...

    def blocks(self) -> Iterator[TextBlock]:
        """Yield the text in blocks."""
        ...

    def read_whole(self) -> Document:
        """Return the text as a document. Raises ``BadDocument`` if it is too large to be kept."""
        ...


@frozen
class StreamedFile:
    """A text in the file ``path``: ``name`` as the user typed it, ``characters`` and ``sha256`` of the text.

    ``sha256`` is that of its UTF-8 bytes without a byte order mark. ``table``: the file is a table or JSON by its name.
    ``size``: the bytes of the file when it was opened. Each reading ends there, so that a log may grow meanwhile.
    """

    name: str
    path: Path
    characters: int
    sha256: str
    table: bool = False
    size: int | None = None

    def blocks(self) -> Iterator[TextBlock]:
        """Yield the text in blocks of about ``BLOCK_CHARS`` characters, which together are the text.

        A block ends between paragraphs outside of fenced code, else at the end of a line, else anywhere. Raises
        ``BadDocument`` at the end of a text that changed since it was opened, and what ``open_streamed_file`` raises.
        """
        pending, start, line = "", 0, 1
        for piece in self._pieces():
            pending += piece
            while len(pending) > 2 * BLOCK_CHARS:
                cut = _find_cut(pending, BLOCK_CHARS)
                text, pending = pending[:cut], pending[cut:]
                yield TextBlock(text, start, line)
                start, line = start + cut, line + count_line_ends(text)
        if pending:
            yield TextBlock(pending, start, line)

    def lines(self) -> Iterator[str]:
        """Yield the lines with their ends.

        Raises as ``blocks`` does, and ``BadDocument`` for a line that is too long.
        """
        pending = ""
        for piece in self._pieces():
            *lines, pending = re.split(r"(?<=\n)", pending + piece)
            yield from lines
            if len(pending) > _MAX_LINE_CHARS:
                raise BadDocument(self.name, detail=f"it has a line of more than {_MAX_LINE_CHARS:,} characters")
        if pending:
            yield pending

    def _pieces(self) -> Iterator[str]:
        """Yield the text as it was when it was opened. Raises ``BadDocument`` at its end if it is another one now."""
        import hashlib

        digest = hashlib.sha256()
        for piece in _decode(self.name, str(self.path), self.size):
            digest.update(piece.encode())
            yield piece
        self._check_unchanged(digest.hexdigest())

    def _check_unchanged(self, sha256: str) -> None:
        if sha256 != self.sha256:
            raise BadDocument(self.name, detail="the file changed while it was read")

    def read_overview(self) -> Document:
        """Return the overview of a table or of JSON, as ``read_source`` does.

        Raises as ``blocks`` does, and ``BadDocument`` for one that its reader cannot read.
        """
        from llmcli.documents.reading.sources.json_source import describe_json_lines
        from llmcli.documents.reading.sources.table_source import describe_csv

        found = find_reader_by_name(self.path.name)
        kind = found.name if found is not None else "csv"
        if kind == "json":
            whole = self.read_whole()
            return read_source(whole.text.encode(), self.name, self.path)
        is_json = kind == JSON_LINES
        overview = describe_json_lines(self.lines()) if is_json else describe_csv(self.lines(), self.name)
        try:
            source = number_passages(self.name, overview, kind)
        except BadDocument as error:
            raise bad_table(self.name, error) from error
        return Document(self.name, source.text, self.path, source=source)

    def read_whole(self) -> Document:
        """Return the text as a document. Raises ``BadDocument`` if it is too large to be kept."""
        if self.path.stat().st_size > MAX_TEXT_BYTES:
            raise BadDocument(self.name, detail=TOO_LARGE)
        with open_stream(str(self.path), Interrupt()) as stream:
            text, bom = decode_utf8(stream.read(-1 if self.size is None else self.size), self.name)
        import hashlib

        self._check_unchanged(hashlib.sha256(text.encode()).hexdigest())
        return Document(self.name, text, self.path, bom)


def open_streamed_file(name: str) -> StreamedFile | None:
    """Return the text in the file ``name`` if it is too large to be read as a whole; None if that is not so.

    The whole file is read once. Raises ``BinaryInput``, ``NotUtf8`` (with the offset), ``BadDocument`` for content that
    is not what the name says, and what ``open_stream`` raises.
    """
    if not is_large_file(name):
        return None
    with open_stream(name, Interrupt()) as stream:
        head = stream.read(_HEAD_BYTES)
    found = find_source_format(head, name) if is_plain_text(head) else None
    if not is_plain_text(head) or (found is not None and not found.is_text):
        return None
    import hashlib

    digest, characters, size = hashlib.sha256(), 0, Path(name).stat().st_size
    for piece in _decode(name, name, size):
        digest.update(piece.encode())
        characters += len(piece)
    return StreamedFile(name, Path(name), characters, digest.hexdigest(), found is not None, size)


def _decode(name: str, file: str, size: int | None = None) -> Iterator[str]:
    """Yield the text of the first ``size`` bytes of a file (None: all) without its byte order mark."""
    decoder = codecs.getincrementaldecoder("utf-8")()
    offset = 0  # of the bytes that the decoder has not returned yet
    with open_stream(file, Interrupt()) as stream:
        while True:
            check_interrupt()
            data = stream.read(_READ_BYTES if size is None else min(_READ_BYTES, size - offset))
            if not offset:
                refuse_binary(data, name)
            kept = len(decoder.getstate()[0])
            try:
                text = decoder.decode(data, final=not data)
            except UnicodeDecodeError as error:
                raise NotUtf8(name, offset=offset - kept + error.start) from error
            if "\0" in text:
                raise BinaryInput(name)
            if not offset:
                text = text.removeprefix("\ufeff")
            offset += len(data)
            if text:
                yield text
            if not data:
                return


def _find_cut(text: str, size: int) -> int:
    """Return where to cut a text after about ``size`` characters, at most twice as many."""
    cut, fence = 0, ""
    for match in _BORDER.finditer(text, 0, 2 * size):
        if match["fence"]:
            fence = "" if match["fence"] == fence else fence or match["fence"]
        elif not fence:
            cut = match.end()
            if cut >= size:
                return cut
    if cut:
        return cut
    for match in _LINE_END.finditer(text, 0, 2 * size):
        cut = match.end()
        if cut >= size:
            break
    return cut or text.rfind(" ", 0, size) + 1 or size


def iter_text_blocks(document: Document | StreamedText) -> Iterator[TextBlock]:
    """Return the blocks of a text: of one that is kept in memory, only one."""
    if isinstance(document, Document):
        return iter([TextBlock(document.text, 0, 1)])
    return document.blocks()
