"""Detects an answer that repeats itself, as small models do."""

from __future__ import annotations

MIN_REPEATED_CHARS = 600
"""Characters at the end of an answer that must repeat the same block."""
MIN_REPETITIONS = 5
_TAIL_CHARS = 2400
"""Characters that are examined; longer blocks are not detected."""
_CHECK_CHARS = 120
"""New characters between two checks."""


class RepetitionDetector:
    """Receives an answer in pieces."""

    def __init__(self) -> None:
        self._tail = ""
        self._unchecked = 0

    def feed(self, text: str) -> bool:
        """Add a piece; return whether the end of the answer repeats one block over and over."""
        self._tail = (self._tail + text)[-_TAIL_CHARS:]
        self._unchecked += len(text)
        if self._unchecked < _CHECK_CHARS or len(self._tail) < MIN_REPEATED_CHARS:
            return False
        self._unchecked = 0
        return ends_in_repetition(self._tail)


def ends_in_repetition(text: str) -> bool:
    """Return whether at least ``MIN_REPEATED_CHARS`` at the end of ``text`` repeat a block ``MIN_REPETITIONS`` times.

    The smallest period of each suffix comes from the failure function of the reversed text (Knuth, Morris, Pratt 1977).
    """
    reverse = text[::-1]
    borders = [0] * len(reverse)
    border = 0
    for index in range(1, len(reverse)):
        while border and reverse[index] != reverse[border]:
            border = borders[border - 1]
        border += reverse[index] == reverse[border]
        borders[index] = border
        length = index + 1
        if length >= MIN_REPEATED_CHARS and (length - border) * MIN_REPETITIONS <= length:
            return True
    return False
