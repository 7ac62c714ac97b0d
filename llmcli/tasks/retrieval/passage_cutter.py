"""Cuts documents into passages that retrieval compares well: a few paragraphs, never over a heading or page."""

from __future__ import annotations

from collections.abc import Iterator

from llmcli.documents.reading.document import Document
from llmcli.documents.reading.passages import SEPARATOR, Passage
from llmcli.documents.reading.source_reader import Headings, passages_of
from llmcli.documents.reading.streamed_file import StreamedFile
from llmcli.documents.text_cutting import cut_text
from llmcli.documents.text_lines import count_line_ends, line_spans
from llmcli.fast_dataclass import replace
from llmcli.store.passage_index import IndexedPassage

PASSAGE_CHARS = 1_200
"""The longest passage: about 300 tokens of English."""
_MIN_SHARE = 0.4  # a passage shorter than this share of the longest is joined with the next one


def cut_streamed_file(large: StreamedFile, max_chars: int = PASSAGE_CHARS) -> Iterator[IndexedPassage]:
    """Yield the passages of a text that is read in blocks, as ``cut_document`` does.

    Raises as ``StreamedFile.blocks``.
    """
    headings: Headings = []
    for block in large.blocks():
        for each in cut_document(Document(large.name, block.text), max_chars, headings):
            lines = block.first_line - 1
            yield replace(
                each,
                start=each.start + block.start,
                first_line=each.first_line + lines,
                last_line=each.last_line + lines,
            )


def cut_document(
    document: Document, max_chars: int = PASSAGE_CHARS, headings: Headings | None = None
) -> list[IndexedPassage]:
    """Return the passages of a document in its order, none longer than ``max_chars`` characters.

    A passage of the reader (a paragraph, a section, a page) that is too long is cut at paragraphs, sentences or lines;
    short ones that follow each other on one page below one heading are joined. ``headings`` is as in ``passages_of``.
    """
    passages: list[IndexedPassage] = []
    for passage in _cut_sections(document, max_chars, headings):
        last = passages[-1] if passages else None
        if last is not None and _belong_together(last, passage, max_chars):
            text = document.text[last.start : passage.start + len(passage.text)]
            passages[-1] = replace(last, text=text, last_line=passage.last_line)
        else:
            passages.append(passage)
    return passages


def _belong_together(last: IndexedPassage, passage: IndexedPassage, max_chars: int) -> bool:
    same = (last.source, last.page, last.headings) == (passage.source, passage.page, passage.headings)
    short = min(len(last.text), len(passage.text)) < _MIN_SHARE * max_chars
    return same and short and passage.start + len(passage.text) - last.start <= max_chars


def _cut_sections(document: Document, max_chars: int, headings: Headings | None) -> Iterator[IndexedPassage]:
    """Yield the reader's passages, the long ones cut."""
    for section, start, end in _locate(document, headings):
        at, line = start, section.first_line
        for text in cut_text(document.text[start:end], lambda each: len(each) <= max_chars, prose=True):
            blanks, kept = len(text) - len(text.lstrip()), text.strip()
            first = line + count_line_ends(text[:blanks])
            last = first + count_line_ends(kept)
            if kept:
                yield IndexedPassage(
                    document.name, kept, section.source, section.page, first, last, at + blanks, section.headings
                )
            at += len(text)
            line += count_line_ends(text)


def _locate(document: Document, headings: Headings | None) -> Iterator[tuple[Passage, int, int]]:
    """Yield the reader's passages with their offsets in the text of the document."""
    source = passages_of(document, headings)
    if document.source is not None:
        start = 0
        for passage in source.passages:
            yield passage, start, start + len(passage.text)
            start += len(passage.text) + len(SEPARATOR)
        return
    starts = [0, *(end for _, end in line_spans(document.text))]
    for passage in source.passages:
        yield passage, starts[passage.first_line - 1], starts[min(passage.last_line, len(starts) - 1)]
