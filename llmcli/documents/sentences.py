"""The sentences of a text as readers see them: prose, Markdown, lists."""

from __future__ import annotations

import re
from collections.abc import Iterator

UNSPACED_CHARACTERS = (
    "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3000-\u30ff\u3400-\u9fff\uf900-\ufaff\uff00-\uffef\U00020000-\U0003ffff"
)
"""Ranges of characters that are written without spaces between words: Chinese, Japanese, Thai, Lao, Khmer, Burmese."""
MAX_WORD_CHARS = 30
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
_BLANKS = re.compile(r"\s*")
_WORD = re.compile(f"[{UNSPACED_CHARACTERS}]|[^\\s{UNSPACED_CHARACTERS}]{{1,{MAX_WORD_CHARS}}}")
"""A word, a character of a script without spaces, or a part of a run of other characters."""


def find_sentences(text: str) -> Iterator[tuple[int, int]]:
    """Yield the offsets of each sentence without the white space, list mark or heading mark around it.

    A sentence ends with its mark, or with its block: a paragraph, a list item, a heading; not with a line. Known
    abbreviations and initials do not end it, and no mark before a lower-case letter, unless the text has no other
    letters. A very long sentence is cut, and one without a letter is left out.
    """
    for start, end in _sentence_ranges(text):
        words = [match.span() for match in _WORD.finditer(text, start, end)]
        for first in range(0, len(words), _MAX_SENTENCE_WORDS):
            part = words[first : first + _MAX_SENTENCE_WORDS]
            if any(map(str.isalnum, text[part[0][0] : part[-1][1]])):
                yield part[0][0], part[-1][1]


def sentence_ends(text: str) -> list[int]:
    """Return where the sentences of ``find_sentences`` end, each with the white space after it; long ones are whole."""
    ends = dict.fromkeys(_skip_blanks(text, end) for _, end in _sentence_ranges(text))
    return [end for end in ends if end]


def _sentence_ranges(text: str) -> Iterator[tuple[int, int]]:
    begin, has_capitals = 0, not text.islower()
    for end in [*(match.start() for match in _BLOCK_END.finditer(text)), len(text)]:
        yield from _ranges_of_block(text, begin, end, has_capitals=has_capitals)
        begin = end


def _ranges_of_block(text: str, begin: int, end: int, *, has_capitals: bool) -> Iterator[tuple[int, int]]:
    mark = _BLOCK_MARK.match(text, begin, end)
    start = mark.end() if mark else begin
    for match in _SENTENCE_END.finditer(text, start, end):
        at = _skip_blanks(text, match.end())
        after = text[at : min(at + 1, end)]
        if (has_capitals and after.islower()) or (
            match[0] == "." and _is_abbreviated(text[max(start, match.start() - 8) : match.end()], after)
        ):
            continue
        yield start, match.end()
        start = match.end()
    yield start, end


def _skip_blanks(text: str, start: int) -> int:
    blanks = _BLANKS.match(text, start)
    return blanks.end() if blanks else start


def _is_abbreviated(before: str, after: str) -> bool:
    return bool(_ABBREVIATION.search(before) or (after.isdigit() and _NUMBERED.search(before)))
