"""Which language a text is in.

py3langid (a naive Bayes classifier over bytes, Lui and Baldwin 2012) knows some 130 languages, dialects and "none" included. Short texts fool it, so what is
asked here is mostly which of two languages a text is in, and nothing is said about a few words.
"""

from __future__ import annotations

import io
import re
import unicodedata
from functools import cache
from types import SimpleNamespace

from llmcli.tasks.languages import Language, language_names, parse_language

_ENOUGH = 24
"""Letters below which nothing is said."""
_SURE = 8.0
"""Natural-log odds above which one of two languages is."""
_SAMPLE = 20_000
_NO_WORDS = re.compile(r"[\d_]|[^\w\s'\u2019.,!?-]")


def detect(text: str) -> Language | None:
    """Return the language that most of a document is in, None where that cannot be told."""
    sample = text[:_SAMPLE]
    if _letters(sample) < _ENOUGH:
        return None
    ranked = _rank(_words(sample))
    named = {code.partition("-")[0] for code, _ in language_names()}
    (code, best), (_, next_best), *_ = [(code, odds) for code, odds in ranked if code in named]
    if best - next_best <= 1 or ranked[0][1] - best > _SURE:
        return None
    return parse_language(code)


def is_still(text: str, source: Language, target: Language) -> bool:
    """Return whether a translation is surely in the language it was to be translated from."""
    one, other = _base(source), _base(target)
    if one == other or _letters(text) < _ENOUGH:
        return False
    known = _known()
    if one not in known:
        return False
    odds = dict(_rank(_words(text)))
    return odds[one] - odds[other] > _SURE if other in known else max(odds, key=lambda code: odds[code]) == one


@cache
def _known() -> frozenset[str]:
    return frozenset(code for code, _ in _rank("x"))


def _rank(text: str) -> list[tuple[str, float]]:
    """Return all languages with the log-odds of a text, the likeliest first."""
    import py3langid

    try:
        ranked = py3langid.rank(text)
    except OSError:  # it unpacks its model into a temporary file, for which a full disk has no room
        from py3langid import modelio

        modelio.tempfile = SimpleNamespace(TemporaryFile=lambda **_: io.BytesIO())
        ranked = py3langid.rank(text)
    return [(code, float(odds)) for code, odds in ranked]


def _base(language: Language) -> str:
    code = language.code.partition("-")[0]
    return {"yue": "zh", "tl": "fil"}.get(code, code)


def _words(text: str) -> str:
    """Return the words alone: digits and signs are of no language."""
    return " ".join(_NO_WORDS.sub(" ", text).split())


def _letters(text: str) -> int:
    """Count letters; one of a script without spaces between words counts for three."""
    return sum(3 if unicodedata.category(c) == "Lo" else 1 for c in text if c.isalpha())
