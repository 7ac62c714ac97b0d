"""The numbers and dates that stand in a text, as values of JSON.

A mark between digits is read by its place: "1,234.50" and "1.234,50" are the same number. Where only one mark could be
either, the other numbers of the text decide. Dates without a year are no values, nor are pieces of longer words.
"""

from __future__ import annotations

import re

from llmcli.fast_dataclass import frozen
from llmcli.tasks.extract.enclosing_words import EnclosingWords
from llmcli.tasks.written_dates import find_full_dates

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
    words = EnclosingWords(text)
    return [
        Candidate(value, found.start, found.end, (f'"{value}"',), len(found.readings) > 1)
        for found in find_full_dates(text)
        if words.has_whole_date(found.start, found.end)
        for value in found.readings
    ]


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
