"""Language detection.

py3langid (a naive Bayes classifier over bytes, Lui and Baldwin 2012) knows some 130 languages, including dialects and
"none". It is unreliable on short texts, so callers mostly ask which of two languages a text is in, and a few words get
no answer.
"""

from __future__ import annotations

import io
import re
import unicodedata
from functools import cache
from types import SimpleNamespace

from llmcli.tasks.translation.languages import Language, language_names, parse_language

_MIN_LETTERS = 24
"""Fewest letters for which a language is reported."""
_MIN_LOG_ODDS = 8.0
"""Natural-log odds above which one of two languages is reported."""
_SAMPLE_CHARS = 20_000
_NO_WORDS = re.compile(r"[\d_]|[^\w\s'\u2019.,!?-]")


def detect_language(text: str) -> Language | None:
    """Return the main language of a document, None if it is uncertain."""
    sample = text[:_SAMPLE_CHARS]
    if _count_letters(sample) < _MIN_LETTERS:
        return None
    ranked = _rank_languages(_strip_non_words(sample))
    named = {code.partition("-")[0] for code, _ in language_names()}
    (code, best), (_, next_best), *_ = [(code, odds) for code, odds in ranked if code in named]
    if best - next_best <= 1 or ranked[0][1] - best > _MIN_LOG_ODDS:
        return None
    return parse_language(code)


def is_still_in_source_language(text: str, source: Language, target: Language) -> bool:
    """Return whether a translation is certainly in the source language."""
    one, other = _base_code(source), _base_code(target)
    if one == other or _count_letters(text) < _MIN_LETTERS:
        return False
    known = _detectable_codes()
    if one not in known:
        return False
    odds = dict(_rank_languages(_strip_non_words(text)))
    return odds[one] - odds[other] > _MIN_LOG_ODDS if other in known else max(odds, key=lambda code: odds[code]) == one


@cache
def _detectable_codes() -> frozenset[str]:
    return frozenset(code for code, _ in _rank_languages("x"))


def _rank_languages(text: str) -> list[tuple[str, float]]:
    """Return all languages with the log-odds for a text, the most likely first."""
    import py3langid

    try:
        ranked = py3langid.rank(text)
    except OSError:  # loading unpacks the model into a temporary file, which fails on a full disk
        from py3langid import modelio

        modelio.tempfile = SimpleNamespace(TemporaryFile=lambda **_: io.BytesIO())
        ranked = py3langid.rank(text)
    return [(code, float(odds)) for code, odds in ranked]


def _base_code(language: Language) -> str:
    code = language.code.partition("-")[0]
    return {"yue": "zh", "tl": "fil"}.get(code, code)


def _strip_non_words(text: str) -> str:
    """Return the words alone: digits and signs belong to no language."""
    return " ".join(_NO_WORDS.sub(" ", text).split())


def _count_letters(text: str) -> int:
    """Count letters; in scripts without spaces between words each counts for three."""
    return sum(3 if unicodedata.category(c) == "Lo" else 1 for c in text if c.isalpha())
