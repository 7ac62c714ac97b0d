"""Stops an answer that repeats itself over and over, as small models do at any temperature.

A round is one occurrence of the block that repeats. Three rounds prove nothing: tables, logs and verse have them. So the
repetition must go on for some characters more (``RepetitionThresholds``). From the third round on the text is suspect and
withheld; it is delivered if the repetition ends by itself, else dropped.

Text whose numbers alone change ("1. a 2. a 3. a") repeats itself too, but so do logs and times tables. There each number
counts as new text.
"""

from __future__ import annotations

import re
from enum import StrEnum

from llmcli.frozen_dataclass import frozen


class RepetitionPolicy(StrEnum):
    """Which repetitions end an answer."""

    OFF = "off"
    ANSWER = "answer"
    """A text of any kind: code, tables and lists have equal lines."""
    SUMMARY = "summary"
    """Prose that must be short."""


@frozen
class RepetitionThresholds:
    """Characters after the third round that end an answer: equal ones, and equal but for the numbers in them."""

    equal_chars: int
    counting_chars: int


THRESHOLDS = {
    RepetitionPolicy.ANSWER: RepetitionThresholds(equal_chars=384, counting_chars=8000),
    RepetitionPolicy.SUMMARY: RepetitionThresholds(equal_chars=60, counting_chars=1000),
}
REPETITION_LIMIT = "repetition"
"""``Finished.limit`` of an answer that was stopped."""
MAX_PERIOD_CHARS = 3000
"""Longest block whose repetition is found."""
NUMBER_WORTH_CHARS = 100
"""Characters of new text that a number stands for."""
_ANCHOR_CHARS = 12
"""The last characters, whose previous occurrence gives the period; fewer occur by chance."""
_MIN_SUSPECT_CHARS = 24
"""Equal characters before a text is suspect, so that no rule or indentation is withheld."""
_MAX_PIECE_CHARS = 32
_HISTORY_CHARS = 4 * MAX_PERIOD_CHARS
_NUMBER = re.compile(r"\d+")
_NUMBER_SIGN = "0"
"""Takes the place of each number."""


class RepetitionGuard:
    """Passes on one answer until it repeats itself: then ``stopped`` is True and the rest is dropped."""

    def __init__(self, policy: RepetitionPolicy) -> None:
        self.stopped = False
        self._thresholds = THRESHOLDS.get(policy)
        self._equal = _PeriodTracker()
        self._counting = _PeriodTracker()
        self._withheld = ""
        self._last_shown = ""

    def feed(self, text: str) -> str:
        """Add a piece of the answer; return what may be shown."""
        if self._thresholds is None:
            return text
        shown = ""
        for start in range(0, len(text), _MAX_PIECE_CHARS):
            if not self.stopped:
                shown += self._feed_piece(text[start : start + _MAX_PIECE_CHARS], self._thresholds)
        return shown

    def flush(self) -> str:
        """Return what is withheld, since the answer has ended without more repetition."""
        text, self._withheld = self._withheld, ""
        return text

    def _feed_piece(self, piece: str, thresholds: RepetitionThresholds) -> str:
        self._equal.add(piece)
        self._counting.add(self._hide_numbers(piece))
        self._withheld += piece
        if self._repeats(thresholds):
            self.stopped = True
            shown, self._withheld = _finish_line(self._last_shown, self._withheld[: self._equal.period]), ""
            return shown
        keep = max(0, self._equal.matched - max(self._equal.period, _MIN_SUSPECT_CHARS)) if self._equal.period else 0
        cut = max(0, len(self._withheld) - keep)
        shown, self._withheld = self._withheld[:cut], self._withheld[cut:]
        self._last_shown = shown[-1:] or self._last_shown
        return shown

    def _hide_numbers(self, piece: str) -> str:
        text = _NUMBER.sub(_NUMBER_SIGN, piece)
        goes_on = text.startswith(_NUMBER_SIGN) and self._counting.text.endswith(_NUMBER_SIGN)
        return text[1:] if goes_on else text

    def _repeats(self, thresholds: RepetitionThresholds) -> bool:
        needed = thresholds.equal_chars
        if self._equal.extra_chars >= needed:
            return True
        extra = self._counting.extra_chars
        if extra < needed:
            return False
        numbers = self._counting.text.count(_NUMBER_SIGN, -extra)
        return extra - numbers * NUMBER_WORTH_CHARS >= needed or extra >= thresholds.counting_chars


def _finish_line(last_shown: str, text: str) -> str:
    """Return what of ``text`` ends the line that was begun, or else the word."""
    line, end, _ = text.partition("\n")
    if last_shown == "\n" or not text:
        return ""
    if end:
        return line + end
    words = text.split(maxsplit=1)
    return "" if last_shown.isspace() or len(words) == 1 else words[0]


class _PeriodTracker:
    """The end of a text, and its period: the last ``matched`` characters equal those ``period`` before them."""

    def __init__(self) -> None:
        self.text = ""
        self.period = 0
        """0: no repetition."""
        self.matched = 0

    @property
    def extra_chars(self) -> int:
        """Characters after the third round; 0 before its end."""
        return max(0, self.matched - 2 * self.period) if self.period else 0

    def add(self, piece: str) -> None:
        """Add a piece of the text."""
        if not piece:
            return
        self.text = text = (self.text + piece)[-_HISTORY_CHARS:]
        if self.period and text.endswith(piece, 0, len(text) - self.period):
            self.matched += len(piece)
            return
        self.period = self.matched = 0
        anchor = text[-_ANCHOR_CHARS:]
        at = text.rfind(anchor, -MAX_PERIOD_CHARS - len(anchor), -1)
        if at >= 0 and len(anchor) == _ANCHOR_CHARS:
            self.period = len(text) - len(anchor) - at
            self.matched = _count_matched(text, self.period)


def _count_matched(text: str, period: int) -> int:
    """Return how many characters at the end of ``text`` equal those ``period`` before them."""
    matched, step = 0, _MAX_PIECE_CHARS
    last = len(text) - period
    while step:
        end = last - matched
        if end >= step and text.endswith(text[end - step : end], 0, len(text) - matched):
            matched += step
        else:
            step //= 2
    return matched
