"""The nouns that numbers count: "two columns", "zwei Spalten", and those that name a number: "version 3".

In a report, the noun is told from its form: a plural in English, French, Spanish and Portuguese, a capital in German, and
the first word after the number in Italian and Dutch. In a source, any word near the number may be the noun, since a
report may use another one of them.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator
from itertools import islice

from llmcli.fast_dataclass import frozen
from llmcli.store.word_ranking import STOP_WORDS
from llmcli.tasks.claim_verification.claim_terms import find_terms
from llmcli.tasks.noun_phrases import closed_class_words


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


ANY_NOUN = "#?"
"""What a number in a table counts."""
_MARK = "#"
"""Before a noun."""
_OR = ","
_MAX_WORDS = 3
"""From a number to its noun, which is the last one."""
_SOURCE_WORDS = 5
"""On each side of a number of a source."""
_MIN_LETTERS = 3
_WORD = re.compile(r"[^\W\d_]+(?:['\u2019][^\W\d_]+)?")
_GAP = re.compile(r"[ \t\u00a0\u202f]+|[ \t]*\r?\n[ \t]*|-")
_OF = re.compile(
    r"[ \t]+(?:of|von|de|di|van)[ \t]+(?:(?:the|these|those|its|their|our|your|den|diesen|les|los|las|ces)[ \t]+)?"
)
_ENDING = re.compile(r"(?<=...)(?:ies|ern|es|en|er|[aeinoxy])\Z")
"""Of a singular or plural in one of the languages."""
_SINGULAR_ENDINGS = ("ss", "us", "is", "'s", "\u2019s")
_IRREGULAR_PLURALS = frozenset({"people", "men", "women", "children", "mice", "criteria"})
_PLURAL_ENDINGS = {"en": ("s",), "fr": ("s", "x"), "es": ("s",), "pt": ("s",)}
_LANGUAGE_OF_CAPITALIZED_NOUNS = "de"
_ADJECTIVES = _words(
    "more other own same such main different separate distinct new last first next previous additional weitere andere"
    " neue letzte erste verschiedene autres premiers dernières otros otras altri altre"
)
"""Words between a number and its noun that count nothing, although some are also of a closed class."""
_NAME_BEFORE = re.compile(r"(?P<name>[^\W\d_][\w.+#]*)[ \t\u00a0]\Z")
_LABELS = _words(
    "version page level figure table line number release phase stage type option status example rule item article task question test"
    " seite stufe abbildung tabelle zeile nummer phase typ regel beispiel aufgabe frage"
    " niveau tableau ligne numéro versión página nivel línea número"
)
"""Nouns that are followed by a number, apart from those of ``_DIVISIONS``."""
_DIVISIONS = _words(
    "chapter section part step point kapitel abschnitt teil schritt punkt"
    " chapitre partie étape capítulo sección parte paso capitolo sezione passo hoofdstuk stap deel"
)
"""Nouns whose numbers are those of the text itself: "see section 2"."""
_ABSTRACT = _words(
    "reasons ways sides things aspects hands halves directions senses worlds times gründe weisen seiten dinge aspekte"
    " hälften raisons façons côtés choses razones formas lados cosas aspectos modi lati cose aspetti motivi razões"
)
"""What numbers in words count in ordinary phrases: "one of two reasons", "two sides of the same"."""
_CELL_START = re.compile(r"(?:^|[|\t]|[ ]{2})[ \t]*\Z")
_CELL_END = re.compile(r"[ \t]*(?:[|\t]|[ ]{2}|\Z)")


@frozen
class CountedNoun:
    """What a number of a text counts: ``unit`` as a key of figures, and the place of both, ``text[start:end]``."""

    unit: str
    start: int
    end: int


def find_counted_noun(text: str, start: int, end: int, language: str) -> CountedNoun | None:
    """Return what a number at ``text[start:end]`` counts, or the noun before it that it belongs to; None for neither."""
    name = _name_before(text, start, language)
    if name is not None:
        return CountedNoun(_MARK + _term(name), start - len(name) - 1, end)
    of = _OF.match(text, end)
    at, terms = of.end() - 1 if of else end, list[str]()
    while len(terms) < _MAX_WORDS:
        gap = _GAP.match(text, at)
        word = None if gap is None else _WORD.match(text, gap.end())
        if gap is None or word is None:
            break
        at = word.end()
        if word[0].lower() in _ADJECTIVES:
            continue
        if word[0].lower() in closed_class_words():
            break
        terms.append(_MARK + _term(word[0]))
        if gap[0] == "-" or _is_noun(word[0], language, is_first=len(terms) == 1):
            return CountedNoun(_OR.join(dict.fromkeys(terms)), start, at)
    return None


def counts_itself(text: str, start: int, noun: CountedNoun) -> bool:
    """Whether a number is of the text itself, as in "section 2", or a word of an ordinary phrase, as in "two sides"."""
    before = _NAME_BEFORE.search(text, max(0, start - 40), start)
    if before is not None and before["name"].lower() in _DIVISIONS:
        return True
    last = _WORD.findall(text[start : noun.end])[-1:]
    return not text[start].isdecimal() and last != [] and last[0].lower() in _ABSTRACT


def is_counted(unit: str) -> bool:
    """Whether the unit of a figure is a noun."""
    return unit.startswith(_MARK)


def split_nouns(unit: str) -> list[str]:
    """Return the words of which one must stand with the number of a source."""
    return unit.split(_OR)


def iter_source_nouns(before: str, after: str, *, has_noun: bool) -> Iterator[str]:
    """Yield the units of a number of a source: the words after it, and those ``before`` it unless it counts a noun."""
    yield from islice(_units(_WORD.findall(after)), _SOURCE_WORDS)
    if not has_noun:
        yield from islice(_units(reversed(_WORD.findall(before))), _SOURCE_WORDS)


def is_table_cell(text: str, start: int, end: int) -> bool:
    """Return whether a number in digits stands alone in a cell of a table."""
    line_start, line_end = text.rfind("\n", 0, start) + 1, text.find("\n", end)
    before, after = text[line_start:start], text[end : None if line_end < 0 else line_end]
    is_alone = _CELL_START.search(before) is not None and _CELL_END.match(after) is not None
    return is_alone and text[start].isdecimal() and bool(before.strip() or after.strip())


def has_content(text: str) -> bool:
    """Whether a text has a word of which something may be counted."""
    return any(True for _ in _units(_WORD.findall(text)))


def _units(words: Iterator[str] | list[str]) -> Iterator[str]:
    return (_MARK + _term(word) for word in words if word.lower() not in STOP_WORDS)


def _term(word: str) -> str:
    """Return a word without case, accents and the endings of plurals."""
    plain = "".join(each for each in unicodedata.normalize("NFKD", word) if not unicodedata.combining(each))
    return _ENDING.sub("", (find_terms(plain) or [plain.lower()])[0])


def _name_before(text: str, start: int, language: str) -> str | None:
    """Return the word before a number that may be a part of a name: "Python 3", "version 3"."""
    match = _NAME_BEFORE.search(text, max(0, start - 40), start)
    if match is None or match["name"].lower() in closed_class_words() or not text[start].isdecimal():
        return None
    name = match["name"]
    if name.lower() in _LABELS | _DIVISIONS:
        return name
    is_name = name[0].isupper() and language != _LANGUAGE_OF_CAPITALIZED_NOUNS and not name.endswith("ly")
    return name if is_name and text[: match.start()].rstrip() else None


def _is_noun(word: str, language: str, *, is_first: bool) -> bool:
    """Whether a word after a number has the form of a noun that is counted."""
    if len(word) < _MIN_LETTERS:
        return False
    if language == _LANGUAGE_OF_CAPITALIZED_NOUNS:
        return word[0].isupper()
    key, endings = word.lower(), _PLURAL_ENDINGS.get(language)
    if endings is None:
        return is_first
    return key in _IRREGULAR_PLURALS or (key.endswith(endings) and not key.endswith(_SINGULAR_ENDINGS))
