"""Answers that repeat themselves without end, as those of small models do: found while they come."""

from __future__ import annotations

import re
from collections import Counter

MAX_EQUAL_LINES = 2
"""A line that comes once more often is a repetition."""
MAX_PERIOD_WORDS, MIN_PERIODS, MIN_PERIODIC_WORDS = 24, 4, 12
"""So many equal groups of words one after another are a repetition, if they have so many words together."""
_MIN_LINE_CHARACTERS = 8
_CHECK_INTERVAL_WORDS = 8
_PARTS = re.compile(r"\s+|\S+")


class RepetitionFilter:
    """Passes an answer on until it repeats itself; ``stopped`` is then True."""

    def __init__(self) -> None:
        self.stopped = False
        self._lines: Counter[str] = Counter()
        self._line: list[str] = []  # the words of the line so far
        self._words: list[str] = []  # the last words of the answer
        self._word = ""  # a word that may go on
        self._unchecked = 0

    def feed(self, text: str) -> str:
        """Return the next piece, up to the end of the word that shows a repetition."""
        if self.stopped:
            return ""
        for part in _PARTS.finditer(text):
            if not part[0].isspace():
                self._word += part[0]
                continue
            self._end_word()
            if "\n" in part[0]:
                self._end_line()
            if self.stopped:
                return text[: part.end()]
        return text

    def _end_word(self) -> None:
        if not self._word:
            return
        self._line.append(self._word.casefold())
        self._words.append(self._word)
        self._word = ""
        self._unchecked += 1
        if self._unchecked >= _CHECK_INTERVAL_WORDS:
            self._unchecked = 0
            del self._words[: -MAX_PERIOD_WORDS * MIN_PERIODS]
            self.stopped = any(map(self._has_period, range(1, MAX_PERIOD_WORDS + 1)))

    def _has_period(self, words: int) -> bool:
        """Whether the answer ends with enough equal groups of so many words."""
        count = max(words * MIN_PERIODS, MIN_PERIODIC_WORDS)
        tail = self._words[-count:]
        return len(tail) == count and tail[words:] == tail[:-words]

    def _end_line(self) -> None:
        line = " ".join(self._line)
        self._line = []
        self._lines[line] += 1
        self.stopped = self.stopped or (len(line) >= _MIN_LINE_CHARACTERS and self._lines[line] > MAX_EQUAL_LINES)
