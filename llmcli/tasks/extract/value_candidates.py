"""The numbers and dates that stand in a text, as values of JSON.

A mark between digits is read by its place: "1,234.50" and "1.234,50" are the same number. Where only one mark could be
either, the other numbers of the text decide. Dates without a year are no values, nor are pieces of longer words. Month names are those of English,
German, French, Spanish, Italian, Portuguese and Dutch.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import date

from llmcli.fast_dataclass import frozen
from llmcli.tasks.extract.enclosing_words import EnclosingWords

MAX_DIGITS = 15
"""Digits of a number that is a value: more would not survive as a floating-point number."""
_NUMBER = re.compile(
    r"(?P<sign>(?<![\w)\]\-\u2010-\u2013\u2212])[-\u2212+])?(?<!\d)(?<!\d[.,'\u2019])"
    r"(?P<digits>\d{1,3}(?P<mark>[.,'\u2019\u00a0\u202f])\d{3}(?:(?P=mark)\d{3})*(?:[.,]\d+)?|\d+(?:[.,]\d+)?)"
    r"(?!\d|[.,'\u2019]\d)"
)
_NUMBER_WORDS = {
    word: number
    for number, word in enumerate(
        "zero one two three four five six seven eight nine ten eleven twelve".split()  # noqa: SIM905 (a list of words is easier to read)
    )
}
_NUMBER_WORD = re.compile(rf"\b(?:{'|'.join(_NUMBER_WORDS)})\b", re.IGNORECASE)
_DECIMAL_COMMA = re.compile(r"(?<![\d.,])\d+(?:\.\d{3})*,\d{1,2}(?![\d]|[.,]\d)")
_DECIMAL_POINT = re.compile(r"(?<![\d.,])\d+(?:,\d{3})*\.\d{1,2}(?![\d]|[.,]\d)")
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
_YEAR_FIRST = re.compile(
    r"(?<![\d.,/-])(?P<year>\d{4})(?P<mark>[-/.])(?P<month>\d{1,2})(?P=mark)(?P<day>\d{1,2})(?!\d)"
)
_YEAR_LAST = re.compile(
    r"(?<![\d.,/-])(?P<first>\d{1,2})(?P<mark>[-/.])(?P<second>\d{1,2})(?P=mark)(?P<year>\d{4}|\d{2})(?![\d]|[-/.]\d)"
)
_DAY_MONTH = re.compile(
    rf"(?<![\d.,])(?P<day>\d{{1,2}})(?:st|nd|rd|th|er|\.|\u00ba)?[\s-]+(?:of\s+|de\s+)?{_WORD},?[\s-]+(?:del?\s+)?"
    r"(?P<year>\d{4})(?!\d)"
)
_MONTH_DAY = re.compile(rf"\b{_WORD}\s+(?P<day>\d{{1,2}})(?:st|nd|rd|th)?,?\s+(?P<year>\d{{4}})(?!\d)")
_PIVOT_YEAR = 70
"""Two digits of a year below it are of this century."""


@frozen
class Candidate:
    """A value of a range of a text.

    ``forms``: the ways to write it in JSON; ``ambiguous``: it may mean another value.
    """

    value: int | float | str
    start: int
    end: int
    forms: tuple[str, ...]
    ambiguous: bool = False


def find_numbers(text: str) -> list[Candidate]:
    """Return the numbers in a text, in its order; those in words up to twelve are English."""
    decimal_mark = "," if len(_DECIMAL_COMMA.findall(text)) > len(_DECIMAL_POINT.findall(text)) else "."
    words = EnclosingWords(text)
    found = []
    for match in _NUMBER.finditer(text):
        if not words.has_whole_number(*match.span("digits")):
            continue
        plain = _normalize_number(match["digits"], match["mark"], decimal_mark)
        if len(plain.replace(".", "")) <= MAX_DIGITS:
            sign = "-" if match["sign"] in {"-", "\u2212"} else ""
            start = match.start() if sign else match.start("digits")
            found.append(_number_candidate(sign + plain, start, match.end()))
    for match in _NUMBER_WORD.finditer(text):
        if not words.has_whole_number_word(*match.span()):
            continue
        number = _NUMBER_WORDS[match[0].lower()]
        found.append(Candidate(number, *match.span(), (str(number),)))
    return sorted(found, key=lambda each: each.start)


def find_dates(text: str) -> list[Candidate]:
    """Return the dates in a text with their years, in its order; "03/04/2024" twice if the text does not decide it."""
    found = [
        *_read_dates(_YEAR_FIRST, text),
        *_read_dates(_DAY_MONTH, text),
        *_read_dates(_MONTH_DAY, text),
        *_read_ordered_dates(text),
    ]
    words = EnclosingWords(text)
    whole = (each for each in found if words.has_whole_date(each.start, each.end))
    return sorted(whole, key=lambda each: each.start)


def _normalize_number(digits: str, mark: str | None, decimal_mark: str) -> str:
    """Return digits with a point before the decimals and no other marks."""
    if mark is None:
        plain = digits.replace(",", ".")
    else:
        last = next((each for each in reversed(digits) if not each.isdigit()), "")
        if last != mark:  # groups and decimals
            plain = digits.replace(mark, "").replace(last, ".")
        elif digits.count(mark) > 1 or mark != decimal_mark:
            plain = digits.replace(mark, "")
        else:
            plain = digits.replace(mark, ".")
    whole, point, decimals = plain.partition(".")
    return f"{int(whole)}{point}{decimals}"


def _number_candidate(plain: str, start: int, end: int) -> Candidate:
    value: int | float = float(plain) if "." in plain else int(plain)
    forms = dict.fromkeys([plain, *([_shortest(value)] if isinstance(value, float) else [])])
    if isinstance(value, float) and value.is_integer():
        forms[str(int(value))] = None
    return Candidate(value, start, end, tuple(forms))


def _shortest(value: float) -> str:
    text = repr(value)
    return text if "e" not in text else format(value, "f")


def _read_dates(pattern: re.Pattern[str], text: str) -> Iterator[Candidate]:
    for match in pattern.finditer(text):
        month = match["month"]
        number = int(month) if month.isdigit() else _MONTHS.get(month.casefold(), 0)
        yield from _date_candidates(match, [(int(match["year"]), number, int(match["day"]))])


def _read_ordered_dates(text: str) -> Iterator[Candidate]:
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
        yield from _date_candidates(match, readings)


def _date_candidates(match: re.Match[str], readings: list[tuple[int, int, int]]) -> Iterator[Candidate]:
    values = dict.fromkeys(value for reading in readings for value in _iso_date(*reading))
    for value in values:
        yield Candidate(value, *match.span(), (f'"{value}"',), len(values) > 1)


def _iso_date(year: int, month: int, day: int) -> Iterator[str]:
    """Yield the date if there is such a day."""
    try:
        yield date(year, month, day).isoformat()
    except ValueError:
        return
