"""The sentences of a text as readers see them, with their offsets: prose, Markdown, lists."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import TYPE_CHECKING

from llmcli.tasks.quotation.quotation_grammar import UNSPACED_CHARACTERS, count_quoted_words

if TYPE_CHECKING:
    from llmcli.tasks.quotation.quotable_text import QuotableDocument, QuotableText

WINDOW_WORDS = 100
"""Of a passage that is looked at for support: some sentences, as a claim rarely depends on more."""
_MAX_SENTENCE_WORDS = 200
"""A longer run of words without an end, as in a table, is cut."""
_BLOCK_END = re.compile(
    r"(?:\r\n?|\n)[ \t]*(?:\r\n?|\n)\s*|\f|(?:\r\n?|\n)(?=[ \t]*(?:[-*+\u2022>|] |#{1,6} |\d{1,3}[.)] |```|~~~))"
)
_BLOCK_MARK = re.compile(r"\s*(?:(?:[-*+\u2022>|]|#{1,6}|\d{1,3}[.)]) +)*")
_SENTENCE_END = re.compile(
    r"[.!?\u2026][\"'\u201d\u2019\u00bb)\]*_`]{0,3}(?=\s)|[\u3002\uff01\uff1f][\u300d\u300f\u201d\u2019\uff09]{0,3}"
)
_ABBREVIATION = re.compile(
    r"(?:\b(?:e\.g|i\.e|cf|vs|etc|al|approx|dr|mrs?|ms|prof|st|inc|ltd|co|jr|sr|ca)|\b[A-Z])\.$", re.IGNORECASE
)
_NUMBERED = re.compile(r"\b(?:no|fig|eq|sec|ch|vol|pp?)\.$", re.IGNORECASE)
"""Abbreviations before a number."""
_MAX_WORD_CHARS = 30
_WORD = re.compile(f"[{UNSPACED_CHARACTERS}]|[^\\s{UNSPACED_CHARACTERS}]{{1,{_MAX_WORD_CHARS}}}")
"""A word, a character of a script without spaces, or a part of a run of other characters."""


def find_sentences(text: str) -> Iterator[tuple[int, int]]:
    """Yield the offsets of each sentence without the white space, list mark or heading mark around it.

    A sentence ends with its mark, or with its block: a paragraph, a list item, a heading; not with a line. Known
    abbreviations and initials do not end it.
    """
    begin = 0
    for end in [*(match.start() for match in _BLOCK_END.finditer(text)), len(text)]:
        yield from _sentences_of_block(text, begin, end)
        begin = end


def _sentences_of_block(text: str, begin: int, end: int) -> Iterator[tuple[int, int]]:
    mark = _BLOCK_MARK.match(text, begin, end)
    start = mark.end() if mark else begin
    for match in _SENTENCE_END.finditer(text, start, end):
        after = text[match.end() : end].lstrip()[:1]
        if after.islower() or (
            match[0] == "." and _is_abbreviated(text[max(start, match.start() - 8) : match.end()], after)
        ):
            continue
        yield from _bounded(text, start, match.end())
        start = match.end()
    yield from _bounded(text, start, end)


def _is_abbreviated(before: str, after: str) -> bool:
    return bool(_ABBREVIATION.search(before) or (after.isdigit() and _NUMBERED.search(before)))


def _bounded(text: str, start: int, end: int) -> Iterator[tuple[int, int]]:
    """Yield a sentence without white space around it, in several parts if it is very long; none if it has no letter."""
    words = [match.span() for match in _WORD.finditer(text, start, end)]
    for first in range(0, len(words), _MAX_SENTENCE_WORDS):
        part = words[first : first + _MAX_SENTENCE_WORDS]
        if any(map(str.isalnum, text[part[0][0] : part[-1][1]])):
            yield part[0][0], part[-1][1]


def sentences_around(passage: QuotableText, start: int, end: int) -> QuotableText:
    """Return the sentences of a passage that a quote touches, whose offsets are ``start`` and ``end``."""
    from llmcli.tasks.quotation.quotable_text import QuotableText  # not needed to find sentences

    offset, start, end = passage.start, start - passage.document.offset, end - passage.document.offset
    touched = [
        (first + offset, last + offset)
        for first, last in find_sentences(passage.text)
        if first + offset < end and start < last + offset
    ]
    first = min([start, *(span[0] for span in touched)])
    return QuotableText(passage.document, first, max([end, *(span[1] for span in touched)]))


def cut_passages(document: QuotableDocument, max_words: int = WINDOW_WORDS) -> list[QuotableText]:
    """Return the passages of a document: consecutive sentences of together at most ``max_words`` words, or one longer one."""
    from llmcli.tasks.quotation.quotable_text import QuotableText

    passages: list[QuotableText] = []
    start = end = count = 0
    for first, last in find_sentences(document.text):
        words = max(count_quoted_words(document.text[first:last]), (last - first) // _MAX_WORD_CHARS)
        if count and count + words > max_words:
            passages.append(QuotableText(document, start, end))
            count = 0
        if not count:
            start = first
        end, count = last, count + words
    if count:
        passages.append(QuotableText(document, start, end))
    return passages
