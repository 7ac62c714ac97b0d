"""Several documents as one text, and where a range of it stands in them."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator, Sequence
from typing import Any

from llmcli.documents.reading.document import Document
from llmcli.documents.reading.file_reader import MAX_TEXT_BYTES, TOO_LARGE
from llmcli.documents.reading.streamed_file import StreamedFile, TextBlock, iter_text_blocks
from llmcli.documents.text_lines import count_line_ends
from llmcli.errors import BadDocument, EmptyInput
from llmcli.fast_dataclass import frozen, replace
from llmcli.interrupt import check_interrupt
from llmcli.tasks.quotes.quotable_text import QuotableDocument
from llmcli.types import ItemFailed, Result, TaskEvent

_SEPARATOR = "\n\n"


@frozen
class _IncludedDocument:
    """A document: its number among the inputs, and where its text begins in the combined one, in which line."""

    number: int
    name: str
    start: int
    size: int
    first_line: int


class CombinedText:
    """The texts of documents, one after the other; with ``headings`` each below its name.

    The documents are read one at a time, and again when their text is needed, so that few are in memory. Those that
    cannot be read or are blank are no part of the text: ``failed``.
    """

    def __init__(self, documents: Sequence[Document | StreamedFile | ItemFailed], *, headings: bool = True) -> None:
        self._documents = documents
        self._headings = headings
        self._included: list[_IncludedDocument] = []
        self._last_read: tuple[int, Document | StreamedFile] | None = None
        unreadable: list[ItemFailed] = []
        blank: list[ItemFailed] = []
        self._size, line = 0, 1
        for number in range(len(documents)):
            check_interrupt()
            document = documents[number]
            if isinstance(document, ItemFailed):
                unreadable.append(document)
            elif isinstance(document, Document) and not document.text.strip():
                blank.append(ItemFailed(0, document.name, EmptyInput(document.name)))
            else:
                head = self._heading(document)
                size = len(document.text) if isinstance(document, Document) else document.characters
                start, first_line = self._size + len(head), line + count_line_ends(head)
                self._included.append(_IncludedDocument(number, document.name, start, size, first_line))
                for piece in self._pieces(document):
                    self._size += len(piece)
                    line += count_line_ends(piece)
        names = {included.name for included in self._included}
        self.failed = [*unreadable, *(each for each in blank if each.name not in names)]
        self._starts = [included.start for included in self._included]

    @property
    def is_empty(self) -> bool:
        """Whether there is no document that could be read."""
        return not self._included

    @property
    def name(self) -> str:
        """The names of the documents, a few of them."""
        names = [each.name for each in self._included]
        shown = ", ".join(names[:2])
        return shown if len(names) <= 2 else f"{shown} and {len(names) - 2} more"  # noqa: PLR2004 (both names are shown)

    def blocks(self) -> Iterator[TextBlock]:
        """Yield the text in blocks. Raises the error of a document that cannot be read any more."""
        start, line = 0, 1
        for included in self._included:
            for piece in self._pieces(self._read(included)):
                yield TextBlock(piece, start, line)
                start += len(piece)
                line += count_line_ends(piece)

    def read_whole(self) -> Document:
        """Return the text as a document.

        Raises ``BadDocument`` if it is too large to be kept, and as ``blocks`` does.
        """
        if self._size > MAX_TEXT_BYTES:
            raise BadDocument(self.name, detail=TOO_LARGE)
        return Document(self.name, "".join(block.text for block in self.blocks()))

    def ranges(self, start: int, end: int) -> Iterator[tuple[Document, int, int]]:
        """Yield the documents in which a range of the text stands, each with the offsets in it.

        Raises as ``blocks``.
        """
        for included, begin, until in self._document_ranges(start, end):
            document = self._read(included)
            yield (document if isinstance(document, Document) else document.read_whole()), begin, until

    def locate_results(self, events: Iterator[TaskEvent]) -> Iterator[TaskEvent]:
        """Yield events about this text, whose places in the results become those in the documents."""
        for event in events:
            yield replace(event, fields=self._locate_fields(event.fields)) if isinstance(event, Result) else event

    def _heading(self, document: Document | StreamedFile) -> str:
        return f"# {' '.join(document.name.split())}{_SEPARATOR}" if self._headings else ""

    def _pieces(self, document: Document | StreamedFile) -> Iterator[str]:
        """Yield the text of a document with its heading and the separator from the next one."""
        piece = self._heading(document)
        for number, block in enumerate(iter_text_blocks(document)):
            if number:
                yield piece
                piece = ""
            piece += block.text
        yield piece + ("" if piece.endswith("\n\n") else "\n" if piece.endswith("\n") else _SEPARATOR)

    def _read(self, included: _IncludedDocument) -> Document | StreamedFile:
        """Return a document; the last one is kept until another one is asked for."""
        if self._last_read is None or self._last_read[0] != included.number:
            self._last_read = None
            document = self._documents[included.number]
            if isinstance(document, ItemFailed):
                raise document.error
            self._last_read = included.number, document
        return self._last_read[1]

    def _document_ranges(self, start: int, end: int) -> Iterator[tuple[_IncludedDocument, int, int]]:
        index = max(0, bisect_right(self._starts, start) - 1)
        while index < len(self._starts) and self._starts[index] < end:
            included = self._included[index]
            begin, until = max(0, start - included.start), min(end - included.start, included.size)
            if begin < until:
                yield included, begin, until
            index += 1

    def _locate_fields(self, fields: Any) -> dict[str, Any]:
        located = dict(fields)
        if "sentences" in fields:
            located["sentences"] = [self._locate_sentence(each) for each in fields["sentences"]]
        return {**located, "documents": [each.name for each in self._included]}

    def _locate_sentence(self, sentence: dict[str, Any]) -> dict[str, Any]:
        included, start, end = next(self._document_ranges(sentence["start"], sentence["end"]))
        document = self._read(included)
        lines_before = included.first_line - 1
        first, last, page = sentence["first_line"] - lines_before, sentence["last_line"] - lines_before, None
        if isinstance(document, Document):
            found = QuotableDocument.from_document(document).quote(start, end)
            first, last, page = found.first_line, found.last_line, found.page
        place = {"start": start, "end": end, "page": page, "first_line": first, "last_line": last}
        return {**sentence, **place, "source": included.name}
