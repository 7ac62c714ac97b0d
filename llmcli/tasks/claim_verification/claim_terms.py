"""The parts of a sentence that can be compared by rule: its numbers, its names, and whether it denies."""

from __future__ import annotations

import re
from collections.abc import Iterable

from llmcli.documents.sentences import UNSPACED_CHARACTERS
from llmcli.fast_dataclass import frozen

_TERM = re.compile(f"[{UNSPACED_CHARACTERS}]|[^\\W_{UNSPACED_CHARACTERS}]+")
_SUFFIXES = ("ing", "ed", "es", "s")
_MIN_STEM = 4
_NUMBER = re.compile(r"(?<![\w.])[-+]?\d+(?:[.,]\d+)*")
_GROUPED = re.compile(r"(?<=\d),(?=\d{3}\b)")
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
        frozenset(find_names(text)),
        frozenset(words),
        len(_NEGATION.findall(text)) % 2 == 1,
    )


def find_numbers(text: str) -> frozenset[str]:
    """Return the numbers of a text that are written in digits, without separators of thousands."""
    return frozenset(_GROUPED.sub("", match).rstrip(".,").lstrip("+") for match in _NUMBER.findall(text))


def missing_numbers(claim: ClaimTerms, evidence: Iterable[ClaimTerms]) -> int:
    """Return how many numbers of a claim stand in none of the texts."""
    return len(claim.numbers - frozenset[str]().union(*(each.numbers for each in evidence)))


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
