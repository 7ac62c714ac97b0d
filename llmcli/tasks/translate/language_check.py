"""Whether a translation of some words is in another language than its target.

Names and technical terms stay as they are in a right translation, and look like their language. So words that the source
text has too are no evidence for a third language, and among them names are no evidence for the source language.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from llmcli.documents.sentences import UNSPACED_CHARACTERS
from llmcli.fast_dataclass import frozen
from llmcli.tasks.languages import (
    MIN_LOG_ODDS,
    Language,
    base_code,
    foreign_log_odds,
    is_detectable,
    is_still_in_source_language,
    named_base_codes,
)

MIN_WORDS = 4
"""A translation with fewer words is not judged: "Menu principal" is French, Spanish and Portuguese."""
_MIN_NEW_WORDS = 3
_CHARS_PER_WORD = 2
"""Characters of a script without spaces that count as a word."""
_WORD = re.compile(
    f"[{UNSPACED_CHARACTERS}]+|[^\\W\\d_{UNSPACED_CHARACTERS}]+(?:['\u2019-][^\\W\\d_{UNSPACED_CHARACTERS}]+)*"
)
_CODE = re.compile(r"(?<!\S)\S*[/\\_@=|]\S*|(?<!\S)\[?--?\w[\w-]*|(?<!\S)\[[^\s\[\]]*\]|(?<!\S)[!-~]*\d[!-~]*(?!\S)")
"""Paths, options, assignments, what is optional in the syntax of a command, and words with digits, such as "1-bit"."""


@frozen
class LanguageEvidence:
    """The words of a translation that show its language: the new ones, and all but names from its source text."""

    new_words: tuple[str, ...]
    unnamed_words: tuple[str, ...]
    is_judged: bool
    """Whether it has enough words to be judged by itself."""


def read_evidence(text: str, translation: str) -> LanguageEvidence:
    """Return what shows the language of a translation of ``text``; neither has masks."""
    words = _WORD.findall(_CODE.sub(" ", translation))
    source_words = {word.casefold() for word in _WORD.findall(text)}
    names = {word for word in _WORD.findall(text)[1:] if not word.islower()} if not text.isupper() else set[str]()
    new = tuple(word for word in words if word.casefold() not in source_words)
    unnamed = tuple(word for word in words if word not in names)
    return LanguageEvidence(new, unnamed, is_judged=_count_words(words) >= MIN_WORDS)


def foreignness(evidence: Sequence[LanguageEvidence], source: Language | None, target: Language) -> float:
    """Return the log-odds that translations are in one other language: above ``MIN_LOG_ODDS`` it is certain.

    Minus infinity if nothing can be said, and for a text that is rewritten in its own language.
    """
    if source is not None and base_code(source) == base_code(target):
        return float("-inf")
    new = [word for one in evidence for word in one.new_words]
    unnamed = [word for one in evidence for word in one.unnamed_words]
    odds = [float("-inf")]
    if _count_words(new) >= _MIN_NEW_WORDS:
        odds.append(foreign_log_odds(" ".join(new), named_base_codes(), target))
    if source is not None and _count_words(unnamed) >= MIN_WORDS:
        odds.append(foreign_log_odds(" ".join(unnamed), {base_code(source)}, target))
    return max(odds)


def is_foreign(text: str, translation: str, source: Language | None, target: Language) -> bool:
    """Return whether a translation is certainly in another language than ``target``.

    One of fewer than four words, or into a language that cannot be identified, is only compared with its source.
    """
    evidence = read_evidence(text, translation)
    if evidence.is_judged and is_detectable(target):
        return foreignness([evidence], source, target) > MIN_LOG_ODDS
    return source is not None and is_still_in_source_language(" ".join(evidence.unnamed_words), source, target)


def is_doubtful(evidence: LanguageEvidence, source: Language | None, target: Language) -> bool:
    """Return whether a translation is likely but not certainly in another language than ``target``."""
    return evidence.is_judged and 0 < foreignness([evidence], source, target) <= MIN_LOG_ODDS


def _count_words(words: Sequence[str]) -> int:
    return sum(max(1, len(word) // _CHARS_PER_WORD) if _is_unspaced(word) else 1 for word in words)


def _is_unspaced(word: str) -> bool:
    return re.match(f"[{UNSPACED_CHARACTERS}]", word) is not None
