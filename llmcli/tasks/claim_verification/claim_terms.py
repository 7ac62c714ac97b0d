"""The parts of a sentence that can be compared by rule: its numbers and dates, its names, and whether it denies.

A date is one figure, not the numbers that it is written with.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from llmcli.documents.sentences import UNSPACED_CHARACTERS
from llmcli.fast_dataclass import frozen
from llmcli.tasks.written_dates import WrittenDate, find_written_dates

_TERM = re.compile(f"[{UNSPACED_CHARACTERS}]|[^\\W_{UNSPACED_CHARACTERS}]+")
_SUFFIXES = ("ing", "ed", "es", "s")
_MIN_STEM = 4
_NUMBER = re.compile(r"(?<![\w.])[-+]?\d+(?:[.,]\d+)*")
_GROUPED = re.compile(r"(?<=\d),(?=\d{3}\b)")
_DATE = re.compile(r"(\d{4}|-)-(\d\d)(?:-(\d\d))?")
_OR = "|"
"""Between the readings of a date of which day and month are not told apart."""
_WORD = re.compile(r"[^\W\d_][\w.+#-]*\w|[^\W\d_]")
_NEGATION = re.compile(
    r"\b(?:not|no|never|none|nothing|nobody|neither|nor|without|cannot|unable|lacks?|instead of|fails? to)\b|n['\u2019]t\b",
    re.IGNORECASE,
)
_NEGATABLE = re.compile(
    r"\b(?:is|are|was|were|can|will|would|should|could|does|do|did|has|have|had|must|may|might)\b(?! not\b|n['\u2019]t)",
    re.IGNORECASE,
)
_NEGATED = re.compile(
    r"\b(is|are|was|were|can|will|would|should|could|does|do|did|has|have|had|must|may|might) not\b", re.IGNORECASE
)
_NUMBER_WORDS = {
    word: str(value)
    for value, word in enumerate(
        ["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve"]
    )
    if value > 1
}


@frozen
class ClaimTerms:
    """The terms of a text that a paraphrase keeps. ``denies``: it has an odd number of negations."""

    numbers: frozenset[str]
    names: frozenset[str]
    words: frozenset[str]
    denies: bool


def find_terms(text: str) -> list[str]:
    """Return the words of a text without case and common English endings; characters where no spaces are used."""
    return [_stem(word) for word in _TERM.findall(text.casefold())]


def _stem(word: str) -> str:
    for suffix in _SUFFIXES:
        if word.endswith(suffix) and len(word) - len(suffix) >= _MIN_STEM:
            return word.removesuffix(suffix)
    return word


def read_terms(text: str) -> ClaimTerms:
    """Return the terms of a sentence or passage.

    Names are words with a capital or a digit; the first word of a sentence counts only with a capital inside. Numbers
    have no separators of thousands; those up to twelve may be words.
    """
    words = find_terms(text)
    return ClaimTerms(
        find_numbers(text) | {_NUMBER_WORDS[word] for word in words if word in _NUMBER_WORDS},
        frozenset(find_names(blank_dates(text))),
        frozenset(words),
        len(_NEGATION.findall(text)) % 2 == 1,
    )


def find_numbers(text: str) -> frozenset[str]:
    """Return the numbers of a text that are written in digits, without separators of thousands, and its dates.

    Dates are as ``find_written_dates`` has them, and their digits are no numbers; ``missing_figures`` compares both.
    """
    return frozenset(figure for figure, _ in iter_figures(text))


def iter_figures(text: str) -> Iterator[tuple[str, str]]:
    """Yield the dates of a text, then its other numbers, each with the words that it is written with."""
    dates = find_written_dates(text)
    for each in dates:
        yield _OR.join(each.readings), text[each.start : each.end]
    blanked = _blank(text, dates)
    for number, start, end in iter_digits(blanked):
        yield number, blanked[start:end]


def iter_digits(text: str) -> Iterator[tuple[str, int, int]]:
    """Yield the numbers in digits of a text without dates, and their places, without separators of thousands."""
    for match in _NUMBER.finditer(text):
        yield _GROUPED.sub("", match[0]).rstrip(".,").lstrip("+"), *match.span()


def blank_dates(text: str) -> str:
    """Return a text with blanks in place of its dates."""
    return _blank(text, find_written_dates(text))


def _blank(text: str, dates: Iterable[WrittenDate]) -> str:
    for each in dates:
        text = text[: each.start] + " " * (each.end - each.start) + text[each.end :]
    return text


def is_date(figure: str) -> bool:
    """Whether one of ``find_numbers`` is a date."""
    return _DATE.match(figure) is not None


def figure_forms(figure: str) -> frozenset[str]:
    """Return what a figure of a source says: of a date with all its parts also its day, its month and its year."""
    forms = {figure}
    for reading in figure.split(_OR):
        date = _DATE.fullmatch(reading)
        if date is not None:
            year, month, day = date.groups()
            forms |= {reading} | ({f"--{month}-{day}"} if day else set())
            forms |= {year, f"{year}-{month}"} if year != "-" else set()
    return frozenset(forms)


def missing_figures(figures: Iterable[str], known: frozenset[str]) -> frozenset[str]:
    """Return the figures that do not stand among the ``known`` ones.

    A date stands there with the same day and month, and the same year where both have one.
    """
    missing = frozenset(figures) - known
    if not missing:
        return missing
    forms = frozenset[str]().union(*map(figure_forms, known))
    return frozenset(
        figure
        for figure in missing
        if not any(reading in forms or without_year(reading) in known for reading in figure.split(_OR))
    )


def without_year(figure: str) -> str:
    """Return a date with a day as it is without its year; any other figure as it is."""
    date = _DATE.fullmatch(figure)
    return figure if date is None or not date[3] else f"--{date[2]}-{date[3]}"


def missing_numbers(claim: ClaimTerms, evidence: Iterable[ClaimTerms]) -> int:
    """Return how many numbers of a claim stand in none of the texts."""
    return len(missing_figures(claim.numbers, frozenset[str]().union(*(each.numbers for each in evidence))))


def missing_names(claim: ClaimTerms, evidence: Iterable[ClaimTerms]) -> int:
    """Return how many names of a claim stand in none of the texts, in any case."""
    known = frozenset[str]().union(*(each.words for each in evidence))
    return sum(not known.issuperset(find_terms(name)) for name in claim.names)


def negate(sentence: str) -> str | None:
    """Return the sentence with its first negation of a verb taken out, or else one put in; None if it has no place."""
    denied = _NEGATED.search(sentence)
    if denied is not None:
        return sentence[: denied.start()] + denied[1] + sentence[denied.end() :]
    if "cannot" in sentence:
        return sentence.replace("cannot", "can", 1)
    verb = _NEGATABLE.search(sentence)
    return None if verb is None else f"{sentence[: verb.end()]} not{sentence[verb.end() :]}"


def find_names(text: str) -> Iterable[str]:
    """Yield the words of a text with a capital or a digit inside, or a first capital that no sentence gives them."""
    starts = True
    for match in _WORD.finditer(text):
        word = match[0]
        inner = any(map(str.isupper, word[1:])) or any(map(str.isdigit, word))
        if inner or (word[0].isupper() and not starts and len(word) > 1):
            yield word
        starts = text[match.end() : match.end() + 2].strip()[:1] in {".", "!", "?", ":"} and match.end() < len(text)


def dice_coefficient(one: frozenset[str], other: frozenset[str]) -> float:
    """Return how much two sets have in common: 0 for nothing, 1 for equal ones."""
    return 2 * len(one & other) / max(1, len(one) + len(other))
