"""Words that are rare enough to be names, where a capital does not tell: in titles, and at the beginning of a sentence.

The lists of words are those of ``proofread``. The English one has many names, with small frequencies; those of other
languages lack many forms of words, so that there a name must be one that English texts have.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import product

from llmcli.tasks.proofread.spelling import MIN_FREQUENCY, load_word_list

ENGLISH = "en"
OTHER_LANGUAGES = frozenset({"es", "fr", "it", "pt", "nl"})
"""Those in which the first word of a sentence before a verb is a name, if it is rare; German gives nouns a capital."""
_NAMES = """
africa america asia australia britain canada china egypt england europe france germany greece india iran iraq ireland
israel italy japan korea mexico norway poland portugal russia scotland spain sweden switzerland ukraine
alaska california florida texas virginia washington hollywood
amsterdam athens berlin boston brussels chicago dublin geneva london madrid moscow munich paris rome sydney tokyo
toronto vienna york
google hitler lincoln linux microsoft obama unix
adam albert alexander alice andrew anna anthony arthur barbara benjamin carl charles chris christopher daniel david
diana edward elizabeth emily emma eric eva george harold helen henry howard jacob james jane jason jennifer jessica joan
john johnny joseph julia karen kate kevin laura linda lisa louis lucy margaret maria martha martin mary michael nancy
nicholas oliver oscar patricia paul peter philip rachel richard robert roger ruth samuel sarah simon sophie stephen
steven susan thomas victoria walter william
anderson clinton davis jackson jefferson johnson jones kennedy miller nixon roosevelt smith thompson williams wilson
"""
_FREQUENT_NAMES = frozenset(_NAMES.split())
"""Names that the lists of words have as often as words, and that mean nothing else with a capital."""
_LOWER_CASE_NAMES = frozenset({"kubernetes", "pandas"})
"""Names of programs in small letters that have the form of a plural."""
_TECHNICAL_WORDS = """
ascii charset cwd deterministic dict enum etc init int metadata minima modulus parentheses regex regexp schema scalar
stderr stdin stdout str symlink truthy tuple unary unset
"""
"""Ordinary words of programmers that the list of English words lacks."""
_DERIVED = re.compile(
    r".*(?:ed|ing|[ts]ions?|ble|ity|ness|isms?|ments?|[ae]nces?|ors?|ers?|i[zs]e[sd]?|ive|ous|al|less|ful|our|ics|ship"
    r"|[^aius]s)"
)
"""Endings of words that are made of others, and of plurals."""
_COMMON_FREQUENCY = 1e-6
"""Of the parts of a compound such as "toolkit"."""
_MIN_PART = 3
_ENDINGS = (
    ("s", ""),
    ("es", ""),
    ("ies", "y"),
    ("ly", ""),
    ("ly", "le"),
    ("ily", "y"),
    *product(("ed", "ing", "er", "ers"), ("", "e")),
)
_FIRST_TWO = re.compile(r"\W*(?P<name>[^\W\d_]{3,})[ ](?P<next>[^\W\d_]+)")
_NO_VERB = frozenset(
    [
        "el",
        "la",
        "los",
        "las",
        "un",
        "una",
        "unos",
        "unas",
        "este",
        "esta",
        "estos",
        "estas",
        "todo",
        "toda",
        "todos",
        "todas",
        "su",
        "sus",
        "lo",
        "al",
        "del",
        "de",
        "y",
        "o",
        "le",
        "les",
        "l",
        "une",
        "des",
        "ce",
        "cet",
        "cette",
        "ces",
        "son",
        "sa",
        "ses",
        "du",
        "et",
        "ou",
        "il",
        "lo",
        "gli",
        "i",
        "uno",
        "questo",
        "questa",
        "suo",
        "sua",
        "di",
        "e",
        "a",
        "o",
        "os",
        "as",
        "um",
        "uma",
        "seu",
        "sua",
        "het",
        "een",
        "dit",
        "deze",
        "en",
        "of",
    ]
)
"""Words after a verb in the imperative, or inside of a noun phrase."""


def is_rare(word: str, language: str) -> bool:
    """Return whether a word with a capital may be a name, by its frequency in a language with a list of words."""
    key = word.lower()
    if key in _FREQUENT_NAMES:
        return True
    english = max(map(load_word_list(ENGLISH).frequency, _forms(key)))
    if english >= MIN_FREQUENCY:
        return False
    if language == ENGLISH:
        return not _is_compound(key)
    own = load_word_list(language)
    return english > 0 and not any(map(own.frequency, _forms(key)))


def is_lower_case_name(word: str) -> bool:
    """Return whether a word in small letters, without an article before it, is a name in an English text: numpy."""
    if word in _LOWER_CASE_NAMES:
        return True
    return not (word in _TECHNICAL_WORDS.split() or _DERIVED.fullmatch(word)) and is_rare(word, ENGLISH)


def find_leading_name(sentence: str, language: str) -> str | None:
    """Return the first word of a sentence of one of ``OTHER_LANGUAGES``, if it is rare and a verb may follow."""
    match = _FIRST_TWO.match(sentence)
    if match is None or not match["name"][0].isupper() or not match["next"].islower() or match["next"] in _NO_VERB:
        return None
    is_verb = not match["next"].endswith("s") or load_word_list(language).frequency(match["next"]) > 0  # no plural
    if is_verb and is_rare(match["name"], language):
        return match["name"]
    return None


def _forms(word: str) -> Iterator[str]:
    """Yield a word, and what it may be without its ending."""
    yield word
    yield from (word.removesuffix(ending) + rest for ending, rest in _ENDINGS if word.endswith(ending))


def _is_compound(word: str) -> bool:
    """Return whether an English word is two common ones that are no names: "runtime", but not "googlecalendar"."""
    frequency = load_word_list(ENGLISH).frequency
    middles = range(_MIN_PART, len(word) - _MIN_PART + 1)
    pairs = [{word[:middle], word[middle:]} for middle in middles]
    return any(min(map(frequency, pair)) >= _COMMON_FREQUENCY and not pair & _FREQUENT_NAMES for pair in pairs)
