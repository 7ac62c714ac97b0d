"""Answers that repeat themselves without end, as those of small models do: found while they come."""

from __future__ import annotations

from collections import Counter

MAX_EQUAL_LINES = 2
"""A line that comes once more often is a repetition."""
MAX_PERIOD_WORDS, MIN_PERIODS, MIN_PERIODIC_WORDS = 24, 4, 12
"""So many equal groups of words one after another are a repetition, if they have so many words together."""
_MIN_LINE_CHARACTERS = 8
_CHECK_INTERVAL_WORDS = 8


class RepetitionFilter:
    """Passes an answer on until it repeats itself; ``stopped`` is then True."""

    def __init__(self) -> None:
        self.stopped = False
        self._lines: Counter[str] = Counter()
        self._line = ""
        self._words: list[str] = []
        self._unchecked = 0

    def feed(self, text: str) -> str:
        """Return the part of the next piece up to the end of the line or word that shows a repetition."""
        passed: list[str] = []
        for piece in text.splitlines(keepends=True):
            if self.stopped:
                break
            passed.append(self._feed_line(piece))
        return "".join(passed)

    def _feed_line(self, piece: str) -> str:
        self._line += piece
        if piece.endswith("\n"):
            line = " ".join(self._line.split()).casefold()
            self._line = ""
            self._lines[line] += 1
            self.stopped = len(line) >= _MIN_LINE_CHARACTERS and self._lines[line] > MAX_EQUAL_LINES
        at = 0
        while at < len(piece) and not self.stopped:
            blank = piece.find(" ", at + 1)
            at = len(piece) if blank < 0 else blank
            if blank >= 0:
                self._add_word(piece[:blank].rpartition(" ")[2])
        return piece[:at] if self.stopped and at else piece

    def _add_word(self, word: str) -> None:
        self._words.append(word)
        del self._words[: -MAX_PERIOD_WORDS * MIN_PERIODS]
        self._unchecked += 1
        if self._unchecked < _CHECK_INTERVAL_WORDS:
            return
        self._unchecked = 0
        for period in range(1, MAX_PERIOD_WORDS + 1):
            count = max(period * MIN_PERIODS, MIN_PERIODIC_WORDS)
            tail = self._words[-count:]
            if len(tail) == count and tail[period:] == tail[:-period]:
                self.stopped = True
                return
