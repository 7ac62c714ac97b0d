"""The dates in a text, with a year or without one.

Month names are those of English, German, French, Spanish, Italian, Portuguese and Dutch; days may be words ("the third of
February"), but for Dutch. A date is written as in
ISO 8601: "2026-02-03", "--02-03" without a year, "2026-02" without a day.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import date
from functools import cache

from llmcli.fast_dataclass import frozen
from llmcli.tasks.number_words import day_words

_MONTH_NAMES = (
    "january jan januar janvier janv enero ene gennaio gen janeiro januari",
    "february feb februar f\u00e9vrier fevrier f\u00e9vr fevr febrero febbraio fevereiro fev februari",
    "march mar m\u00e4rz maerz mrz mars marzo mar\u00e7o marco maart mrt",
    "april apr avril avr abril abr aprile",
    "may mai mayo maggio mag maio mei",
    "june jun juni juin junio giugno giu junho",
    "july jul juli juillet juil julio luglio lug julho",
    "august aug ao\u00fbt aout agosto ago augustus",
    "september sep sept septembre septiembre settembre set setembro",
    "october oct oktober okt octobre octubre ottobre ott outubro out",
    "november nov novembre noviembre novembro",
    "december dec dezember dez d\u00e9cembre decembre d\u00e9c diciembre dic dicembre dezembro",
)
_MONTHS = {name: number for number, names in enumerate(_MONTH_NAMES, 1) for name in names.split()}
_WORD = r"(?P<month>[^\W\d_]{3,10})\.?"
_MONTH_LETTERS = re.compile(r"[^\W\d_]{3,10}")
_YEAR_FIRST = re.compile(
    r"(?<![\d.,/-])(?P<year>\d{4})(?P<mark>[-/.])(?P<month>\d{1,2})(?P=mark)(?P<day>\d{1,2})(?!\d)"
)
_YEAR_LAST = re.compile(
    r"(?<![\d.,/-])(?P<first>\d{1,2})(?P<mark>[-/.])(?P<second>\d{1,2})(?P=mark)(?P<year>\d{4}|\d{2})(?![\d]|[-/.]\d)"
)
_DAY = r"(?<![\d.,])(?P<day>\d{1,2})(?:st|nd|rd|th|er|\.|\u00ba)?[\s-]+(?:(?:of|de)\s+)?"
_DAY_MONTH = re.compile(rf"{_DAY}{_WORD},?[\s-]+(?:del?\s+)?(?P<year>\d{{4}})(?!\d)")
_MONTH_DAY = re.compile(rf"\b{_WORD}\s+(?P<day>\d{{1,2}})(?:st|nd|rd|th)?,?\s+(?P<year>\d{{4}})(?!\d)")
_DAY_MONTH_ALONE = re.compile(rf"{_DAY}{_WORD}(?![\w-])")
_MONTH_DAY_ALONE = re.compile(rf"\b{_WORD}\s+(?:the\s+)?(?P<day>\d{{1,2}})(?:st|nd|rd|th)?(?![\w%]|[.,:]\d)")
_MONTH_YEAR = re.compile(rf"\b{_WORD},?\s+(?:(?:of|del?)\s+)?(?P<year>(?:1[5-9]|20)\d\d)(?![\w%]|[.,]\d)")
_YEAR_AFTER = r"(?:,?\s+(?:(?:of|del?)\s+)?(?P<year>\d{4}))?(?![\w-])"
_NUMBERS_ALONE = re.compile(r"(?<![\w.,/-])(?P<first>\d\d)(?P<mark>/)(?P<second>\d\d)(?![\w/%-]|[.,]\d)")
_GERMAN_ALONE = re.compile(
    r"(?:(?<=\bam )|(?<=\bab )|(?<=\bvom )|(?<=\bzum )|(?<=\bbis )|(?<=\bseit ))"
    r"(?P<first>\d{1,2})(?P<mark>\.)\s?(?P<second>\d{1,2})\.(?!\s?\d)"
)
_NUMBER_AND_YEAR = re.compile(r"(?<![\w.,/-])(?P<month>0[1-9]|1[0-2])/(?P<year>(?:19|20)\d\d)(?![\w/%-]|[.,]\d)")
_OTHER_WORDS = frozenset({"set", "out", "ago", "mag", "dec", "mai", "mar"})
"""Short names of months that are other words as well, so that they need a year."""
_VERBS = frozenset({"may", "march"})
_LEAP_YEAR = 2000
"""Stands for the year that a date does not have."""
_PIVOT_YEAR = 70
"""Two digits of a year below it are of this century."""


@frozen
class WrittenDate:
    """A date at ``text[start:end]``. ``readings``: what it may mean, several where day and month are not told apart."""

    readings: tuple[str, ...]
    start: int
    end: int


def month_number(word: str) -> int:
    """Return the number of a month from one of its names, 0 for another word."""
    return _MONTHS.get(word.casefold(), 0)


def find_full_dates(text: str) -> list[WrittenDate]:
    """Return the dates of a text that have a day, a month and a year, in their order."""
    found = [
        *_read_dates(_YEAR_FIRST, text),
        *_read_dates(_DAY_MONTH, text),
        *_read_dates(_MONTH_DAY, text),
        *_read_ordered_dates(text),
    ]
    return sorted(found, key=lambda each: each.start)


def find_written_dates(text: str) -> list[WrittenDate]:
    """Return the dates of a text, also those without a year or without a day, in their order; none overlap."""
    kept: list[WrittenDate] = []
    for found in (
        find_full_dates(text),
        _read_worded_dates(text),
        _read_dates_in_numbers(text),
        _read_partial_dates(_DAY_MONTH_ALONE, text),
        _read_partial_dates(_MONTH_YEAR, text),
        _read_partial_dates(_MONTH_DAY_ALONE, text),
    ):
        for each in found:
            if all(each.end <= other.start or other.end <= each.start for other in kept):
                kept.append(each)
    return sorted(kept, key=lambda each: each.start)


def _read_dates(pattern: re.Pattern[str], text: str) -> Iterator[WrittenDate]:
    for match in pattern.finditer(text):
        month = match["month"]
        number = int(month) if month.isdigit() else month_number(month)
        yield from _written_dates(match, [(int(match["year"]), number, int(match["day"]))])


def _read_partial_dates(pattern: re.Pattern[str], text: str) -> Iterator[WrittenDate]:
    for match in pattern.finditer(text):
        word, parts = match["month"], match.groupdict()
        month = month_number(word)
        if (
            not _is_month(word, follows_day=pattern is _DAY_MONTH_ALONE)
            or next(_iso_date(_LEAP_YEAR, month, int(parts.get("day") or 1)), None) is None
        ):
            continue
        reading = f"{parts['year']}-{month:02}" if "year" in parts else f"--{month:02}-{int(parts['day']):02}"
        yield WrittenDate((reading,), *match.span())


@cache
def _worded_patterns() -> tuple[re.Pattern[str], re.Pattern[str]]:
    """Return patterns of a day in words and a month, and of a month and a day in words."""
    words = "|".join(re.escape(word).replace(r"\ ", r"\s+") for word in sorted(day_words(), key=len, reverse=True))
    day = f"(?P<day>(?i:{words}))"
    return (
        re.compile(rf"(?<![\w-])(?=[^\W\d_]){day}\s+(?:(?:of|de)\s+)?{_WORD}{_YEAR_AFTER}"),
        re.compile(rf"\b{_WORD}\s+(?:the\s+)?{day}{_YEAR_AFTER}"),
    )


def _read_worded_dates(text: str) -> Iterator[WrittenDate]:
    """Yield the dates whose day is a word, with a year or without one."""
    if not any(word in _MONTHS for word in _MONTH_LETTERS.findall(text.casefold())):
        return
    for pattern in _worded_patterns():
        for match in pattern.finditer(text):
            month, day = month_number(match["month"]), day_words()[re.sub(r"\s+", " ", match["day"].lower())]
            year = int(match["year"] or _LEAP_YEAR)
            if match["year"] is None and not _is_month(match["month"], follows_day=False):
                continue
            for iso in _iso_date(year, month, day):
                yield WrittenDate((iso if match["year"] else f"--{iso[5:]}",), *match.span())


def _read_dates_in_numbers(text: str) -> Iterator[WrittenDate]:
    """Yield dates without a year such as "03/04" and "am 3.4.", and months such as "03/2026".

    Between slashes, a zero in front tells a date from a fraction.
    """
    for match in (*_NUMBERS_ALONE.finditer(text), *_GERMAN_ALONE.finditer(text)):
        first, second = match["first"], match["second"]
        if match["mark"] == "/" and not (first.startswith("0") or second.startswith("0")):
            continue
        orders = [(second, first), (first, second)] if match["mark"] == "/" else [(second, first)]
        found = (iso for month, day in orders for iso in _iso_date(_LEAP_YEAR, int(month), int(day)))
        readings = tuple(dict.fromkeys(f"--{iso[5:]}" for iso in found))
        if readings:
            yield WrittenDate(readings, *match.span())
    for match in _NUMBER_AND_YEAR.finditer(text):
        yield WrittenDate((f"{match['year']}-{match['month']}",), *match.span())


def _is_month(word: str, *, follows_day: bool) -> bool:
    """Whether a word is a month without a full date: before a number, "may" and "march" in small letters are verbs."""
    name = word.casefold()
    return name not in _OTHER_WORDS and (word[0].isupper() or follows_day or name not in _VERBS)


def _read_ordered_dates(text: str) -> Iterator[WrittenDate]:
    """Yield dates of three numbers, the year last. With points the day is first, else the other dates decide."""
    matches = list(_YEAR_LAST.finditer(text))
    day_first = any(int(match["first"]) > 12 for match in matches)  # noqa: PLR2004 (months)
    month_first = any(int(match["second"]) > 12 for match in matches)  # noqa: PLR2004 (months)
    for match in matches:
        first, second, year = int(match["first"]), int(match["second"]), int(match["year"])
        if len(match["year"]) == 2:  # noqa: PLR2004 (digits)
            year += 2000 if year < _PIVOT_YEAR else 1900
        readings = [(year, second, first), (year, first, second)]
        if match["mark"] == "." or (day_first and not month_first):
            readings = readings[:1]
        elif month_first and not day_first:
            readings = readings[1:]
        yield from _written_dates(match, readings)


def _written_dates(match: re.Match[str], readings: list[tuple[int, int, int]]) -> Iterator[WrittenDate]:
    values = tuple(dict.fromkeys(value for reading in readings for value in _iso_date(*reading)))
    if values:
        yield WrittenDate(values, *match.span())


def _iso_date(year: int, month: int, day: int) -> Iterator[str]:
    """Yield the date if there is such a day."""
    try:
        yield date(year, month, day).isoformat()
    except ValueError:
        return
