"""The numbers of a text and of its translation, compared by value as multisets.

Languages write one number in many ways: 1,234.5 and 1.234,5; "3 pm", "15 h" and "15 Uhr"; "2 billion" and "2 Milliarden";
"twelve" and "12". A number that can be read in several ways has several values, and agrees with one that has any of them.
Where a right translation might lack or add a number, as "both" replaces "the two", the number is optional.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator, Sequence
from decimal import Decimal
from itertools import product

from llmcli.fast_dataclass import frozen
from llmcli.tasks.languages import Language, base_code, likeliest_language
from llmcli.tasks.number_words import SHORT_SCALE, SHORT_SCALES, NumberWords, number_words

_Value = Decimal | str
_MAX_DIGITS = 25
"""Numbers with more digits are compared as they are written: decimal arithmetic would round them."""
_MAX_WORDED = 12
"""The largest number in digits that a language without a table of number words may write as a word."""
_MAX_PAIRS = 10_000
"""The most pairs of numbers of which the best matching is sought if equal numbers alone do not agree."""
_SPACES = " \u00a0\u2009\u202f"
_GROUP_SPACE = re.compile(rf"(?<![\d.,:/-])(\d{{1,3}}(?:[{_SPACES}]\d{{3}})+)(?!\d)")
_NUMBER = re.compile(r"\d+(?:(?:[.,:/'\u2019]|\u00a0(?=\d{3}(?!\d)))\d+)*")
_GROUPED = re.compile(
    r"\d{1,3}(?:(?P<sep>[.,'\u2019])\d{3})(?:(?P=sep)\d{3})*(?:[.,]\d+)?|\d{1,2}(?:,\d\d)+,\d{3}(?:\.\d+)?"
)
_DECIMAL = re.compile(r"\d+[.,]\d+")
_HOUR_WORD = r"uhr|heures?|horas?|uur|час(?:а|ов)?|godz\.?|kl\.?|klo|h"  # noqa: RUF001 (Russian)
_TIME = re.compile(
    rf"""
    (?P<before>\b(?:klo|kl\.|alle|as|às|a\ las)\s|午前|午後|上午|下午|晚上|오전|오후)?\s*
    (?<![\d.,:/A-Za-z])(?P<hour>[01]?\d|2[0-4])
    (?:[:.](?P<minute>[0-5]\d)(?![\d.,:]\d|\d))?
    (?:\s?(?P<unit>(?:{_HOUR_WORD})(?![^\W\d])|時|时|点|點|시)(?:\s?(?P<after>[0-5]\d)(?!\d)(?:\s?(?:min\b|分|분))?)?)?
    (?:[\s.,]{{0,2}}(?P<half>a\.?\ ?m\b\.?|p\.?\ ?m\b\.?|(?:du|de\ l[ao]|de\ l['\u2019]|da|do|del|della|di)?\s?(?:matin|ma\u00f1ana|manh\u00e3|mattin[ao]
      |apr\u00e8s-midi|soir|tarde|noche|noite|pomeriggio|sera)\b|morgens|vormittags|nachmittags|abends|ip\.|ap\.|утра|дня|вечера))?
    """,
    re.VERBOSE | re.IGNORECASE,
)
_MORNING = re.compile(
    r"a\.?\ ?m\b|matin|ma\u00f1ana|manh\u00e3|mattin|morgens|vormittags|ap\.|утра|午前|上午|오전", re.IGNORECASE
)
_AFTERNOON = re.compile(
    r"p\.?\ ?m\b|apr\u00e8s|soir|tarde|noche|noite|pomeriggio|sera|nachmittags|abends|ip\.|дня|вечера|午後|下午|晚上|오후",
    re.IGNORECASE,
)
_ROMAN = re.compile(
    r"(?<![^\W\d_])(?=[IVXLCDM]{2})M{0,3}(?:C[MD]|D?C{0,3})(?:X[CL]|L?X{0,3})(?:I[XV]|V?I{0,3})(?![A-Zb-df-su-z])"
)
_ROMAN_ORDINAL = re.compile(
    r"(?<!\w)([IVX])(?=(?:e|er|ème|º|°)(?!\w))|(?:siglo|século|secolo|wiek|век)\s([IVX])(?!\w)|(?<!\w)([IVX])(?=\s(?:век|wiek|secolo))"
)
_ROMAN_DIGITS = {"I": 1, "V": 5, "X": 10, "L": 50, "C": 100, "D": 500, "M": 1000}
_HAN_SCALES = {"十": 1, "百": 2, "千": 3, "万": 4, "萬": 4, "만": 4, "억": 8, "億": 8, "亿": 8, "조": 12, "兆": 12}
_HAN_SCALE = re.compile(f"([{''.join(_HAN_SCALES)}])")
_NEXT_WORD = re.compile(r"[\s-]{1,2}([^\W\d_]+)")
_HAN_NUMBER = re.compile("[〇零一二两兩三四五六七八九十百千万萬億亿]+")
_HAN_DIGITS = {
    c: i for i, group in enumerate(["〇零", "一", "二两兩", "三", "四", "五", "六", "七", "八", "九"]) for c in group
}
_ROUND_NUMBERS = (100, 1000)
_CONJUNCTIONS = frozenset({"and", "und", "et", "y", "e", "en"})
_WORD = re.compile(r"[^\W\d_]+(?:[-'\u2019][^\W\d_]+)*")
_ASCII = {"½": "1/2", "¼": "1/4", "¾": "3/4", "\u066b": ".", "\u066c": ","}
"""What is read in place of fractions, and of the Arabic separators of decimals and thousands."""


@frozen
class NumberDifference:
    """What differs between a text and its translation, as written there."""

    missing: tuple[str, ...]
    added: tuple[str, ...]


@frozen
class _Occurrence:
    """A number in a text: all values that it may have. A translation may lack an ``optional`` one, or add it."""

    text: str
    values: frozenset[_Value]
    optional: bool = False

    @property
    def comparable(self) -> frozenset[_Value]:
        """The values without those that are named after a text."""
        return frozenset(value for value in self.values if not str(value).startswith("hour "))


@frozen
class _Side:
    """One of the two texts: its language, and the language of the other text; "" for an unknown one."""

    code: str
    other: str
    is_source: bool

    def hour_of_day(self, hour: int) -> str:
        """Return the value of "3" in "3 pm", which agrees with a plain 3 in the other text, but not with "3 am"."""
        return f"hour {hour} of {'source' if self.is_source else 'translation'}"

    def plain_hour(self, value: _Value) -> set[_Value]:
        """Return the value with which a plain number agrees with an hour in the other text."""
        return {f"hour {value} of {'translation' if self.is_source else 'source'}"}


def compare_numbers(text: str, translation: str, source: Language | None, target: Language) -> NumberDifference | None:
    """Return the numbers that a translation lacks, and those that it adds; None if they are the same by value."""
    ours, theirs = base_code(source) if source else likeliest_language(text), base_code(target)
    best: NumberDifference | None = None
    # a list such as "1,3" may be "1; 3" in the translation, and "3 100" two numbers: any reading that agrees will do
    for (spaced, split), (their_spaced, their_split) in product(product((True, False), repeat=2), repeat=2):
        if split and their_split:
            continue
        wanted = _find_numbers(text, _Side(ours, theirs, is_source=True), spaced=spaced, split=split)
        found = _find_numbers(translation, _Side(theirs, ours, is_source=False), spaced=their_spaced, split=their_split)
        missing, added = _unmatched(wanted, found), _unmatched(found, wanted)
        if not missing and not added:
            return None
        if best is None or len(missing) + len(added) < len(best.missing) + len(best.added):
            best = NumberDifference(missing, added)
    return best


def _unmatched(numbers: Sequence[_Occurrence], others: Sequence[_Occurrence]) -> tuple[str, ...]:
    """Return the required numbers that have no counterpart."""
    unmatched = _match(*_without_equal(numbers, others))
    if unmatched and len(numbers) * len(others) <= _MAX_PAIRS:  # an equal counterpart may not be the best one
        return _match(numbers, others)
    return unmatched


def _without_equal(
    numbers: Sequence[_Occurrence], others: Sequence[_Occurrence]
) -> tuple[list[_Occurrence], list[_Occurrence]]:
    """Return two lists without pairs of equal values: a table may have thousands. Required numbers come first."""
    by_values: dict[frozenset[_Value], list[_Occurrence]] = {}
    for other in sorted(others, key=lambda one: not one.optional):
        by_values.setdefault(other.comparable, []).append(other)
    left = []
    for number in sorted(numbers, key=lambda one: one.optional):
        equal = by_values.get(number.comparable)
        if equal:
            equal.pop()
        else:
            left.append(number)
    return left, [other for equal in by_values.values() for other in equal]


def _match(numbers: Sequence[_Occurrence], others: Sequence[_Occurrence]) -> tuple[str, ...]:
    """Return the required numbers that have no counterpart in a maximum matching (augmenting paths)."""
    by_value: dict[_Value, list[int]] = {}
    for index, other in enumerate(others):
        for value in other.values:
            by_value.setdefault(value, []).append(index)
    owners: dict[int, int] = {}

    def assign(first: int) -> bool:
        previous: dict[int, tuple[int, int | None]] = {}  # counterpart: (number that reaches it, its own counterpart)
        pending: list[tuple[int, int | None]] = [(first, None)]
        while pending:
            number, own = pending.pop()
            for value in numbers[number].values:
                for index in by_value.get(value, ()):
                    if index in previous:
                        continue
                    previous[index] = (number, own)
                    if index in owners:
                        pending.append((owners[index], index))
                        continue
                    step: int | None = index
                    while step is not None:
                        owners[step], step = previous[step]
                    return True
        return False

    return tuple(number.text for at, number in enumerate(numbers) if not number.optional and not assign(at))


# ---- the numbers of a text -------------------------------------------------------------------------------------------


def _find_numbers(text: str, side: _Side, *, spaced: bool, split: bool) -> list[_Occurrence]:
    """Return the numbers of a text; ``spaced``: blanks group digits; ``split``: a list of numbers may have no blanks."""
    text = _to_ascii_digits(text)
    if spaced:
        text = _GROUP_SPACE.sub(lambda match: re.sub(f"[{_SPACES}]", "", match[0]), text)
    words = number_words(side.code)
    numbers: list[_Occurrence] = []
    parts, at = [], 0
    for start, end, occurrences in _digit_numbers(text, side, split=split):
        numbers += occurrences
        parts += [text[at:start], " \x00 "]
        at = end
    rest = "".join([*parts, text[at:]])
    return [
        *numbers,
        *_roman_numbers(rest),
        *_han_numbers(rest),
        *_worded_numbers(rest, words, number_words(side.other)),
    ]


def _to_ascii_digits(text: str) -> str:
    """Return a text with the digits and separators of other scripts replaced."""
    if text.isascii():
        return text
    return "".join(str(unicodedata.decimal(c)) if c.isdecimal() else _ASCII.get(c, c) for c in text)


def _digit_numbers(text: str, side: _Side, *, split: bool) -> Iterator[tuple[int, int, list[_Occurrence]]]:
    """Yield where the numbers in digits are, and their values; the parts of a date are several numbers in one place."""
    end = 0
    while match := _NUMBER.search(text, end):
        start, end = match.span()
        number, is_named = match[0], _is_in_name(text, start)
        times, time_end = _clock_values(text, start, side)
        scales, scale_end = _scales_after(text, end, side)
        if times and time_end >= end and not (split and number.count(".") == 1):
            end = time_end
            yield start, end, [_Occurrence(text[start:end], frozenset(times), optional=is_named)]
        elif scales:
            values = frozenset(_scaled(value, scale) for value in _values(number) for scale in scales)
            end = scale_end
            yield start, end, [_Occurrence(text[start:end], values, optional=is_named)]
        else:
            is_list = not _values(number) or (split and not _GROUPED.fullmatch(number))
            parts = re.split(r"\D", number) if is_list else [number]
            yield start, end, [_plain_number(part, side, is_named=is_named) for part in parts]


def _plain_number(number: str, side: _Side, *, is_named: bool) -> _Occurrence:
    values = _values(number)
    hours = set[_Value]().union(*map(side.plain_hour, values))
    return _Occurrence(number, frozenset(values | hours), optional=is_named or _may_be_worded(values, side.other))


def _may_be_worded(values: set[_Value], other: str) -> bool:
    """Whether the other language may have a word for a number that no table lists."""
    most = 1 if number_words(other).cardinals else _MAX_WORDED
    return any(isinstance(value, Decimal) and value <= most and value == int(value) for value in values)


def _is_in_name(text: str, start: int) -> bool:
    """Whether a number ends a name or an identifier, such as IPv4, which a translation may repeat or leave out."""
    before = text[start - 1 : start]
    return before == "_" or (before.isalpha() and unicodedata.category(before) != "Lo")


def _values(number: str) -> set[_Value]:
    """Return the values that a number in digits may have; none if it is several numbers, such as a date."""
    digits = re.sub(r"\D", "", number)
    if len(digits) > _MAX_DIGITS:
        return {digits.lstrip("0")}
    values: set[_Value] = set()
    if number.isdigit():
        return {Decimal(number)}
    if _GROUPED.fullmatch(number):
        whole, _, fraction = number, "", ""
        last = max(number.rfind("."), number.rfind(","))
        separators = set(re.findall(r"\D", number))
        if len(separators) == 2:  # noqa: PLR2004 (of thousands and of decimals)
            whole, fraction = number[:last], number[last + 1 :]
        values.add(Decimal(re.sub(r"\D", "", whole) + (f".{fraction}" if fraction else "")))
    if _DECIMAL.fullmatch(number):
        values.add(Decimal(number.replace(",", ".")))
    return values


def _scaled(value: _Value, scale: int) -> _Value:
    return value.scaleb(scale) if isinstance(value, Decimal) else f"{value}{'0' * scale}"


def _scales_after(text: str, at: int, side: _Side) -> tuple[set[int], int]:
    """Return the powers of ten that the word after a number may stand for, and where that ends."""
    han = _HAN_SCALE.match(text, at)
    if han:
        return {_HAN_SCALES[han[1]]}, han.end()
    short = SHORT_SCALE.match(text, at)
    word = _NEXT_WORD.match(text, at)
    if word:
        scales, end = number_words(side.code).scales_of(text, word.start(1))
        if scales:
            return scales | ({0} if not number_words(side.other).scales else set()), end
    if short:
        return {0, SHORT_SCALES[short[1].rstrip(".")]}, short.end()
    return set(), at


def _clock_values(text: str, start: int, side: _Side) -> tuple[set[_Value], int]:
    """Return the values of a time of day that begins at ``start``, in minutes, and where it ends."""
    lead = text[max(0, start - 6) : start]
    match = _TIME.match(text, start)
    if match is None or (start and text[start - 1] in ".,:/"):
        return set(), start
    hour, minute = int(match["hour"]), match["minute"] or match["after"]
    half = (match["half"] or "") + (lead if re.search("(?:午前|午後|上午|下午|晚上|오전|오후) ?$", lead) else "")
    if not (minute or match["unit"] or half):
        return set(), start
    minutes = hour % 24 * 60 + int(minute or 0)
    choices = {minutes} if hour > 12 else {hour % 12 * 60 + int(minute or 0), hour % 12 * 60 + 720 + int(minute or 0)}  # noqa: PLR2004
    if _MORNING.search(half):
        choices = {minutes % 720}
    elif _AFTERNOON.search(half):
        choices = {minutes % 720 + 720}
    values: set[_Value] = {f"time {choice}" for choice in choices}
    if half and not minute:
        values |= {side.hour_of_day(choice // 60) for choice in (*choices, minutes)}
    elif not minute:  # "15 h" may be 15 hours
        values |= {Decimal(hour), *side.plain_hour(Decimal(hour))}
    if match["minute"] and match[0].strip() == f"{match['hour']}.{match['minute']}":
        values.add(Decimal(f"{hour}.{minute}"))
    return values, match.end()


def _roman_numbers(text: str) -> Iterator[_Occurrence]:
    """Yield the Roman numerals, which are optional: an acronym may look like one. A single letter needs a century."""
    for match in _ROMAN.finditer(text):
        if len(match[0]) > 1:
            digits = [_ROMAN_DIGITS[c] for c in match[0]]
            total = sum(-one if one < later else one for one, later in zip(digits, [*digits[1:], 0], strict=True))
            yield _Occurrence(match[0], frozenset({Decimal(total)}), optional=True)
    for match in _ROMAN_ORDINAL.finditer(text):
        letter = next(filter(None, match.groups()))
        yield _Occurrence(letter, frozenset({Decimal(_ROMAN_DIGITS[letter])}), optional=True)


def _han_numbers(text: str) -> Iterator[_Occurrence]:
    """Yield the numbers in Chinese characters, which are optional: they are parts of many words."""
    for match in _HAN_NUMBER.finditer(text):
        total = section = digit = 0
        for character in match[0]:
            if character in _HAN_DIGITS:
                digit = digit * 10 + _HAN_DIGITS[character]
            elif (scale := _HAN_SCALES[character]) >= 4:  # noqa: PLR2004 (a myriad multiplies all before it)
                total, section, digit = total + (section + digit or 1) * 10**scale, 0, 0
            else:
                section, digit = section + (digit or 1) * 10**scale, 0
        values: frozenset[_Value] = frozenset({Decimal(total + section + digit)})
        yield _Occurrence(match[0], values, optional=True)


def _worded_numbers(text: str, words: NumberWords, other: NumberWords) -> Iterator[_Occurrence]:
    """Yield the numbers in words.

    Those above two are required if both languages have a table, but not where a word means something else as well.
    """
    tokens = [(match[0].casefold(), match.start(), match.end()) for match in _WORD.finditer(text)]
    at = 0
    while at < len(tokens):
        length, value, optional = words.find(tokens, at, text)
        if value is None:
            at += 1
            continue
        start, end = tokens[at][1], tokens[at + length - 1][2]
        at += length
        total = Decimal(value)
        scale, end_of_scale = _scale_after_word(words, text, end)
        if scale:
            total, end = total.scaleb(scale), end_of_scale
            while at < len(tokens) and tokens[at][1] < end:
                at += 1
        if scale or total in _ROUND_NUMBERS:  # "two hundred and fifty"
            after = at + 1 if at < len(tokens) and tokens[at][0] in _CONJUNCTIONS else at
            length, more, _ = words.find(tokens, after, text) if after < len(tokens) else (0, None, True)
            if (
                more
                and more < total
                and not text[end : tokens[after][1]].strip(" -").removeprefix(tokens[at][0]).strip()
            ):
                total, at, end = total + more, after + length, tokens[after + length - 1][2]
        yield _Occurrence(text[start:end], frozenset({total}), optional or bool(scale) or not other.cardinals)


def _scale_after_word(words: NumberWords, text: str, end: int) -> tuple[int, int]:
    """Return the power of ten in the word after a number word, 0 if there is none, and where it ends."""
    if text[end : end + 1] not in {" ", "-", "\u00a0"}:
        return 0, end
    scales, scale_end = words.scales_of(text, end + 1)
    return next(iter(scales), 0), scale_end
