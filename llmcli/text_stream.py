"""Streamed text: markers are found, and an answer that repeats itself over and over is stopped.

A piece is shown only once it cannot be part of a marker.

Small models repeat themselves at any temperature. A round is one occurrence of the block that repeats. Three rounds
prove nothing: tables, logs and verse have them. So the repetition must go on for some characters more. From the third
round on the text is suspect and withheld; it is delivered if the repetition ends by itself, else dropped.

Small models also write a few phrases in turn, or "1. a 2. a 3. a". So do logs and times tables, for a page or two. Such
an answer is stopped after several pages that say, numbers aside, nothing new. In prose that must be short, numbers alone are
nothing new.

Or they write a few whole lines in turn, with a word changed now and then. Lists and verse do that too, but soon say
something new. So lines that are equal to earlier ones, their order and list numbers aside, are counted from the third
round on, until a line has a new word.
"""

from __future__ import annotations

import re
from collections import Counter, deque
from collections.abc import Iterable, Sequence
from typing import TypeVar

from llmcli.fast_dataclass import frozen
from llmcli.types import RepetitionPolicy

_Counted = TypeVar("_Counted")


def partial_match_length(text: str, needles: Sequence[str]) -> int:
    """Return the length of the longest suffix of ``text`` that is a proper prefix of one of ``needles``."""
    longest = min(len(text), max((len(needle) for needle in needles), default=1) - 1)
    for length in range(longest, 0, -1):
        tail = text[-length:]
        if any(len(needle) > length and needle.startswith(tail) for needle in needles):
            return length
    return 0


class ReasoningParser:
    """Splits a stream into reasoning and answer at the tags of the chat template."""

    def __init__(self, tags: tuple[str, str] | None, *, inside: bool) -> None:
        self._tags = tags
        self._in_reasoning = inside
        self._pending_text = ""
        self._before_answer = True  # an opening tag may still come; white space before it is dropped

    def feed(self, text: str, *, last: bool = False) -> tuple[str, str]:
        """Return the (reasoning, answer) that is certain so far; with ``last`` everything that is left."""
        if self._tags is None:
            return "", text
        reasoning, answer = "", ""
        text, self._pending_text = self._pending_text + text, ""
        while text:
            tag = self._tags[1] if self._in_reasoning else self._tags[0]
            before, found, after = text.partition(tag)
            if found and (self._in_reasoning or (self._before_answer and not before.strip())):
                reasoning += before if self._in_reasoning else ""
                self._in_reasoning = not self._in_reasoning
                self._before_answer = not self._in_reasoning
                text = after
                continue
            if self._in_reasoning:
                keep = 0 if last else partial_match_length(text, [tag])
                reasoning += text[: len(text) - keep]
                self._pending_text = text[len(text) - keep :]
                break
            if self._before_answer and not last and tag.startswith(text.lstrip()):
                self._pending_text = text  # white space, or the start of an opening tag
                break
            answer += text.lstrip("\n") if self._before_answer and self._tags else text
            self._before_answer = False
            break
        return reasoning, answer


@frozen
class RepetitionThresholds:
    """``equal_chars``: characters after the third round that end an answer; ``stale_chars``: those without new text.

    ``line_chars``: characters after the third round of whole lines that vary, or of one that is numbered each time or a
    paragraph of its own.
    """

    equal_chars: int
    stale_chars: int
    line_chars: int


THRESHOLDS = {
    RepetitionPolicy.ANSWER: RepetitionThresholds(equal_chars=384, stale_chars=6000, line_chars=120),
    RepetitionPolicy.SUMMARY: RepetitionThresholds(equal_chars=60, stale_chars=1000, line_chars=60),
}
_MAX_PERIOD_CHARS = 3000
"""Longest block whose repetition is found."""
_NEW_TEXT_WORTH = 8
"""A character of new text makes up for so many without."""
_MIN_PERIODIC_CHARS = 12
"""The last characters, whose previous occurrence gives the period; fewer occur by chance."""
_MIN_SUSPECT_CHARS = 24
"""Equal characters before a text is suspect, so that no rule or indentation is withheld."""
_PHRASE_CHARS = 16
"""Text is new if its last characters did not occur before."""
_REMEMBERED_CHARS = 4000
"""Characters in which a phrase may have occurred before."""
_MAX_PIECE_CHARS = 32
_NUMBER = re.compile(r"\d+")
_LETTER = re.compile(r"[^\W\d_]")
_WORD_END = re.compile(r"\S+(?=\s)")
_NUMBER_SIGN = "0"
"""Takes the place of each number."""
_LINE_MARKER = re.compile(r"(?:[-+*#>•\s]+|\(?(?:\d{1,3}|[A-Za-z])[.)](?=\s)|\[[ xX]\](?=\s))+")
"""Marks a list item, a quotation or a heading; its number says nothing new."""
_NUMBERED_MARKER = re.compile(r"\w[.)]")
_MIN_LINE_WORDS = 4
"""Words of a line that is compared with others: fewer are a name, a label or a heading."""
_MIN_LETTER_SHARE = 0.6
"""Share of letters in a line of prose, as opposed to a table or code, whose rows are equal for good reasons."""
_REMEMBERED_LINES = 48
_MAX_LINE_CHARS = 1000
"""From this length on, a line counts as new."""
_VARIATION_WORTH = 4
"""A character of a line that combines known words in a new way makes up for so many of equal lines."""
_NUMBERED_LINE_WORTH = 0.25
"""A character of several numbered lines counts for so many: they may be instructions, or the results of a series."""
_PUNCTUATION = ".,;:!?\"'`*_()[]{}<>#|-"


class RepetitionGuard:
    """Passes on one answer until it repeats itself: then ``stopped`` is True and the rest is dropped."""

    def __init__(self, policy: RepetitionPolicy) -> None:
        self.stopped = False
        self._thresholds = THRESHOLDS.get(policy)
        self._end = _PeriodicEnd()
        self._novelty = _NoveltyMeter(is_prose=policy is RepetitionPolicy.SUMMARY)
        self._lines = _LineMeter()
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
        self._end.add(piece)
        self._novelty.add(piece)
        self._lines.add(piece)
        text, period = self._withheld + piece, self._end.period
        if self._end.extra_chars >= thresholds.equal_chars or self._novelty.stale_chars >= thresholds.stale_chars:
            self.stopped, self._withheld = True, ""
            return _finish_line(self._last_shown, text[:period])
        least = thresholds.equal_chars if self._lines.may_be_wanted else thresholds.line_chars
        if self._lines.stale_chars >= least:
            self.stopped, self._withheld = True, ""
            return _finish_line(self._last_shown, text)
        num_suspect = self._end.matched - max(period, _MIN_SUSPECT_CHARS) if period else 0
        num_suspect = max(num_suspect, self._lines.suspect_chars)
        cut = len(text) - min(max(0, num_suspect), len(text))
        shown, self._withheld = text[:cut], text[cut:]
        self._last_shown = shown[-1:] or self._last_shown
        return shown


def repeats_itself(text: str) -> bool:
    """Whether a guard would stop a text as an answer."""
    guard = RepetitionGuard(RepetitionPolicy.ANSWER)
    guard.feed(text)
    return guard.stopped


def _finish_line(last_shown: str, text: str) -> str:
    """Return what of ``text`` ends the line that was begun, or else the word."""
    line, end, _ = text.partition("\n")
    if last_shown == "\n" or not text:
        return ""
    if end:
        return line + end
    word = _WORD_END.match(text)
    return "" if word is None or last_shown.isspace() else word[0]


class _PeriodicEnd:
    """The periodic end of a text: its last ``matched`` characters equal those ``period`` before them; 0: none."""

    def __init__(self) -> None:
        self.period = self.matched = 0
        self._text = ""

    @property
    def extra_chars(self) -> int:
        """Characters after the third round; 0 before its end."""
        return max(0, self.matched - 2 * self.period)

    def add(self, piece: str) -> None:
        """Add a piece of the text."""
        self._text = text = (self._text + piece)[-4 * _MAX_PERIOD_CHARS :]
        if self.period and text.endswith(piece, 0, len(text) - self.period):
            self.matched += len(piece)
            return
        self.period = self.matched = 0
        anchor = text[-_MIN_PERIODIC_CHARS:]
        at = text.rfind(anchor, -_MAX_PERIOD_CHARS - _MIN_PERIODIC_CHARS, -1)
        if at >= 0 and len(anchor) == _MIN_PERIODIC_CHARS:
            self.period = len(text) - _MIN_PERIODIC_CHARS - at
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


class _NoveltyMeter:
    """Counts in ``stale_chars`` the last characters of a text that, numbers aside, are not new.

    In prose (``is_prose``) this includes numbers without a word between them.
    """

    def __init__(self, *, is_prose: bool) -> None:
        self.stale_chars = 0
        self._is_prose = is_prose
        self._text = ""

    def add(self, piece: str) -> None:
        """Add a piece of the text."""
        piece = _NUMBER.sub(_NUMBER_SIGN, piece)
        if self._text.endswith(_NUMBER_SIGN):
            piece = piece.removeprefix(_NUMBER_SIGN)  # the number goes on
        self._text = text = (self._text + piece)[-_REMEMBERED_CHARS:]
        phrase = text[-_PHRASE_CHARS:]
        if not self._is_prose and _LETTER.search(phrase) is None:  # numbers alone may be new or not
            return
        if len(text) > _PHRASE_CHARS and text.rfind(phrase, 0, -1) >= 0:
            self.stale_chars += len(piece)
        else:
            self.stale_chars = max(0, self.stale_chars - _NEW_TEXT_WORTH * len(piece))


class _LineMeter:
    """Counts in ``stale_chars`` the lines after the third round of a loop of whole lines.

    A round is as many lines as the loop has different ones, in any order. ``suspect_chars`` are all characters after the
    third round. Both are 0 before its end.
    """

    def __init__(self) -> None:
        self.stale_chars = 0.0
        self.suspect_chars = 0
        self._is_suspect = self._is_numbered = self._is_paragraph = False
        self._line = ""
        self._follows_blank = False
        self._earlier: deque[tuple[str, ...]] = deque()
        self._num_lines: Counter[tuple[str, ...]] = Counter()  # in ``_earlier``
        self._num_uses: Counter[str] = Counter()  # of a word, in ``_earlier``
        self._num_repeated: Counter[tuple[str, ...]] = Counter()  # since the last new line

    @property
    def may_be_wanted(self) -> bool:
        """Whether one line follows itself at once, as in a text that a user asks to have written ten times."""
        return len(self._num_repeated) <= 1 and not self._is_numbered and not self._is_paragraph

    def add(self, piece: str) -> None:
        """Add a piece of the text."""
        *ended, last = piece.split("\n")
        for rest in ended:
            line, self._line = self._line + rest, ""
            self.suspect_chars += (len(rest) + 1) * self._is_suspect
            self._end_line(line)
        self._line += last[: max(0, _MAX_LINE_CHARS - len(self._line))]
        if self._is_suspect:
            self.suspect_chars += len(last)
            is_word_complete = any(map(str.isspace, last))
            if is_word_complete and self._has_new_word(_split_line(self._line)[1][:-1]):  # the last one may go on
                self._reset()

    def _end_line(self, line: str) -> None:
        marker, words = _split_line(line)
        follows_blank, self._follows_blank = self._follows_blank, not line.strip()
        if not words:
            return
        if len(line) >= _MAX_LINE_CHARS or self._has_new_word(words):
            self._reset()
        elif not _is_text(line, words):
            pass  # a short line, a row or code proves nothing
        elif self._num_lines[words]:
            self._num_repeated[words] += 1
            self._is_numbered = _NUMBERED_MARKER.search(marker) is not None
            self._is_paragraph = follows_blank
            worth = _NUMBERED_LINE_WORTH if self._is_numbered and len(self._num_repeated) > 1 else 1.0
            self.stale_chars += worth * len(line) * self._is_suspect
            self._is_suspect = self._num_repeated.total() >= 2 * len(self._num_repeated)
        else:
            self.stale_chars -= _VARIATION_WORTH * len(line)
            if self.stale_chars <= 0:
                self._reset()
        if not self._is_suspect:
            self.suspect_chars = 0
        self._remember(words)

    def _has_new_word(self, words: Sequence[str]) -> bool:
        return not all(map(self._num_uses.__contains__, words))

    def _reset(self) -> None:
        """Record that the answer goes on."""
        self._num_repeated.clear()
        self.stale_chars = 0.0
        self.suspect_chars = 0
        self._is_suspect = False

    def _remember(self, words: tuple[str, ...]) -> None:
        self._earlier.append(words)
        self._num_lines[words] += 1
        self._num_uses.update(words)
        if len(self._earlier) > _REMEMBERED_LINES:
            oldest = self._earlier.popleft()
            _subtract(self._num_lines, [oldest])
            _subtract(self._num_uses, oldest)


def _subtract(counter: Counter[_Counted], values: Iterable[_Counted]) -> None:
    """Count values less; those that occur no more are forgotten."""
    for value in values:
        counter[value] -= 1
        if not counter[value]:
            del counter[value]


def _split_line(line: str) -> tuple[str, tuple[str, ...]]:
    """Return the marker of a line, and its words in lower case without punctuation."""
    marker = _LINE_MARKER.match(line)
    start = 0 if marker is None else marker.end()
    tokens = line[start:].casefold().split()
    return line[:start], tuple(word for token in tokens if (word := token.strip(_PUNCTUATION)))


def _is_text(line: str, words: Sequence[str]) -> bool:
    """Whether a line is prose; the rows of tables and code are equal for good reasons."""
    if len(words) < _MIN_LINE_WORDS or "|" in line or "\t" in line:
        return False
    return sum(map(str.isalpha, line)) >= _MIN_LETTER_SHARE * len(line)
