"""The figures of a text that its sources must have: dates, numbers in digits or words, and their units.

A figure is compared as a string: a date or a number as ``find_numbers`` has it, and a number with a unit as "40 kg".
What a source says has more forms: "40 kg" also says 40, and "twelve" says 12. A number without a known unit may have any.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from decimal import Decimal, InvalidOperation
from itertools import zip_longest

from llmcli.fast_dataclass import frozen
from llmcli.store.word_ranking import STOP_WORDS
from llmcli.tasks.claim_verification.claim_terms import (
    blank_dates,
    figure_forms,
    find_terms,
    is_date,
    iter_digits,
    without_year,
)
from llmcli.tasks.claim_verification.claim_terms import iter_figures as iter_dates
from llmcli.tasks.claim_verification.claim_terms import missing_figures as missing_numbers
from llmcli.tasks.generate.measure_units import meanings, unit_after, unit_before
from llmcli.tasks.generate.worded_numbers import find_worded_numbers, is_small_number, scales_after

_ANY_UNIT = "?"
_OR = "|"
_COUNTED = "#"
"""Before the noun that a text counts."""
_LEAST_MEASURED, _LEAST_COUNTED = 2, 3
"""The smallest number in words that is a figure with a unit, and before a noun: "two things" count what no source counts."""
_SECOND, _DECADE_DIGITS = "s", 3
"""From so many digits on, an s is the plural of "1990s"."""
_RANGE = re.compile(r"\s*(?:[-\u2013\u2014/,]|to|and|or|bis|und|oder|\u00e0|et|ou|a|y|o|e)\s*", re.IGNORECASE)
_NOUN = re.compile(r"[\s-]+([^\W\d_]{4,})")
_POINTING = re.compile(r"\b(?:the|these|those|all|both|first|last|next|other|of)\s+\Z", re.IGNORECASE)
"""What comes before a number that counts what a text has named, not what a source counts."""


@frozen
class Figure:
    """A date or number of a text. ``text`` is as it is written; a number without a ``unit`` may have any."""

    number: str
    unit: str
    text: str

    @property
    def key(self) -> str:
        """What it is compared by."""
        return f"{self.number} {self.unit}" if self.unit else self.number


@frozen
class _Number:
    """A number at ``text[start:end]`` with its readings, its unit, and whether it is a figure wherever it stands."""

    readings: tuple[str, ...]
    unit: str
    start: int
    end: int
    certain: bool = True
    is_cardinal: bool = True
    scales: tuple[int, ...] = ()


def find_figures(text: str) -> frozenset[str]:
    """Return the figures of a text that a source must have.

    Numbers in words count from thirteen on, and from two on with a unit.
    """
    return frozenset(each.key for each in iter_figures(text))


def iter_figures(text: str) -> Iterator[Figure]:
    """Yield the figures of a text that a source must have: its dates, then its numbers."""
    yield from _iter_written_dates(text)
    blanked = blank_dates(text)
    for each in _iter_numbers(blanked):
        if each.certain or (each.unit and _is_small(blanked, each, _LEAST_MEASURED)):
            yield _as_figure(blanked, each)


def _iter_written_dates(text: str) -> Iterator[Figure]:
    for date, words in iter_dates(text):
        if is_date(date):
            yield Figure(date, "", words)


def _as_figure(text: str, number: _Number) -> Figure:
    return Figure(_OR.join(number.readings), number.unit, text[number.start : number.end])


def known_figures(text: str) -> frozenset[str]:
    """Return all figures that a source says, in each of their forms."""
    known = {date for date, _ in iter_dates(text)}
    blanked = blank_dates(text)
    numbers = [*_iter_numbers(blanked)]
    for each, after in zip_longest(numbers, numbers[1:]):
        if after and not each.unit and _RANGE.fullmatch(blanked, each.end, after.start):
            known.update(_forms(_scaled_like(each, after), after.unit))
        else:
            known.update(_forms(each.readings, each.unit))
        if each.is_cardinal and each.readings[0] not in {"0", "1"}:
            known.update(_COUNTED + noun for noun in _noun_after(blanked, each.end))
    return frozenset(known)


def missing_figures(figures: Iterable[str], known: frozenset[str]) -> frozenset[str]:
    """Return the figures that are not among the ``known`` ones.

    A date is there with the same day and month, and the same year where both have one, a number with a unit also if it
    is there without one.
    """
    asked = frozenset(figures) - known
    measured = {figure for figure in asked if " " in figure}
    return missing_numbers(asked - measured, known) | {
        figure for figure in measured if known.isdisjoint(_measured_forms(figure))
    }


def supporting_forms(figure: str) -> frozenset[str]:
    """Return those of ``known_figures`` of which a text has one if it says a figure."""
    if " " in figure:
        return _measured_forms(figure)
    return frozenset(
        form
        for each in figure_forms(figure)
        for reading in each.split(_OR)
        for form in (each, reading, without_year(reading))
    )


def without_unit(figure: str) -> str:
    """Return a figure without its unit."""
    return figure.partition(" ")[0]


def find_miscounted(text: str, known: frozenset[str]) -> list[Figure]:
    """Return the numbers in words below thirteen that count what the sources count with other numbers."""
    blanked = blank_dates(text)
    found = []
    for each in _iter_numbers(blanked):
        if each.certain or each.unit or not known.isdisjoint(each.readings):
            continue
        nouns = [noun for noun in _noun_after(blanked, each.end) if _COUNTED + noun in known]
        if nouns and _is_small(blanked, each, _LEAST_COUNTED) and not _POINTING.search(blanked, 0, each.start):
            found.append(_as_figure(blanked, each))
    return found


def describe_figure(figure: str, sentence: str) -> str:
    """Return a figure of a sentence in words, as it is written there."""
    blanked = blank_dates(sentence)
    numbers = (_as_figure(blanked, each) for each in _iter_numbers(blanked))
    written = [each.text for each in (*_iter_written_dates(sentence), *numbers) if figure in {each.key, each.number}]
    if is_date(figure):
        return f"the date {written[0].rstrip('.')}"
    text = written[0] if written else figure
    is_plain = " " not in figure and _OR not in figure and re.search(r"\d", text)
    return f"the number {figure if is_plain else text}"


def _is_small(text: str, number: _Number, least: int) -> bool:
    return any(
        is_small_number(text, each, least)
        for each in find_worded_numbers(text)
        if number.start <= each.start and each.end <= number.end
    )


def _forms(readings: Iterable[str], unit: str) -> Iterator[str]:
    for reading in readings:
        yield reading
        yield from (f"{reading} {each}" for each in meanings(unit or _ANY_UNIT))


def _measured_forms(figure: str) -> frozenset[str]:
    number, _, unit = figure.partition(" ")
    return frozenset(f"{reading} {each}" for reading in number.split(_OR) for each in (*meanings(unit), _ANY_UNIT))


def _noun_after(text: str, at: int) -> Iterator[str]:
    match = _NOUN.match(text, at)
    if match is not None and match[1].lower() not in STOP_WORDS:
        yield from find_terms(match[1])


def _scaled_like(number: _Number, other: _Number) -> Iterator[str]:
    """Yield the readings of the first number of a range such as "2 to 3 million"."""
    yield from number.readings
    yield from (scaled for reading in number.readings for scale in other.scales for scaled in _scale(reading, scale))


def _scale(number: str, scale: int) -> Iterator[str]:
    try:
        value = Decimal(number.replace(",", ".")).scaleb(scale)
    except InvalidOperation:  # several points, such as a version
        return
    yield (
        f"{value:f}".rstrip("0").rstrip(".") if value != value.to_integral_value() else f"{value.to_integral_value():f}"
    )


def _iter_numbers(text: str) -> Iterator[_Number]:
    """Yield the numbers of a text without dates, in their order."""
    found = [*_iter_digit_numbers(text)]
    digits = re.compile(r"\d")
    for each in find_worded_numbers(text):
        if digits.search(text, max(0, each.start - 1), each.start) or any(
            one.start <= each.start < one.end for one in found
        ):
            continue
        unit, end = unit_after(text, each.end)
        readings = tuple(map(str, each.values))
        found.append(_Number(readings, unit, each.start, end, each.certain, each.is_cardinal))
    yield from sorted(found, key=lambda each: each.start)


def _iter_digit_numbers(text: str) -> Iterator[_Number]:
    for plain, first, last in iter_digits(text):
        scales, end = scales_after(text, last)
        scaled = tuple(value for scale in scales for value in _scale(plain, scale))
        currency, start = unit_before(text, first)
        unit, after = (currency, end) if currency else unit_after(text, end)
        if unit == _SECOND and after == end + 1 and len(plain) >= _DECADE_DIGITS:
            unit = ""
        yield _Number(scaled or (plain,), unit, start, after, scales=scales)
