"""The figures of a text that its sources must have: dates, numbers in digits or words, and their units.

A figure is compared as a string: a date or a number as ``find_numbers`` has it, and a number with a unit as "40 kg". Where
a number counts something, its noun is its unit. What a source says has more forms: "40 kg" also says 40, and "twelve"
says 12. A number without a known unit may have any.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from decimal import Decimal, InvalidOperation
from itertools import zip_longest

from llmcli.fast_dataclass import frozen
from llmcli.tasks.claim_verification.claim_terms import (
    blank_dates,
    figure_forms,
    is_date,
    iter_digits,
    without_year,
)
from llmcli.tasks.claim_verification.claim_terms import iter_figures as iter_dates
from llmcli.tasks.claim_verification.claim_terms import missing_figures as missing_numbers
from llmcli.tasks.generate.counted_nouns import (
    ANY_NOUN,
    CountedNoun,
    counts_itself,
    find_counted_noun,
    has_content,
    is_counted,
    is_table_cell,
    iter_source_nouns,
    split_nouns,
)
from llmcli.tasks.generate.measure_units import meanings, unit_after, unit_before
from llmcli.tasks.generate.sentence_forms import blank_inner_items
from llmcli.tasks.generate.worded_numbers import find_worded_numbers, is_small_number, scales_after
from llmcli.tasks.languages import likeliest_language

_ANY_UNIT = "?"
_OR = "|"
_LEAST = 2
"""The smallest number in words that is a figure with a unit or a noun."""
_YEARS = range(1500, 2100)
"""Numbers in digits that count nothing: "the 2023 edition"."""
_SECOND, _DECADE_DIGITS = "s", 3
"""From so many digits on, an s is the plural of "1990s"."""
_RANGE = re.compile(r"\s*(?:[-\u2013\u2014/,]|to|and|or|bis|und|oder|\u00e0|et|ou|a|y|o|e)\s*", re.IGNORECASE)
_POINTING = re.compile(
    r"\b(?:these|those|both|other|such|diese[nr]?|beide[nr]?|anderen?|ces|estos|estas|questi|queste|estes|deze"
    r"|(?P<pair>the|all|between|die|der|zwischen|les|entre|los|las|tra|fra|gli|tussen))\s+(?:the\s+)?\Z",
    re.IGNORECASE,
)
"""What comes before a number that counts what a text has named, and before two that it need not have named."""
_LIST_START = re.compile(r"\s*(?:[:(\u2013\u2014,]|such as|namely|n\u00e4mlich|\u00e0 savoir)\s*", re.IGNORECASE)
_LIST_SEPARATOR = re.compile(
    r"\s*(?:[,;]\s*(?:(?:and|or|und|oder|et|ou|y|o|e)\s+)?|\s(?:and|or|und|oder|et|ou|y|o|e)\s)\s*"
)
_LIST_END = re.compile(r"[.!?:)\u2014]")
_COPULA = re.compile(
    r"(?<!\bthere)\s+(?:are|sind|sont|son|sono|s\u00e3o|zijn)\s+(?:the\s+|die\s+|les\s+)?\Z", re.IGNORECASE
)
_MAX_ITEM_WORDS = 6


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
    """A number at ``text[start:end]`` with its readings, its unit, and whether it is a figure wherever it stands.

    Without its unit, it ends at ``bare_end``.
    """

    readings: tuple[str, ...]
    unit: str
    start: int
    end: int
    bare_end: int
    certain: bool = True
    is_cardinal: bool = True
    scales: tuple[int, ...] = ()


def find_figures(text: str, num_items: int = 0) -> frozenset[str]:
    """Return the figures of a text that a source must have.

    Numbers in words count from thirteen on, and from two on with a unit or a noun that they count. ``num_items``: items of
    a list that follow the text; a number that counts them, or what the text itself enumerates, is no figure.
    """
    return frozenset(each.key for each in iter_figures(text, num_items))


def iter_figures(text: str, num_items: int = 0) -> Iterator[Figure]:
    """Yield the figures of a text that a source must have: its dates, then its numbers."""
    yield from _iter_written_dates(text)
    blanked, language = blank_inner_items(blank_dates(text)), likeliest_language(text)
    for each in _iter_numbers(blanked):
        noun = _counted_noun(blanked, each, language)
        if noun is not None and _needs_no_source(blanked, each, noun, num_items):
            continue
        if each.certain or ((each.unit or noun) and _is_small(blanked, each, _LEAST)):
            yield _as_figure(blanked, each, noun)


def _counted_noun(text: str, number: _Number, language: str) -> CountedNoun | None:
    """Return what a number counts; None if it has a unit, is a year, or counts nothing."""
    if number.unit or not number.is_cardinal or not number.readings[0].isdecimal():
        return None
    if text[number.start].isdecimal() and int(number.readings[0]) in _YEARS:
        return None
    return find_counted_noun(text, number.start, number.end, language)


def _needs_no_source(text: str, number: _Number, noun: CountedNoun, num_items: int) -> bool:
    """Whether a number counts what the text itself has named or lists, or stands in an ordinary phrase."""
    value = int(number.readings[0])
    if counts_itself(text, number.start, noun) or value in _enumerated(text, number.start, noun.end, num_items):
        return True
    pointing = _POINTING.search(text, 0, number.start)
    return pointing is not None and (pointing["pair"] is None or value == _LEAST)


def _enumerated(text: str, start: int, end: int, num_items: int) -> Iterator[int]:
    """Yield how many things a text enumerates before ``start``, and after ``end``."""
    copula = _COPULA.search(text, 0, start)
    if copula is not None:
        yield len(_LIST_SEPARATOR.split(text[: copula.start()]))
    mark = _LIST_START.match(text, end)
    if mark is None:
        return
    stop = _LIST_END.search(text, mark.end())
    listed = text[mark.end() : stop.start() if stop else len(text)].strip()
    items = _LIST_SEPARATOR.split(listed) if listed else []
    if all(len(item.split()) <= _MAX_ITEM_WORDS for item in items):
        yield len(items) or num_items


def _iter_written_dates(text: str) -> Iterator[Figure]:
    for date, words in iter_dates(text):
        if is_date(date):
            yield Figure(date, "", words)


def _as_figure(text: str, number: _Number, noun: CountedNoun | None = None) -> Figure:
    unit, start, end = number.unit, number.start, number.end
    if noun is not None:
        unit, start, end = noun.unit, noun.start, noun.end
    return Figure(_OR.join(number.readings), unit, text[start:end])


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
    known.update(_known_nouns(blanked, numbers))
    return frozenset(known)


def known_figures_of(texts: Iterable[str]) -> frozenset[str]:
    """Return all figures that several texts say."""
    return frozenset[str]().union(*map(known_figures, texts))


def _known_nouns(text: str, numbers: Sequence[_Number]) -> Iterator[str]:
    """Yield the numbers of a source with what they may count: the words up to the next number, and from the last one."""
    if not numbers:
        return
    language, start = likeliest_language(text), 0
    for at, each in enumerate(numbers):
        noun = _counted_noun(text, each, language)
        others = (other.start for other in numbers[at + 1 :] if has_content(text[each.end : other.start]))
        before, after = text[start : each.start], text[each.bare_end : next(others, len(text))]
        units = [*iter_source_nouns(before, after, has_noun=noun is not None)]
        units += split_nouns(noun.unit) if noun is not None else []
        units += [ANY_NOUN] if is_table_cell(text, each.start, each.bare_end) else []
        yield from (f"{reading} {unit}" for reading in each.readings for unit in units)
        start = each.end if noun is None else noun.end


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


def describe_figure(figure: str, sentence: str) -> str:
    """Return a figure of a sentence in words, as it is written there."""
    blanked, language = blank_inner_items(blank_dates(sentence)), likeliest_language(sentence)
    numbers = [(each, _counted_noun(blanked, each, language)) for each in _iter_numbers(blanked)]
    written = [*_iter_written_dates(sentence), *(_as_figure(blanked, each, noun) for each, noun in numbers)]
    by_key = [each.text for each in written if each.key == figure]
    if is_date(figure):
        return f"the date {by_key[0].rstrip('.')}"
    cardinals = (each for each, _ in sorted(numbers, key=lambda pair: not pair[0].is_cardinal))
    bare = (_as_figure(blanked, each).text for each in cardinals if _OR.join(each.readings) == figure)
    text = next(iter([*by_key, *bare]), figure)
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
    units = (*split_nouns(unit), ANY_NOUN) if is_counted(unit) else (*meanings(unit), _ANY_UNIT)
    return frozenset(f"{reading} {each}" for reading in number.split(_OR) for each in units)


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
        found.append(_Number(readings, unit, each.start, end, each.end, each.certain, each.is_cardinal))
    yield from sorted(found, key=lambda each: each.start)


def _iter_digit_numbers(text: str) -> Iterator[_Number]:
    for plain, first, last in iter_digits(text):
        scales, end = scales_after(text, last)
        scaled = tuple(value for scale in scales for value in _scale(plain, scale))
        currency, start = unit_before(text, first)
        unit, after = (currency, end) if currency else unit_after(text, end)
        if unit == _SECOND and after == end + 1 and len(plain) >= _DECADE_DIGITS:
            unit = ""
        yield _Number(scaled or (plain,), unit, start, after, end, scales=scales)
