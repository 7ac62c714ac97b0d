"""The numbers of a text that are written in words: thirty-two, two hundred and fifty, zweiunddreißig.

A number may be in any of the languages with a table, since a sentence is often too short to tell its language.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from functools import cache

from llmcli.fast_dataclass import field, frozen
from llmcli.tasks.languages import likeliest_language
from llmcli.tasks.number_words import SHORT_SCALE, SHORT_SCALES, number_words, worded_languages
from llmcli.tasks.written_dates import month_number

MIN_CERTAIN = 13
"""The smallest number whose word is no part of idioms, and stands for a figure wherever it is."""
_MAX_WORDS = 5
_MIN_COMPOUND = 7
"""Letters of a number of several words without blanks: "duecento"."""
_HUNDRED = 2
_OTHER_WORDS = frozenset({"seize", "quince"})
"""Words for numbers that mean something else in English."""
_WORD = re.compile(r"[^\W\d_]+")
_GAP = re.compile(r"[ \t\u00a0]+|[ \t]*\r?\n[ \t]*|-|")
_ITALIAN_HUNDRED = "cento"
"""A number by itself, and a power of ten in "duecento"."""
_CONJUNCTIONS = frozenset({"and", "und", "et", "y", "e", "en"})
_CENTURIES = range(11, 22)
"""The first two digits of a year that is read in pairs: "nineteen ninety-five"."""


@frozen
class WordedNumber:
    """A number at ``text[start:end]``, with the values that it may have.

    ``certain``: it is a figure wherever it stands. ``is_cardinal``: it counts what follows, unlike "dozen" and "third".
    """

    values: tuple[int, ...]
    start: int
    end: int
    certain: bool
    is_cardinal: bool = True


@frozen
class _Token:
    word: str
    start: int
    end: int


@frozen
class _Table:
    """The words of all languages.

    ``small`` has those below ``MIN_CERTAIN`` by language. ``round_words`` by themselves are no figures: a hundred times.
    """

    cardinals: dict[str, int] = field(default_factory=dict)
    round_words: frozenset[str] = frozenset()
    scales: dict[str, tuple[int, ...]] = field(default_factory=dict)
    implied: dict[str, int] = field(default_factory=dict)
    ordinals: dict[str, int] = field(default_factory=dict)
    small: dict[str, frozenset[str]] = field(default_factory=dict)
    first_words: frozenset[str] = frozenset()
    compound: re.Pattern[str] = re.compile("")
    part: re.Pattern[str] = re.compile("")


@cache
def _table() -> _Table:
    cardinals: dict[str, int] = {}
    scales: dict[str, tuple[int, ...]] = {}
    implied: dict[str, int] = {}
    small: dict[str, frozenset[str]] = {}
    parts: set[str] = set()
    for code in worded_languages():
        words = number_words(code)
        own = {**words.cardinals, **words.hundreds}
        cardinals |= own
        small[code] = frozenset(word for word, value in own.items() if value < MIN_CERTAIN) - words.ambiguous
        implied |= {word: value for word, value in words.implied.items() if not month_number(word)}
        for word, scale in words.scales.items():
            scales[word] = tuple(dict.fromkeys([*scales.get(word, ()), scale]))
        if code in {"de", "it", "nl"}:
            parts |= {word for word in own if word.isalpha()}
            parts |= {word for word, scale in words.scales.items() if scale in {2, 3}}
    scales[_ITALIAN_HUNDRED] = (_HUNDRED,)
    english = number_words("en").cardinals
    ordinals = {re.sub("y$", "ie", word) + "th": value for word, value in english.items() if value >= MIN_CERTAIN}
    ordinals |= {word: value for word, value in number_words("en").implied.items() if word.endswith(("th", "rd"))}
    ordinals |= {"first": 1, "second": 2}
    ordered = "|".join(sorted(parts, key=lambda word: -len(word)))
    first = {re.split(r"[ -]", word)[0] for word in [*cardinals, *scales]}
    return _Table(
        cardinals,
        frozenset({*scales, "cien", "ciento", "cem"}),
        scales,
        {word: value for word, value in (implied | ordinals).items() if word not in cardinals},
        ordinals,
        small,
        frozenset(first),
        re.compile(f"(?:{ordered})(?:und)?(?:{ordered}|und|en)*(?:{ordered})"),
        re.compile(f"{ordered}|und|en"),
    )


def find_worded_numbers(text: str) -> Iterator[WordedNumber]:
    """Yield the numbers in words, also one, and words that imply a number such as "dozen" or "third"."""
    table = _table()
    tokens = list(_iter_tokens(text, table))
    at = 0
    while at < len(tokens):
        found = _read_number(text, tokens, at, table) if tokens[at].word in table.first_words else None
        if found is not None:
            number, at = found
            yield number
            continue
        token = tokens[at]
        if token.word in table.implied:
            yield WordedNumber((table.implied[token.word],), token.start, token.end, certain=False, is_cardinal=False)
        at += 1


def is_small_number(text: str, number: WordedNumber, least: int) -> bool:
    """Whether a number that is not ``certain`` is a word from ``least`` to twelve in the language of its text."""
    word = _normal(text[number.start : number.end])
    words = _table().small.get(likeliest_language(text), frozenset())
    return number.values[0] >= least and word in words


def scales_after(text: str, at: int) -> tuple[tuple[int, ...], int]:
    """Return the powers of ten, from a thousand on, of the word after a number in digits, and where that ends.

    A letter such as M may also be something else, so that it has 0, too.
    """
    letter = SHORT_SCALE.match(text, at)
    if letter is not None:
        return (SHORT_SCALES[letter[1].rstrip(".")], 0), letter.end()
    gap = _GAP.match(text, at)
    word = _WORD.match(text, gap.end() if gap else at)
    scales = () if word is None or word.start() == at else _table().scales.get(word[0].lower(), ())
    return (scales, word.end()) if word and scales and min(scales) > _HUNDRED else ((), at)


def _iter_tokens(text: str, table: _Table) -> Iterator[_Token]:
    for match in _WORD.finditer(text):
        word = match[0].lower()
        is_plain = len(word) < _MIN_COMPOUND or word in table.cardinals or (match[0][0].isupper() and match.start())
        if is_plain or not table.compound.fullmatch(word):
            yield _Token(word, *match.span())
            continue
        for part in table.part.finditer(word):
            yield _Token(part[0], match.start() + part.start(), match.start() + part.end())


def _normal(text: str) -> str:
    return re.sub(r"\s+", " ", text).lower()


def _adjoins(text: str, one: _Token, other: _Token) -> bool:
    return _GAP.fullmatch(text, one.end, other.start) is not None


def _read_cardinal(text: str, tokens: Sequence[_Token], at: int, table: _Table) -> tuple[int, int]:
    """Return the value of the longest cardinal, and the number of its words; 0 if there is none."""
    for length in range(min(_MAX_WORDS, len(tokens) - at), 0, -1):
        last = tokens[at + length - 1]
        phrase = tokens[at].word if length == 1 else _normal(text[tokens[at].start : last.end])
        if phrase in table.cardinals:
            return table.cardinals[phrase], length
    return 0, 0


def _read_year(text: str, tokens: Sequence[_Token], at: int, table: _Table) -> tuple[int, int]:
    """Return a year that is read in pairs, and the number of its words; 0 if there is none."""
    value, length = _read_cardinal(text, tokens, at, table)
    after = at + length
    if value not in _CENTURIES or after >= len(tokens) or text[tokens[after - 1].end : tokens[after].start] != " ":
        return 0, 0
    more, pair = _read_cardinal(text, tokens, after, table)
    return (100 * value + more, length + pair) if 10 <= more < 100 else (0, 0)  # noqa: PLR2004 (two digits)


def _read_number(text: str, tokens: Sequence[_Token], at: int, table: _Table) -> tuple[WordedNumber, int] | None:
    """Return the number whose first word is ``tokens[at]``, and the place after its last word; None if there is none."""
    start = tokens[at].start
    year, length = _read_year(text, tokens, at, table)
    if year:
        return WordedNumber((year,), start, tokens[at + length - 1].end, certain=True), at + length
    values, at = _read_values(text, tokens, at, table)
    if not values:
        return None
    end = tokens[at - 1].end
    ordinal = table.ordinals.get(tokens[at].word, 0) if at < len(tokens) and text[end : tokens[at].start] == "-" else 0
    if 0 < ordinal < 10 and values[0] % 10 == 0:  # noqa: PLR2004 (twenty-first)
        value = values[0] + ordinal
        return WordedNumber((value,), start, tokens[at].end, certain=False, is_cardinal=False), at + 1
    word = _normal(text[start:end])
    repeated = text[:start].lower().endswith(f"{word}-") or text[end:].lower().startswith(f"-{word}")
    is_idiom = word in _OTHER_WORDS or word in table.round_words or repeated
    return WordedNumber(values, start, end, certain=values[0] >= MIN_CERTAIN and not is_idiom), at


def _read_values(text: str, tokens: Sequence[_Token], at: int, table: _Table) -> tuple[tuple[int, ...], int]:
    """Return what a number from ``tokens[at]`` may be, nothing if there is none, and the place after its last word."""
    first = at
    group, length = _read_cardinal(text, tokens, at, table)
    if not length and tokens[at].word not in table.scales:
        return (), at
    group, at = group if length else 1, at + length
    totals, is_round = [0], group >= 100 and group % 100 == 0  # noqa: PLR2004
    while at < len(tokens) and (at == first or _adjoins(text, tokens[at - 1], tokens[at])):
        scales = table.scales.get(tokens[at].word, ())
        if scales == (_HUNDRED,) and 0 < group < 100:  # noqa: PLR2004
            group, is_round, at = group * 100, True, at + 1
        elif scales and min(scales) > _HUNDRED:
            totals = [total + group * 10**s if group else total * 10**s for total in totals for s in scales]
            group, is_round, at = 0, True, at + 1
        else:
            more, end = _read_rest(text, tokens, at, table) if is_round else (0, at)
            if not more or (group and (group % 100 or more >= 100)):  # noqa: PLR2004
                break
            group, is_round, at = group + more, more % 100 == 0, end
    return tuple(dict.fromkeys(total + group for total in totals)), at


def _read_rest(text: str, tokens: Sequence[_Token], at: int, table: _Table) -> tuple[int, int]:
    """Return the number after a round one, perhaps after "and", and the place after it; 0 if there is none."""
    if tokens[at].word in _CONJUNCTIONS:
        at += 1
        if at >= len(tokens) or not _adjoins(text, tokens[at - 1], tokens[at]):
            return 0, at
    value, length = _read_cardinal(text, tokens, at, table)
    return value, at + length
