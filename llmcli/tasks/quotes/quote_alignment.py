"""Finds words in a text, exactly or nearly: by an index of the text's words, so that a search takes microseconds.

A near match is found as in seed-and-extend aligners (BLAST; Altschul et al. 1990, Basic Local Alignment Search Tool):
rare words that both texts have vote for a diagonal (position in the text minus position in the quote), and the words
near the best diagonal are matched in their order. The similarity is the Dice coefficient: twice the matched words over
the words of the quote and of the range it matches.
"""

from __future__ import annotations

import re
import unicodedata
from bisect import bisect_left
from functools import cached_property

from llmcli.documents.sentences import UNSPACED_CHARACTERS
from llmcli.fast_dataclass import frozen

MIN_MATCHED_WORDS = 3
"""Of a near match."""
_MAX_SEEDS, _MAX_SEEDS_PER_WORD = 5, 24
"""The rarest words of a quote that vote, and how many places of each; a word in more places votes only alone."""
_MAX_SHIFT = 6
"""Words left out or added in a near match, up to any one of its words."""
QUOTED_WORD = re.compile(f"[{UNSPACED_CHARACTERS}]|[^\\s{UNSPACED_CHARACTERS}]+")
_SINGLE_FORMS = str.maketrans(
    dict.fromkeys("\u2018\u2019\u201a\u2032`", "'") | dict.fromkeys("\u201c\u201d\u201e", '"')
)
_DASHES = dict.fromkeys(map(ord, "\u2010\u2011\u2012\u2013\u2014\u2212"), "-")
_EDGES = "\"'.,;:!?()[]{}*_<>\u2026-"


@frozen
class QuoteAlignment:
    """``start`` and ``end`` are offsets in the text; the rest is as in ``Quote``."""

    start: int
    end: int
    occurrences: int
    exact: bool
    similarity: float


class QuoteAligner:
    """Finds quotes in one text, whose words are indexed at the first near match; ``word`` matches a word."""

    def __init__(self, text: str, word: re.Pattern[str] = QUOTED_WORD) -> None:
        spans = [match.span() for match in word.finditer(text)]
        self._text = text
        self._word = word
        self._starts = [start for start, _ in spans]
        self._ends = [end for _, end in spans]
        parts: list[str] = []
        offsets: list[int] = []
        at = last = 0
        for start, end in spans:
            if start > last and parts:
                parts.append(" ")
                at += 1
            parts.append(text[start:end])
            offsets.append(at)
            at, last = at + end - start, end
        self._collapsed = "".join(parts)  # the text with single blanks
        self._offsets = offsets  # of each word in it

    @cached_property
    def _positions(self) -> dict[str, list[int]]:
        found: dict[str, list[int]] = {}
        for index, (start, end) in enumerate(zip(self._starts, self._ends, strict=True)):
            found.setdefault(_normalize(self._text[start:end]), []).append(index)
        return found

    def align(self, words: str, min_similarity: float) -> QuoteAlignment | None:
        """Return the first place of ``words``; below a ``min_similarity`` of 1, of words as similar as that."""
        sought = " ".join(words.split())
        if not sought:
            return None
        return self._find_exactly(sought) or (self._find_nearly(sought, min_similarity) if min_similarity < 1 else None)

    def _find_exactly(self, sought: str) -> QuoteAlignment | None:
        """Find words that begin and end with words of the text; others are only a near match."""
        at = self._collapsed.find(sought)
        while at >= 0:
            if self._is_whole(at, at + len(sought)):
                occurrences = self._collapsed.count(sought, at)
                return QuoteAlignment(self._origin(at), self._origin(at + len(sought) - 1) + 1, occurrences, True, 1.0)
            at = self._collapsed.find(sought, at + 1)
        return None

    def _is_whole(self, start: int, end: int) -> bool:
        """Whether a range of the collapsed text cuts no word: only marks of a word may be left out."""
        first, last = self._word_at(start), self._word_at(end - 1)
        word_end = self._offsets[last] + self._ends[last] - self._starts[last]
        left_out = self._collapsed[self._offsets[first] : start] + self._collapsed[end:word_end]
        return not any(map(str.isalnum, left_out))

    def _word_at(self, offset: int) -> int:
        index = bisect_left(self._offsets, offset)
        return index if index < len(self._offsets) and self._offsets[index] == offset else index - 1

    def _origin(self, offset: int) -> int:
        """Return the offset in the text of one in the collapsed text that is not a blank."""
        index = self._word_at(offset)
        return self._starts[index] + offset - self._offsets[index]

    def _find_nearly(self, sought: str, min_similarity: float) -> QuoteAlignment | None:
        words = [_normalize(word) for word in self._word.findall(sought)]
        found = [self._positions.get(word) or [] if word else [] for word in words]
        rarest = sorted((len(positions), index) for index, positions in enumerate(found) if positions)[:_MAX_SEEDS]
        votes: dict[int, int] = {}
        for count, index in rarest:
            if count > _MAX_SEEDS_PER_WORD and votes:
                break
            for position in found[index][:_MAX_SEEDS_PER_WORD]:
                votes[position - index] = votes.get(position - index, 0) + 1
        if not votes:
            return None
        diagonal = max(votes, key=lambda each: votes[each] + votes.get(each + 1, 0) + votes.get(each - 1, 0))
        matched = _match_in_order(found, diagonal)
        if len(matched) < min(MIN_MATCHED_WORDS, len(words)):
            return None
        first, last = matched[0], matched[-1]
        similarity = 2 * len(matched) / (len(words) + last - first + 1)
        if similarity < min_similarity:
            return None
        return QuoteAlignment(self._starts[first], self._ends[last], 1, False, similarity)


def _match_in_order(found: list[list[int]], diagonal: int) -> list[int]:
    """Return rising positions near the diagonal, one for each word at most: the best continuation of the last match."""
    matched: list[int] = []
    shift = diagonal
    for index, positions in enumerate(found):
        if not positions:
            continue
        least = max(diagonal + index - _MAX_SHIFT, matched[-1] + 1 if matched else 0)
        at = bisect_left(positions, max(least, shift + index))
        near = positions[at] if at < len(positions) else None
        if (
            at > 0
            and positions[at - 1] >= least
            and (near is None or near - shift - index > shift + index - positions[at - 1])
        ):
            near = positions[at - 1]
        if near is not None and near <= diagonal + index + _MAX_SHIFT:
            matched.append(near)
            shift = near - index
    return matched


def _normalize(word: str) -> str:
    """Return a word without case, typographic forms and the marks around it."""
    if word.isalnum() and word.isascii():
        return word.casefold()
    if not word.isascii():
        word = unicodedata.normalize("NFKC", word).translate(_SINGLE_FORMS).translate(_DASHES)
    return word.casefold().strip(_EDGES)
