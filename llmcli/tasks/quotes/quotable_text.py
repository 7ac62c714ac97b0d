"""Passages that can be quoted, and quotes that know where they stand: offsets, page, lines."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator
from functools import cached_property
from typing import TYPE_CHECKING, Any

from llmcli.documents.reading.document import Document
from llmcli.documents.reading.passages import SEPARATOR
from llmcli.documents.sentences import find_sentences
from llmcli.documents.text_lines import line_starts
from llmcli.fast_dataclass import asdict, frozen, replace

if TYPE_CHECKING:
    from llmcli.documents.reading.streamed_file import StreamedFile, TextBlock
    from llmcli.tasks.quotes.quote_alignment import QuoteAligner, QuoteAlignment


@frozen
class Quote:
    """A part of a document, ``text[start:end]`` of its text, character by character.

    ``source`` is its name, with the attachment after ": "; ``page`` and ``last_page`` count from 1 (None: the format
    has no pages); ``first_line`` and ``last_line`` are lines of the document's text, from 1. ``occurrences``: how often
    it stands in the passage it was taken from; this is the first one. ``exact`` is False if the model's words were not
    these, but nearly so, and ``similarity`` (0 to 1) says how nearly.
    """

    text: str
    start: int
    end: int
    source: str
    page: int | None
    last_page: int | None
    first_line: int
    last_line: int
    occurrences: int = 1
    exact: bool = True
    similarity: float = 1.0

    @property
    def line(self) -> str:
        """The text in one line."""
        return " ".join(self.text.split())

    @property
    def place(self) -> str:
        """Where it stands, as people write it: "report.pdf, p. 3" or "notes.txt, lines 4-5"."""
        if self.page is not None:
            last = self.last_page or self.page
            return f"{self.source}, p. {self.page}" if last == self.page else f"{self.source}, pp. {self.page}-{last}"
        return f"{self.source}, {format_line_range(self.first_line, self.last_line)}"

    def to_json(self) -> dict[str, Any]:
        """Return the fields as an object."""
        return {**asdict(self), "similarity": round(self.similarity, 4)}


@frozen
class SectionStart:
    """From ``offset`` in a document's text, the text is of this ``source`` and page."""

    offset: int
    source: str
    page: int | None


@frozen
class QuotableDocument:
    """The text of a document and where its pages and attachments begin; ``number`` is its position among the inputs.

    A block of a larger text begins after ``offset`` characters of that, in its line ``first_line``; the places of
    quotes are those in the larger text.
    """

    name: str
    text: str
    sections: tuple[SectionStart, ...] = ()
    number: int = 0
    offset: int = 0
    first_line: int = 1

    @classmethod
    def from_document(cls, document: Document, number: int = 0) -> QuotableDocument:
        """Return the quotable text of a document that was read."""
        return cls(document.name, document.text, tuple(_find_sections(document)), number)

    @classmethod
    def from_block(cls, document: Document | StreamedFile, block: TextBlock, number: int = 0) -> QuotableDocument:
        """Return the quotable text of a block of ``iter_text_blocks``; a document in memory is one block."""
        if isinstance(document, Document):
            return cls.from_document(document, number)
        return cls(document.name, block.text, (), number, block.start, block.first_line)

    @cached_property
    def _line_starts(self) -> list[int]:
        return line_starts(self.text)

    @cached_property
    def _section_offsets(self) -> list[int]:
        return [section.offset for section in self.sections]

    def whole(self) -> PassageSpan:
        """Return the whole text as one passage."""
        return PassageSpan(self, 0, len(self.text))

    def quote(
        self, start: int, end: int, *, occurrences: int = 1, exact: bool = True, similarity: float = 1.0
    ) -> Quote:
        """Return the quote of a range of the text, which is not empty."""
        first, last = self._section_at(start), self._section_at(end - 1)
        return Quote(
            self.text[start:end],
            start + self.offset,
            end + self.offset,
            self.name if first is None else first.source,
            None if first is None else first.page,
            None if last is None else last.page,
            self.line_of(start),
            self.line_of(end - 1),
            occurrences,
            exact,
            similarity,
        )

    def line_of(self, position: int) -> int:
        """Return the line of a position in the text."""
        return bisect_right(self._line_starts, position) + self.first_line - 1

    def column_of(self, position: int) -> int:
        """Return the column of a position in the text, in characters from 1."""
        return position - self._line_starts[bisect_right(self._line_starts, position) - 1] + 1

    def _section_at(self, offset: int) -> SectionStart | None:
        index = bisect_right(self._section_offsets, offset) - 1
        return self.sections[index] if index >= 0 else None


def format_line_range(first: int, last: int) -> str:
    """Return the lines of a quote, as people write them: "line 4" or "lines 4-5"."""
    return f"line {first}" if first == last else f"lines {first}-{last}"


@frozen
class PassageSpan:
    """The passage ``document.text[start:end]``, from which a model may quote."""

    document: QuotableDocument
    start: int
    end: int

    @property
    def text(self) -> str:
        """The text of the passage."""
        return self.document.text[self.start : self.end]

    def detach(self) -> PassageSpan:
        """Return the passage without the rest of its document; its quotes have the same places."""
        document = self.document
        sections = [section for section in document.sections if section.offset < self.end]
        own = [section for section in sections if section.offset > self.start]
        first = sections[: len(sections) - len(own)][-1:]
        return QuotableDocument(
            document.name,
            self.text,
            tuple(replace(each, offset=max(0, each.offset - self.start)) for each in [*first, *own]),
            document.number,
            document.offset + self.start,
            document.line_of(self.start),
        ).whole()

    def sentences_around(self, quote: Quote) -> PassageSpan:
        """Return the sentences of the passage that a quote from it touches."""
        start, end = quote.start - self.document.offset, quote.end - self.document.offset
        touched = [
            (first + self.start, last + self.start)
            for first, last in find_sentences(self.text)
            if first + self.start < end and start < last + self.start
        ]
        first = min([start, *(span[0] for span in touched)])
        return PassageSpan(self.document, first, max([end, *(span[1] for span in touched)]))

    @cached_property
    def _aligner(self) -> QuoteAligner:
        from llmcli.tasks.quotes.quote_alignment import QuoteAligner

        return QuoteAligner(self.text)

    def locate(self, words: str, *, min_similarity: float = 1.0) -> Quote | None:
        """Return the first place where ``words`` stand in the passage, whatever the white space between them.

        Below a ``min_similarity`` of 1, words that differ in case, in typographic marks or in a few words are found as
        well; the quote then has the text of the passage. None if they do not stand there, or are blank.
        """
        return self.quote_alignment(self._aligner.align(words, min_similarity))

    def quote_alignment(self, found: QuoteAlignment | None) -> Quote | None:
        """Return the quote of a place in the passage."""
        if found is None:
            return None
        return self.document.quote(
            self.start + found.start,
            self.start + found.end,
            occurrences=found.occurrences,
            exact=found.exact,
            similarity=found.similarity,
        )


def _find_sections(document: Document) -> Iterator[SectionStart]:
    """Yield where the sections of a document begin that another format was read into; a text has none."""
    at = 0
    for passage in () if document.source is None else document.source.passages:
        yield SectionStart(at, passage.source, passage.page)
        at += len(passage.text) + len(SEPARATOR)
