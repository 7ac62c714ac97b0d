"""The nouns that numbers count: "two columns", "zwei Spalten", and those that name a number: "version 3".

Whether a word is a noun is told from its form: a plural in English, French, Spanish and Portuguese, a capital in German,
and the first word after the number in Italian and Dutch. A source says what it counts in more ways, so that there any
word after a number may be its noun, and any word around one that stands before none.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from llmcli.fast_dataclass import frozen
from llmcli.store.word_ranking import STOP_WORDS
from llmcli.tasks.claim_verification.claim_terms import find_terms
from llmcli.tasks.noun_phrases import closed_class_words

ANY_NOUN = "#?"
"""What a number in a table counts."""
_COUNTED, _NAMED = "#", "@"
"""Before the noun that is counted by a number, and before the word that is followed by one."""
_OR = ","
_MAX_WORDS = 3
"""Between a number and its noun, itself included."""
_AFTER_WORDS, _AROUND_WORDS = 5, 8
"""Of a source."""
_MIN_LETTERS = 3
_WORD = re.compile(r"[^\W\d_]+(?:['\u2019][^\W\d_]+)?")
_GAP = re.compile(r"[ \t\u00a0\u202f]+|[ \t]*\r?\n[ \t]*|-")
_OF = re.compile(
    r"[ \t]+(?:of|von|de|di|van)[ \t]+(?:(?:the|these|those|its|their|our|your|den|diesen|les|los|las|ces)[ \t]+)?"
)
_PHRASE_END = re.compile(r"[.;:!?,()\[\]|\u2013\u2014](?=\s|\Z)|[|()\[\]]|\n[ \t]*\n")
_SINGULAR_ENDINGS = ("ss", "us", "is", "ous", "'s", "\u2019s")
_IRREGULAR_PLURALS = frozenset({"people", "men", "women", "children", "mice", "data", "media", "criteria", "staff"})
_PLURAL_ENDINGS = {"en": ("s",), "fr": ("s", "x"), "es": ("s",), "pt": ("s",), "nl": ("en", "s", "'s")}
_LANGUAGE_OF_CAPITALIZED_NOUNS = "de"
_PASSED = frozenset(
    "more other own same such main different separate distinct new last first next previous additional weitere andere"
    " neue letzte erste verschiedene autres premiers dernières otros otras altri altre".split()
)
"""Words of closed classes and others that stand between a number and its noun."""
_LABELS = frozenset(
    "version chapter section page step level figure table line number release part phase stage type option status"
    " kapitel abschnitt seite schritt stufe abbildung tabelle zeile nummer teil phase typ"
    " chapitre étape niveau tableau ligne numéro partie versión capítulo página paso nivel línea número parte".split()
)
"""Nouns that are followed by a number."""
_TABLE = re.compile(r"\||\t|\S {3,}\S")


@frozen
class CountedNoun:
    """What a number of a text counts or belongs to: ``unit`` as a key of figures, and where the noun ends."""

    unit: str
    end: int


def find_counted_noun(text: str, start: int, end: int, language: str) -> CountedNoun | None:
    """Return the noun that a number at ``text[start:end]`` counts, or the one before it; None if it has neither."""
    terms, after = _counted_terms(text, end, language)
    label = _label_before(text, start)
    if not terms and (label is None or not _is_label(label, language)):
        return None
    units = [_COUNTED + term for term in terms]
    if label is not None:
        units += [mark + term for term in find_terms(label) for mark in (_NAMED, _COUNTED)]
    return CountedNoun(_OR.join(dict.fromkeys(units)), after)


def find_single_noun(text: str, end: int) -> CountedNoun | None:
    """Return what a "one" that ends at ``end`` counts: the next words, whatever their form; None if there are none."""
    match = _word_after(text, end)
    if match is None or match[0].lower() in closed_class_words() or len(match[0]) < _MIN_LETTERS:
        return None
    return CountedNoun(_OR.join(_COUNTED + term for term in find_terms(match[0])), match.end())


def is_counted(unit: str) -> bool:
    """Whether the unit of a figure is a noun."""
    return unit.startswith((_COUNTED, _NAMED))


def iter_source_nouns(text: str, start: int, end: int, limits: tuple[int, int]) -> Iterator[str]:
    """Yield the units of a number of a source. ``limits``: the end of the number before it, and the start of the next one."""
    label = _label_before(text, start)
    if label is not None:
        yield from (_NAMED + term for term in find_terms(label))
    boundary = _PHRASE_END.search(text, end, limits[1])
    phrase = text[end : boundary.start() if boundary else limits[1]]
    first = _word_after(text, end)
    if first is not None and first[0].lower() not in closed_class_words():
        yield from _units(phrase, _AFTER_WORDS)
        return
    before, after = text[max(0, start - 200) : start], text[end : end + 200]
    yield from _units(" ".join(_WORD.findall(before)[-_AROUND_WORDS:]), _AROUND_WORDS)
    yield from _units(after, _AROUND_WORDS)
    line = text[text.rfind("\n", 0, start) + 1 : start] + "\0" + text[end:].partition("\n")[0]
    if _TABLE.search(line):
        yield ANY_NOUN


def iter_single_nouns(text: str) -> Iterator[str]:
    """Yield the units of nouns that a text has once: after an article, each, every, single."""
    for match in re.finditer(r"\b(?:an?|single|each|every|per)\s+(?=[^\W\d_])", text, re.IGNORECASE):
        yield from _units(text[match.end() : match.end() + 60], 2)


def _units(text: str, count: int) -> Iterator[str]:
    for word in _WORD.findall(text)[:count]:
        if word.lower() not in STOP_WORDS:
            yield from (_COUNTED + term for term in find_terms(word))


def _word_after(text: str, at: int) -> re.Match[str] | None:
    gap = _GAP.match(text, at)
    return None if gap is None else _WORD.match(text, gap.end())


def _label_before(text: str, start: int) -> str | None:
    match = re.search(r"([^\W\d_][\w.+#]*)[ \t\u00a0-]\Z", text[max(0, start - 40) : start])
    if match is None or match[1].lower() in closed_class_words():
        return None
    return match[1]


def _is_label(word: str, language: str) -> bool:
    """Whether a number may be a part of a name: "Python 3", "version 3"."""
    if word.lower() in _LABELS:
        return True
    return word[0].isupper() and language != _LANGUAGE_OF_CAPITALIZED_NOUNS and not word.endswith("ly")


def _counted_terms(text: str, end: int, language: str) -> tuple[list[str], int]:
    """Return the words of which one is counted, and where the last one ends; none if there is no noun."""
    of = _OF.match(text, end)
    at = of.end() - 1 if of else end
    terms: list[str] = []
    for _ in range(_MAX_WORDS + len(_PASSED)):
        gap = _GAP.match(text, at)
        match = None if gap is None else _WORD.match(text, gap.end())
        if gap is None or match is None or len(terms) == _MAX_WORDS:
            break
        word = match[0].lower()
        at = match.end()
        if word in _PASSED:
            continue
        if word in closed_class_words():
            break
        terms += find_terms(match[0])[:1]
        if gap[0] == "-" or _is_noun(match[0], language, is_first=len(terms) == 1):
            return terms, at
    return [], end


def _is_noun(word: str, language: str, *, is_first: bool) -> bool:
    """Whether a word after a number has the form of a noun that is counted."""
    if len(word) < _MIN_LETTERS:
        return False
    if language == _LANGUAGE_OF_CAPITALIZED_NOUNS:
        return word[0].isupper()
    key = word.lower()
    endings = _PLURAL_ENDINGS.get(language)
    if endings is None:
        return is_first
    return key in _IRREGULAR_PLURALS or (key.endswith(endings) and not key.endswith(_SINGULAR_ENDINGS))
