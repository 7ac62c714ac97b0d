"""A text as detectors search it: in lower case, with the places of the literals that patterns need."""

from __future__ import annotations

import functools
from collections.abc import Sequence

_SAME_LETTER = str.maketrans({"\u0130": "i", "\u0131": "i", "\u017f": "s", "\u03c2": "\u03c3"})
"""Letters that equal another one when case is ignored, although their lower case differs."""
_HEAD_CHARS = 4
"""Literals with the same first characters are searched for once."""


def lower(text: str) -> str:
    """Return the text in lower case without changing offsets."""
    lowered = text.lower()
    return lowered if len(lowered) == len(text) else "".join(c.lower() if len(c.lower()) == 1 else c for c in text)


def fold_case(text: str) -> str:
    """Return the text in lower case, with one form of the letters that are equal when case is ignored."""
    return _fold_letters(lower(text))


def _fold_letters(lowered: str) -> str:
    if lowered.isascii() or not any(chr(letter) in lowered for letter in _SAME_LETTER):
        return lowered
    return lowered.translate(_SAME_LETTER)


class TextIndex:
    """A text, and the places of literals in it. Each literal is searched for once, for all detectors."""

    def __init__(self, text: str) -> None:
        self.text = text
        self._heads: dict[str, list[int]] = {}
        self._places: dict[tuple[str, ...], Sequence[int]] = {}
        self._words: dict[str, bool] = {}

    @functools.cached_property
    def lowered(self) -> str:
        """The text in lower case, with the same offsets."""
        return lower(self.text)

    @functools.cached_property
    def _folded(self) -> str:
        return _fold_letters(self.lowered)

    def has_any(self, words: Sequence[str]) -> bool:
        """Return whether one of ``words`` (in lower case) stands in the text."""
        return any(self._has(word) for word in words)

    def _has(self, word: str) -> bool:
        known = self._words.get(word)
        if known is None:
            known = self._words[word] = word in self.lowered
        return known

    def places(self, literals: tuple[str, ...]) -> Sequence[int]:
        """Return where one of ``literals`` begins, in order; they were folded by ``fold_case`` and begin alike."""
        places = self._places.get(literals)
        if places is None:
            head = min(literals, key=len)[:_HEAD_CHARS]
            places = self._head_places(head)
            if places and literals != (head,):
                starts = self._folded.startswith
                places = [place for place in places if starts(literals, place)]
            self._places[literals] = places
        return places

    def _head_places(self, head: str) -> list[int]:
        places = self._heads.get(head)
        if places is None:
            places = self._heads[head] = []
            find = self._folded.find
            at = find(head)
            while at >= 0:
                places.append(at)
                at = find(head, at + 1)
        return places


def group_by_head(literals: Sequence[str]) -> list[tuple[str, ...]]:
    """Return the literals in groups that begin alike, without those that begin with another one."""
    shortest: list[str] = []
    for literal in sorted(set(literals)):
        if not shortest or not literal.startswith(shortest[-1]):
            shortest.append(literal)
    groups: dict[str, list[str]] = {}
    for literal in shortest:
        groups.setdefault(literal[:_HEAD_CHARS], []).append(literal)
    return [tuple(group) for group in groups.values()]
