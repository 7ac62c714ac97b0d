"""Cuts documents into passages of a size that retrieval compares well: a few paragraphs, never over a heading or page."""

from __future__ import annotations

from collections.abc import Iterator

from llmcli.documents.chunking import chunk_text
from llmcli.documents.reading.document import Document
from llmcli.documents.reading.large_text import LargeText, count_line_ends
from llmcli.documents.reading.passages import SEPARATOR, Passage, line_spans
from llmcli.documents.reading.source_reader import Headings, passages_of
from llmcli.frozen_dataclass import frozen, replace
from llmcli.store.retrieval.passage_index import IndexedPassage

PASSAGE_CHARS = 1_200
"""The longest passage: about 300 tokens of English."""
_MIN_SHARE = 0.4  # a passage shorter than this share of the longest is joined with the next one


@frozen
class _Piece:
    """A part of a document's text, from ``start`` to ``end``, and the passage of the reader that it belongs to."""

    start: int
    end: int
    first_line: int
    last_line: int
    passage: Passage


def cut_large_text(large: LargeText, max_chars: int = PASSAGE_CHARS) -> Iterator[IndexedPassage]:
    """Yield the passages of a text that is read in blocks, as ``cut_document`` does. Raises as ``LargeText.blocks``."""
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

    A passage of the reader (a paragraph, a section, a page) that is too long is cut at paragraphs, lines or sentences;
    short ones that follow each other on one page below one heading are joined. ``headings`` is as in ``passages_of``.
    """
    pieces: list[_Piece] = []
    for piece in _cut_pieces(document, max_chars, headings):
        last = pieces[-1] if pieces else None
        if last is not None and _belongs_together(last, piece, max_chars):
            pieces[-1] = replace(last, end=piece.end, last_line=piece.last_line)
        else:
            pieces.append(piece)
    return [
        IndexedPassage(
            document.name,
            document.text[each.start : each.end],
            each.passage.source,
            each.passage.page,
            each.first_line,
            each.last_line,
            each.start,
            each.passage.headings,
        )
        for each in pieces
    ]


def _belongs_together(last: _Piece, piece: _Piece, max_chars: int) -> bool:
    same = (last.passage.source, last.passage.page, last.passage.headings) == (
        piece.passage.source,
        piece.passage.page,
        piece.passage.headings,
    )
    short = min(last.end - last.start, piece.end - piece.start) < _MIN_SHARE * max_chars
    return same and short and piece.end - last.start <= max_chars


def _cut_pieces(document: Document, max_chars: int, headings: Headings | None) -> Iterator[_Piece]:
    """Yield the reader's passages, the long ones cut."""
    for passage, start, end in _locate(document, headings):
        text = document.text[start:end]
        line = passage.first_line
        at = start
        for chunk in chunk_text(text, lambda part: len(part) <= max_chars):
            blanks = len(chunk) - len(chunk.lstrip())
            kept = chunk.strip()
            first = line + count_line_ends(chunk[:blanks])
            if kept:
                yield _Piece(at + blanks, at + blanks + len(kept), first, first + count_line_ends(kept), passage)
            at += len(chunk)
            line += count_line_ends(chunk)


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
