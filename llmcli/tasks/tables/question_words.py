"""The words of a question about a table: numbers, dates, and the words that say what to compute.

The word lists are general English, with the most frequent German and French question words; none knows a table.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from enum import StrEnum

from llmcli.fast_dataclass import frozen, replace

_WORD = re.compile(
    r"\d{4}[-/]\d{1,2}(?:[-/]\d{1,2})?(?!\d)|[<>]=?|=|%|"
    r"\d+['’]?s(?!\w)|"  # noqa: RUF001 (the 1990s)
    r"(?:(?<!\S)[-−])?(?:\d+|(?<![\w.])\.\d+)(?:[.,]\d+)*|[^\W\d](?:[\w'’\-]*\w)?"  # noqa: RUF001 (an apostrophe)
)
_POSSESSIVE = re.compile(r"['’]s?$")  # noqa: RUF001 (an apostrophe)
_QUOTED = re.compile(r'"([^"\n]+)"|“([^”\n]+)”|(?<!\w)\'([^\'\n]+)\'(?!\w)')
_DATE = re.compile(r"\d{4}[-/]\d")
_NUMBER = re.compile(r"-?(?:\d{1,3}(?:,\d{3})+(?:\.\d+)?|\d*\.?\d+)")
_NUMBER_WITH_COMMA = re.compile(r"-?(?:\d{1,3}(?:\.\d{3})+(?:,\d+)?|\d+(?:,\d+)?|\d*\.\d+)")
_GROUPED = re.compile(r"-?[1-9]\d{0,2}(?:\.\d{3})+")
_SPLIT = re.compile(r"[^\W_\d]+|\d+")
_CAMEL = re.compile(r"(?<=[a-z])(?=[A-Z])")


class QuestionCue(StrEnum):
    """What a word asks for."""

    COUNT = "count"
    AVERAGE = "AVG"
    TOTAL = "SUM"
    HIGHEST = "MAX"
    LOWEST = "MIN"
    MOST = "most"
    LEAST = "least"
    TOP = "top"
    OVER = ">"
    UNDER = "<"
    AT_LEAST = ">="
    AT_MOST = "<="
    EQUAL = "="
    BETWEEN = "between"
    EACH = "each"
    BY = "by"
    DISTINCT = "distinct"
    NOT = "not"
    AND = "and"
    OR = "or"
    WHICH = "which"
    WHO = "who"
    WHEN = "when"
    WHERE = "where"
    LIST = "list"
    SHARE = "share"
    ROWS = "rows"


_CUES: dict[QuestionCue, str] = {
    QuestionCue.COUNT: "how many|number of|count of|count|how often|how many times|wie viele|wieviele|anzahl|combien de|combien d",
    QuestionCue.AVERAGE: "average|mean|on average|durchschnitt|durchschnittlich|durchschnittliche|im durchschnitt|moyenne|en moyenne",
    QuestionCue.TOTAL: "total|sum|sum of|in total|altogether|summe|insgesamt|total de|somme",
    QuestionCue.HIGHEST: "highest|largest|biggest|greatest|maximum|max|strongest|maximal|höchste|höchsten|größte|größten",
    QuestionCue.LOWEST: "lowest|smallest|minimum|min|weakest|minimal|niedrigste|niedrigsten|kleinste|kleinsten",
    QuestionCue.MOST: "most|most frequent|most common|most often|most frequently|meisten|häufigsten|häufigste|le plus|la plus|plus de",
    QuestionCue.LEAST: "least|fewest|least common|least frequent|rarest|wenigsten|seltensten",
    QuestionCue.TOP: "top|first|bottom",
    QuestionCue.OVER: "more than|greater than|higher than|larger than|bigger than|over|above|exceeding|exceeds|exceed|exceeded|"
    "after|mehr als|über|plus que|>",
    QuestionCue.UNDER: "less than|fewer than|lower than|smaller than|under|below|beneath|"
    "before|prior to|weniger als|unter|vor|moins de|<",
    QuestionCue.AT_LEAST: "or more|or higher|or above|or over|and above|and over|or older|or later|or longer|or greater|and more|oder mehr|ou plus|at least|no less than|not less than|no fewer than|minimum of|since|from at least|mindestens|seit|au moins|>=",
    QuestionCue.AT_MOST: "or less|or fewer|or lower|or below|or under|and below|and under|or younger|or earlier|or shorter|and less|oder weniger|at most|no more than|not more than|up to|until|maximum of|höchstens|bis|au plus|<=",
    QuestionCue.EQUAL: "exactly|equal to|equals|equal|genau|=",
    QuestionCue.BETWEEN: "between|zwischen|entre",
    QuestionCue.EACH: "for each|of each|in each|by each|each|per|for every|in every|of every|every|grouped by|broken down by|pro|je|jede|"
    "jeder|jedes|par",
    QuestionCue.BY: "by|according to|sorted by|ordered by|ranked by|in terms of|nach",
    QuestionCue.DISTINCT: "different|distinct|unique|kinds of|kind of|types of|type of|sorts of|verschiedene|unterschiedliche|différents",
    QuestionCue.NOT: "not|without|no|other than|except|excluding|outside|outside of|non|isn't|aren't|wasn't|weren't|doesn't|don't|"
    "didn't|never|lack|lacks|lacking|nicht|ohne|kein|keine|sans",
    QuestionCue.AND: "and|und|et",
    QuestionCue.OR: "or|oder|ou",
    QuestionCue.WHICH: "which|what|what's|how|how much|how far|wie|wie viel|welche|welcher|welches|quel|quelle|quels|quelles",
    QuestionCue.WHO: "who|whose|wer",
    QuestionCue.WHEN: "when|wann|quand",
    QuestionCue.WHERE: "where|wo|où",
    QuestionCue.LIST: "list|show|name|give|tell|find|display|print",
    QuestionCue.SHARE: "percentage of|percentage|share of|proportion of|fraction of|percent of|what percent|prozentsatz",
    QuestionCue.ROWS: "rows|row|records|record|entries|entry|lines|observations|items|zeilen|einträge|lignes|ones",
}
_PHRASES: dict[tuple[str, ...], QuestionCue] = {
    tuple(phrase.split()): cue for cue, phrases in reversed(_CUES.items()) for phrase in phrases.split("|")
}
MAX_PHRASE_WORDS = max(map(len, _PHRASES))


def _split(words: str) -> frozenset[str]:
    return frozenset(words.split())


_GERMAN = _split(
    "der die das den dem des ein eine einen einem einer gibt es hat haben ist sind war waren wie viel mit von aus für "
    "auf am beim zu zum zur wird wurde wurden"
)
_FRENCH = _split("le la les l d de des du un une est sont y a-t-il il ont dans sur au aux avec quel")
_PLAIN = _split(
    "the a an of in during on among amongst across at to for from with into within that this these those there here "
    "it its they them their his her he she we i you me my our us is are was were be been being am do does did done "
    "has have had having can could would will shall should may might as if so then also both all any some only just "
    "please ever how what's whole overall recorded listed exist exists existed table data dataset file set contain "
    "contains contained found appear appears appeared occur occurs occurred happen happened happens live lives "
    "lived living come comes came belong belongs get got gets make made makes built produced use uses using "
    "measured take lie lies lay located placed place value values rate rates amount according called named like say "
    "said s t kind mention mentions mentioned mentioning about"
)
"""Words that do not change what a question asks."""
_SEARCH_VERBS = _split(
    "mention mentions mentioned mentioning contain contains containing about say says saying include includes"
)
"""Words of a question about what texts say."""
_SIGNS = dict.fromkeys(_split("negative negativ negativen négatif négative négatifs négatives"), "<") | dict.fromkeys(
    _split("positive positiv positiven positif positifs positives"), ">"
)
_UNITS = _split(
    "mm cm m km kg g mg t lb lbs ft mi mph kmh l ml percent % pct usd eur dollars dollar euros euro degrees "
    "celsius fahrenheit years meters metres kilometers kilometres grams kilograms pounds inches feet miles liters "
    "litres square points units"
)


def _number_words(lists: str, first: int) -> dict[str, int]:
    """Return the numbers of words; "|" stands between those of different numbers."""
    return {word: number for number, words in enumerate(lists.split("|"), first) for word in words.split()}


_NUMBERS = _number_words(
    "zero null|one|two zwei deux|three drei trois|four vier quatre|five fünf cinq|six sechs|seven sieben|eight acht huit|"
    "nine neun neuf|ten zehn dix|eleven elf onze|twelve dozen zwölf douze",
    0,
) | {"twenty": 20, "fifty": 50, "hundred": 100}
_SCALES = dict.fromkeys(("thousand", "k", "tausend"), 10**3) | dict.fromkeys(
    ("million", "millions", "mio", "millionen"), 10**6
)
_SCALES |= dict.fromkeys(("billion", "billions", "milliarden"), 10**9)
MONTHS = _number_words(
    "january jan januar janvier|february feb februar février|march mar märz mars|april apr avril|may mai|june jun juni juin|"
    "july jul juli juillet|august aug août|september sep sept septembre|october oct oktober octobre|november nov novembre|"
    "december dec dezember décembre",
    1,
)
_HIGH = (
    "long:length duration|tall:height|high:height altitude elevation|heavy:weight mass|old:age|expensive:price cost|"
    "costly:cost price|fast:speed|wide:width|deep:depth|dense:density|rich:income wealth gdp|hot:temperature|"
    "warm:temperature|populous:population|popular:popularity rating votes|powerful:power horsepower|loud:volume loudness|"
    "bright:brightness luminosity|windy:wind|late:date year|recent:date year|new:date year|profitable:profit|"
    "large:size area|big:size area|thick:thickness|strong:strength"
)
_LOW = (
    "short:length height duration|light:weight mass|young:age|cheap:price cost|slow:speed|narrow:width|shallow:depth|"
    "poor:income wealth gdp|cold:temperature|cool:temperature|early:date year|small:size area|thin:thickness|low:height"
)
ADJECTIVES: dict[str, tuple[str, tuple[str, ...]]] = {
    adjective: (direction, tuple(nouns.split()))
    for direction, lists in (("MAX", _HIGH), ("MIN", _LOW))
    for adjective, _, nouns in (each.partition(":") for each in lists.split("|"))
}
"""The nouns that an adjective measures, and the end of their scale that its superlative means."""
TIME_UNITS = {"year": 4, "month": 7, "day": 10, "jahr": 4, "monat": 7, "tag": 10, "an": 4, "mois": 7, "jour": 10}
"""Units of time, and how many characters of a date they take."""
_NOUNS: dict[str, tuple[str, ...]] = {
    "inhabitants": ("population",), "people": ("population",), "residents": ("population",), "size": ("area",),
    "weigh": ("weight", "mass"), "weighs": ("weight", "mass"), "weighed": ("weight", "mass"), "cost": ("price",),
    "costs": ("price", "cost"), "score": ("rating", "points"), "gender": ("sex",),
    "sex": ("gender",), "mass": ("weight",), "weight": ("mass",), "maker": ("manufacturer", "brand"),
    "temperature": ("temp",), "price": ("cost",), "kind": ("type", "category"), "type": ("kind", "category"),
}  # fmt: skip
"""Other names under which a column may stand."""


@frozen
class QuestionWord:
    """A word of the question: as it stands there, and in lower case without a possessive. ``number``: its value."""

    text: str
    key: str
    number: float | int | None = None
    quoted: bool = False

    @property
    def is_date(self) -> bool:
        """Whether it is a date or a month in digits."""
        return _DATE.match(self.key) is not None


def split_question(question: str) -> list[QuestionWord]:
    """Return the words of a question; a quoted text is one word, and "1.5 million" one number."""
    words: list[QuestionWord] = []
    at = 0
    language = question_language([QuestionWord(each, each) for each in _WORD.findall(question.lower())])
    for quoted in _QUOTED.finditer(question):
        words += _split_plain(question[at : quoted.start()], language)
        text = next(filter(None, quoted.groups()))
        words.append(QuestionWord(text, text.lower(), quoted=True))
        at = quoted.end()
    return list(_join_numbers([*words, *_split_plain(question[at:], language)]))


def _split_plain(text: str, language: str) -> list[QuestionWord]:
    found = []
    for each in _WORD.findall(text):
        key = _POSSESSIVE.sub("", each.lower())
        found.append(QuestionWord(each, key, _NUMBERS[key] if key in _NUMBERS else _parse_number(key, language)))
    return found


def _parse_number(key: str, language: str) -> float | int | None:
    """Return the number that digits are; None for "3.5.2021", a date, and "1,5" in an English question."""
    plain = key.replace("−", "-")  # noqa: RUF001 (a minus sign)
    if language == "en":
        plain = plain.replace(",", "") if _NUMBER.fullmatch(plain) else ""
    elif _NUMBER_WITH_COMMA.fullmatch(plain):
        has_groups = "," in plain or _GROUPED.fullmatch(plain) is not None
        plain = plain.replace(".", "").replace(",", ".") if has_groups else plain
    else:
        plain = ""
    if not plain:
        return None
    return float(plain) if "." in plain else int(plain)


def _join_numbers(words: Sequence[QuestionWord]) -> Iterator[QuestionWord]:
    """Yield the words; a number takes the scale after it, and that of the next one in "between 1 and 2 million"."""
    scales = [_SCALES.get(word.key) for word in words] + [None] * 4
    for at, word in enumerate(words):
        if scales[at] is not None and at and words[at - 1].number is not None:
            continue
        scale = scales[at + 1]
        if scale is None and [each.key for each in words[at + 1 : at + 2]] in (["and"], ["to"], ["und"], ["et"]):
            of_range = at > 0 and words[at - 1].key in {"between", "from", "zwischen", "entre"}
            scale = scales[at + 3] if of_range else None
        if word.number is None or scale is None:
            yield word
        else:
            value = word.number * scale
            yield replace(word, number=int(value) if value == int(value) else value)


def find_cue(words: Sequence[QuestionWord]) -> tuple[QuestionCue, int] | None:
    """Return the cue that the first words are, and how many they are; the longest phrase counts."""
    for length in range(min(MAX_PHRASE_WORDS, len(words)), 0, -1):
        if any(word.quoted for word in words[:length]):
            continue
        cue = _PHRASES.get(tuple(word.key for word in words[:length]))
        if cue is not None:
            return cue, length
    return None


def is_plain(word: QuestionWord, *, language: str = "en") -> bool:
    """Whether a word does not change what a question asks."""
    extra = _GERMAN if language == "de" else _FRENCH if language == "fr" else frozenset()
    return not word.quoted and (word.key in _PLAIN or word.key in extra)


def is_search_verb(word: QuestionWord) -> bool:
    """Whether a word says that texts are searched ("how many reviews mention the price")."""
    return not word.quoted and word.key in _SEARCH_VERBS


def parse_sign(key: str) -> str | None:
    """Return "<" for "negative", ">" for "positive", None for another word: how such numbers compare with 0."""
    return _SIGNS.get(key)


def question_language(words: Sequence[QuestionWord]) -> str:
    """Return "de", "fr" or "en", by the question words."""
    keys = {word.key for word in words}
    if keys & {"wie", "welche", "welcher", "welches", "wer", "wann", "viele", "durchschnittliche", "anzahl"}:
        return "de"
    return "fr" if keys & {"combien", "quel", "quelle", "quels", "quelles", "quand", "moyenne"} else "en"


def is_unit(word: QuestionWord) -> bool:
    """Whether a word is a unit of measurement."""
    return word.key in _UNITS


def name_words(name: str) -> list[str]:
    """Return the words of a name of a column or table ("bodyMass_g": body, mass, g)."""
    return [each.lower() for each in _SPLIT.findall(_CAMEL.sub(" ", name))]


def is_unit_name(word: str) -> bool:
    """Whether a word at the end of a column's name is its unit."""
    return word in _UNITS or word == "in"


def other_names(key: str) -> tuple[str, ...]:
    """Return other nouns for a noun, a verb or an adjective."""
    adjective = superlative_of(key)
    return _NOUNS.get(key, ()) or (adjective[1] if adjective else ADJECTIVES.get(key, ("", ()))[1])


def superlative_of(key: str) -> tuple[str, tuple[str, ...]] | None:
    """Return "MAX" or "MIN", and the nouns that are measured, for a superlative ("heaviest": MAX, weight, mass)."""
    if not key.endswith("est"):
        return None
    return _graded(key.removesuffix("est"))


def comparative_of(key: str) -> tuple[str, tuple[str, ...]] | None:
    """Return the same for a comparative ("heavier")."""
    return _graded(key.removesuffix("er")) if key.endswith("er") else None


def _graded(stem: str) -> tuple[str, tuple[str, ...]] | None:
    doubled = stem[:-1] if len(stem) >= _MIN_STEM and stem[-1] == stem[-2] else stem
    for candidate in (stem, f"{stem}e", doubled, f"{stem[:-1]}y" if stem.endswith("i") else stem):
        if candidate in ADJECTIVES:
            return ADJECTIVES[candidate]
    return None


_SUFFIXES = frozenset(
    [
        "",
        *[
            "s",
            "es",
            "e",
            "a",
            "y",
            "n",
            "an",
            "ian",
            "ean",
            "ese",
            "ish",
            "ed",
            "d",
            "ing",
            "er",
            "ers",
            "or",
            "ors",
            "al",
            "ic",
            "ly",
            "ies",
            "ied",
            "i",
            "ia",
            "um",
        ],
    ]
)
_MIN_SHARED = 4
_MIN_STEM = 3


def relation(one: str, other: str) -> int | None:
    """Return the distance of two words in lower case: 0 equal, 1 singular and plural, more if derived; None: unrelated.

    "European" and "Europe" are related, "rainy" and "rain", "discovered" and "discovery".
    """
    if one == other:
        return 0
    if singular(one) == singular(other):
        return 1
    short, long = sorted((one, other), key=len)
    if len(short) >= _MIN_STEM and long == f"{short}{short[-1]}y":
        return 2
    shared = next((at for at, (a, b) in enumerate(zip(one, other, strict=False)) if a != b), len(short))
    for length in range(shared, max(_MIN_SHARED, len(short) - 3) - 1, -1):
        rests = (one[length:], other[length:])
        if all(rest in _SUFFIXES for rest in rests):
            return 1 + sum(map(len, rests))
    return None


def singular(word: str) -> str:
    """Return the singular of an English noun."""
    if len(word) <= _MIN_STEM or word.endswith(("ss", "us", "is")):
        return word
    if word.endswith("ies"):
        return f"{word[:-3]}y"
    if word.endswith(("ches", "shes", "xes", "sses", "zes")):
        return word[:-2]
    return word.removesuffix("s")
