"""Cuts a text into passages without losing a character: joined they equal the text.

A line ends with LF, CRLF or CR. A blank line contains only spaces and tabs.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Callable, Iterator, Sequence

from llmcli.documents.sentences import sentence_ends
from llmcli.documents.text_lines import line_spans
from llmcli.interrupt import run_interruptible

_BLANKS = re.compile(r"\s+")

_ZERO_WIDTH_JOINER = "\u200d"
_Finder = Callable[[str], Sequence[int]]


def split_paragraphs(text: str) -> list[str]:
    """Split after blank lines: into paragraphs with the blank lines after them.

    Blank lines before the first paragraph belong to it. A text of blank lines only is one paragraph; "" has none.
    """
    return split_at(text, _paragraph_ends(text))


def split_sentences(text: str) -> list[str]:
    """Split after sentences, each with the white space after it, and after line ends."""
    return split_at(text, sorted({*sentence_ends(text), *_line_ends(text)}))


def cut_text(text: str, fits: Callable[[str], bool], *, prose: bool = False) -> Iterator[str]:
    """Yield the passages of ``text`` that ``fits`` accepts, each as long as possible.

    Cuts fall at the end of a paragraph; if none fits, at the end of a line, a sentence or a word; as a last resort
    between characters as readers see them. Of ``prose``, whose lines are wrapped, sentences are tried before lines: a
    row of a table is more than a sentence in it. A letter stays with its accents and an emoji with its modifiers,
    unless one of those alone is too large. If ``fits`` accepts a text, it should accept each beginning of it. It is
    called about 2 log2(n) times a passage, where n is the number of paragraphs (lines, ...) in it. Raises
    ``ValueError`` when it refuses a single code point.
    """
    if not text:
        return
    if fits(text):
        yield text
        return
    levels = _Boundaries(text, _PROSE_FINDERS if prose else _FINDERS)
    start = 0
    while start < len(text):
        end = levels.furthest_fit(start, fits)
        yield text[start:end]
        start = end


class _Boundaries:
    """The ends of the units of a text, from paragraphs to code points; each level is computed when first needed."""

    def __init__(self, text: str, finders: Sequence[_Finder]) -> None:
        self._text = text
        self._finders = finders
        self._boundaries: list[Sequence[int]] = []

    def furthest_fit(self, start: int, fits: Callable[[str], bool]) -> int:
        """Return the furthest end of the coarsest unit such that the text from ``start`` to it fits."""
        for level, find in enumerate(self._finders):
            if level == len(self._boundaries):
                self._boundaries.append(run_interruptible(find, self._text))
            end = self._furthest_boundary(self._boundaries[level], start, fits)
            if end is not None:
                return end
        raise ValueError(f"a single code point does not fit: {self._text[start]!r}")

    def _furthest_boundary(self, ends: Sequence[int], start: int, fits: Callable[[str], bool]) -> int | None:
        """Double the number of units until they do not fit, then bisect; return the furthest boundary that did fit."""
        first = bisect_right(ends, start)
        good, bad, step = first - 1, len(ends), 1  # ends[good] fits once good >= first, ends[bad] does not
        while good + step < bad:
            if not fits(self._text[start : ends[good + step]]):
                bad = good + step
                break
            good, step = good + step, step * 2
        while good + 1 < bad:
            middle = (good + bad) // 2
            if fits(self._text[start : ends[middle]]):
                good = middle
            else:
                bad = middle
        return ends[good] if good >= first else None


def split_at(text: str, ends: Sequence[int]) -> list[str]:
    """Return the ranges of ``text`` that end at ``ends``."""
    return [text[start:end] for start, end in zip([0, *ends], ends, strict=False)]


def _line_ends(text: str) -> list[int]:
    return [end for _, end in line_spans(text)]


def _paragraph_ends(text: str) -> list[int]:
    ends = []
    words_before = blank_before = False
    for start, end in line_spans(text):
        blank = not text[start:end].strip(" \t\r\n")
        if not blank and words_before and blank_before:
            ends.append(start)
        words_before = words_before or not blank
        blank_before = blank
    return [*ends, len(text)] if text else []


def _word_ends(text: str) -> list[int]:
    ends = [match.end() for match in _BLANKS.finditer(text)]
    return ends if not text or (ends and ends[-1] == len(text)) else [*ends, len(text)]


def _grapheme_ends(text: str) -> list[int]:
    """Return the ends of characters as readers see them: approximately Unicode's grapheme clusters (UAX 29)."""
    ends = []
    flags = 0  # two regional indicators in a row make a flag
    for index in range(1, len(text)):
        before, after = text[index - 1], text[index]
        flags = flags + 1 if _is_flag_half(before) else 0
        half_flag = flags % 2 == 1 and _is_flag_half(after)
        if not (
            _extends_grapheme(after) or before == _ZERO_WIDTH_JOINER or half_flag or (before == "\r" and after == "\n")
        ):
            ends.append(index)
    return [*ends, len(text)] if text else []


def _extends_grapheme(character: str) -> bool:
    """Whether a character extends the one before it: accents, joiners, variation selectors, skin tones, Hangul."""
    if character < "\u0300":
        return False
    import unicodedata

    return (
        unicodedata.category(character) in {"Mn", "Mc", "Me"}
        or character == _ZERO_WIDTH_JOINER
        or "\u1160" <= character <= "\u11ff"
        or "\U0001f3fb" <= character <= "\U0001f3ff"
        or "\U000e0020" <= character <= "\U000e007f"
    )


def _is_flag_half(character: str) -> bool:
    return "\U0001f1e6" <= character <= "\U0001f1ff"


def _code_point_ends(text: str) -> Sequence[int]:
    return range(1, len(text) + 1)


_FINDERS: Sequence[_Finder] = (
    _paragraph_ends,
    _line_ends,
    sentence_ends,
    _word_ends,
    _grapheme_ends,
    _code_point_ends,
)
_PROSE_FINDERS: Sequence[_Finder] = (_paragraph_ends, sentence_ends, _line_ends, *_FINDERS[3:])
