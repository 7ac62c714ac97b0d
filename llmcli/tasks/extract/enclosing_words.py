"""Whether a number or date of a text stands for itself, or is a piece of a longer word such as "A-10432".

A word ends at blanks and most marks. Hyphens, points, slashes and underscores inside join it, and so do characters that
no reader sees. Units, currencies, ordinals and compounds leave a number what it is: "5kg", "EUR10", "3rd", "10-year".
Only Latin, Greek and Cyrillic letters make words here: other scripts attach words to numbers.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Sequence

_UPPER, _LOWER = "A-Z\u00c0-\u00d6\u00d8-\u00de\u0410-\u042f", "a-z\u00df-\u00f6\u00f8-\u00ff\u0430-\u045f"
_LETTER = (
    f"{_UPPER}{_LOWER}\u00aa\u00ba\u00b5\u0100-\u024f\u0370-\u040f\u0460-\u052f\u1e00-\u1fff\uff21-\uff3a\uff41-\uff5a"
)
_UNSEEN = "\u00ad\u034f\u200b-\u200f\u202a-\u202e\u2060-\u2064\u2066-\u206f\ufe00-\ufe0f\ufeff"
_HYPHEN = "\u2010-\u2013\u2212\ufe58\ufe63\uff0d"
_JOINER = rf"[\-{_HYPHEN}./_@+&\\]"
_WORD = re.compile(rf"[{_LETTER}\d_]+(?:(?:[{_UNSEEN}]+|[{_UNSEEN}]*{_JOINER}[{_UNSEEN}]*)[{_LETTER}\d_]+)*")
_ADDRESS = re.compile(
    r"\b[A-Za-z][A-Za-z0-9+.-]{1,20}://[^\s<>\"]+|\bwww\.[^\s<>\"]+|\b[\w.+-]{1,64}@[^\W\d][\w-]*(?:\.[\w-]+)+"
)
"""Web and e-mail addresses: what stands in them is a piece of them."""
_UNSEEN_RUN = re.compile(f"[{_UNSEEN}]+")
_ANY_HYPHEN = re.compile(f"[{_HYPHEN}]")
_HYPHENATED = re.compile(rf"[{_LETTER}](?:[)\]][\-{_HYPHEN}]|[\-{_HYPHEN}][ \t]*\r?\n[ \t]{{0,8}})\Z")
"""What joins a number to the letters before it: a hyphen after a bracket, or at the end of a line."""
_MAX_HYPHENATION_CHARS = 20
_MAX_SIDE_CHARS = 100
"""As much of a word is read before and after a number."""

_CURRENCIES = (
    "us|eur|euros?|usd|gbp|chf|jpy|cny|rmb|sek|nok|dkk|pln|czk|huf|inr|cad|aud|nzd|brl|rub|try|mxn|zar|krw|kr|rs|sfr"
)
_ABBREVIATIONS = "no|nr|nos|p|pp|ca|approx|vol|fig|ch|sec|art|pos|abs|est|min|max|tel"
_UNITS = "|".join((
    f"{_CURRENCIES}|dollars?|cents?|ct|p|z\u0142|k\u010d|ft|\u0440\u0443\u0431|\u0433\u0440\u043d",
    "mg|kg|lbs?|oz|tons?|mcg|[\u00b5\u03bc]g|\u043c\u0433|\u043a\u0433|\u0433|\u0442",
    "[n\u00b5\u03bc]m|mm|cm|dm|km|in|inch|feet|yds?|mi|miles?|[ckd]?m[23]|ha|sqm|sqft|qm|\u043c\u043c|\u0441\u043c|\u043c|\u043a\u043c",
    "ml|cl|dl|hl|cc|gal|\u043c\u043b|\u043b",
    "ms|secs?|mins?|hrs?|std|days?|d|wks?|mo|yrs?|am|pm|uhr|\u0447|\u043c\u0438\u043d|\u0441\u0435\u043a|\u0441",
    "[kmgtp]i?b|[kmg]bit|[kmg]bps|bits?|bytes?|px|em|rem|dpi|fps|mp",
    "[km]w|[kmg]?wh|m?ah|mv|kv|kva|[kmg]?hz|[km]j|k?cal|m?bar|psi|[khm]pa|db|rpm|mph|kmh|hp|ps",
    "st|nd|rd|th|er|re|e|de|te|ter|ten|tes|\u00e8?me|eme|\u00e8re|\u00aa|\u00ba|st\u00fcck|stk|pcs?",
))  # fmt: skip
"""What may follow the digits of an amount or a rank, in any case: money, mass, length, volume, time, data, physics,
ordinals and counts."""
_UNIT = rf"(?:(?i:{_UNITS})|[mgltshxVWL])"
"""Units of one letter count in their case: a house number, 12A, has other letters."""
_NUMBER = r"\d+(?:\.\d+)?"
_COMPOUND = rf"-(?:[{_UPPER}]?[{_LOWER}]{{2,}}|[\u0430-\u045f])(?:-[{_LETTER}]+)*"
_SENTENCE = rf"\.[{_UPPER}][{_LOWER}].*"
"""What follows a full stop without a blank."""
_PER = rf"/[{_LETTER}]*[{_LOWER}23]"
_BEFORE_NUMBER = re.compile(
    rf"(?:(?i:{_CURRENCIES}|{_ABBREVIATIONS})\.|(?i:{_CURRENCIES}))?(?:{_NUMBER}(?:{_UNIT})?[-/+@x])*", re.DOTALL
)
_AFTER_NUMBER = re.compile(
    rf"(?:[-/+@x]{_NUMBER})*(?:{_UNIT}(?:{_COMPOUND}|{_PER}|[-/+x@]{_NUMBER}.*|{_SENTENCE})?|{_COMPOUND}|{_PER}|{_SENTENCE})?",
    re.DOTALL,
)
_DIGIT_GROUPS = re.compile(r"\d+(?:-\d+)+")
_NUMERIC_DATE = re.compile(r"\d{4}-\d{1,2}(?:-\d{1,2})?|\d{1,2}-\d{1,2}-(?:\d{4}|\d{2})")
_YEAR = re.compile(r"(?:19|20)\d\d")
_DECADE = re.compile(r"\d{3}0")
_MONEY_SIGN = re.compile(r"[$\u20ac\u00a3\u00a5]-?\Z")
_DATE = r"(?:\d{4}([-/.])\d{1,2}\1\d{1,2}|\d{1,2}([-/.])\d{1,2}\2\d{2,4}|\d{1,2}|\d{4})"
_BEFORE_DATE = re.compile(rf"(?:{_DATE}[-/])?")
_AFTER_DATE = re.compile(rf"(?:T\d.*|Z|{_COMPOUND}|{_SENTENCE})?", re.DOTALL)
_RANGE_AFTER_DATE = re.compile(rf"[-/]{_DATE}")
_BEFORE_NUMBER_WORD = re.compile(r"(?:.*/)?", re.DOTALL)
_AFTER_NUMBER_WORD = re.compile(
    r"(?:-(?!(?:off|on|to|by|in|sided|way|half|halves|hundred|thousand|million|billion|dozen)\b"
    rf"|(?:third|quarter|fifth|sixth|seventh|eighth|ninth|tenth|twelfth)s?\b)[a-z]{{2,}}(?:-[a-z]+)*|/.*|{_SENTENCE})?",
    re.DOTALL,
)
_APOSTROPHE_LETTER = re.compile("['\u2019][A-Za-z]")


class EnclosingWords:
    """The words of a text, and what of them stands around a number or date."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._words = [match.span() for match in _WORD.finditer(text)]
        self._addresses = [match.span() for match in _ADDRESS.finditer(text)]

    def has_whole_number(self, start: int, end: int) -> bool:
        """Return whether the number in digits at ``start`` to ``end``, without its sign, is no piece of a word."""
        if self._is_in_address(start) or self._is_hyphenated(start):
            return False
        before, after = self._around(start, end)
        digits = self._text[start:end]
        if f"{before}{digits}{after}".lower().startswith("0x") or _is_code(f"{before}{digits}{after}"):
            return False
        if (after == "s" and _DECADE.fullmatch(digits)) or (
            after == "m" and _MONEY_SIGN.search(self._text, max(0, start - 2), start)
        ):
            return False
        return bool(_BEFORE_NUMBER.fullmatch(before) and _AFTER_NUMBER.fullmatch(after))

    def has_whole_number_word(self, start: int, end: int) -> bool:
        """Return whether the numeral at ``start`` to ``end`` is no piece of a word such as "twenty-three"."""
        if self._is_in_address(start) or _APOSTROPHE_LETTER.match(self._text, end):
            return False
        before, after = self._around(start, end)
        return bool(_BEFORE_NUMBER_WORD.fullmatch(before) and _AFTER_NUMBER_WORD.fullmatch(after))

    def has_whole_date(self, start: int, end: int) -> bool:
        """Return whether the date at ``start`` to ``end`` is no piece of a word; a time or another date may follow."""
        if self._is_in_address(start) or self._is_hyphenated(start):
            return False
        before, after = self._around(start, end)
        is_range = _RANGE_AFTER_DATE.fullmatch(after)
        return bool(_BEFORE_DATE.fullmatch(before) and (is_range or _AFTER_DATE.fullmatch(after)))

    def _around(self, start: int, end: int) -> tuple[str, str]:
        """Return what stands before and after a range in its words, with plain hyphens; underscores of emphasis go."""
        before = after = ""
        first, last = _span_at(self._words, start), _span_at(self._words, end - 1)
        if first is not None:
            before = _plain(self._text[max(first[0], start - _MAX_SIDE_CHARS) : start])
        if last is not None:
            after = _plain(self._text[end : min(last[1], end + _MAX_SIDE_CHARS)])
        return before.lstrip("_") if not before.strip("_") else before, after.rstrip("_")

    def _is_hyphenated(self, offset: int) -> bool:
        return _HYPHENATED.search(self._text, max(0, offset - _MAX_HYPHENATION_CHARS), offset) is not None

    def _is_in_address(self, offset: int) -> bool:
        return _span_at(self._addresses, offset) is not None


def _span_at(spans: Sequence[tuple[int, int]], offset: int) -> tuple[int, int] | None:
    index = bisect_right(spans, offset, key=lambda span: span[0]) - 1
    return spans[index] if index >= 0 and offset < spans[index][1] else None


def _plain(text: str) -> str:
    return _ANY_HYPHEN.sub("-", _UNSEEN_RUN.sub("", text))


def _is_code(word: str) -> bool:
    """Return whether digits with hyphens are no range, score or date, but a code such as a phone number or 2024-10432."""
    if not _DIGIT_GROUPS.fullmatch(word) or _NUMERIC_DATE.fullmatch(word):
        return False
    first, *others = word.split("-")
    second = others[0]
    is_numbered = len(second) > 2 and (second[0] == "0" or (_YEAR.fullmatch(first) and not _YEAR.fullmatch(second)))  # noqa: PLR2004 (digits)
    return len(others) > 1 or bool(is_numbered)
