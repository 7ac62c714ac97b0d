"""Placeholders: ``PII_EMAIL_1`` stands for the first private value, an address; and the search for known values.

They consist of ASCII letters, digits and underscores, so that JSON, CSV, YAML, HTML and addresses around them stay
valid and no escaping changes them. Numbers are not used twice, so a placeholder whose kind was translated is still
known. A number that stands bare in JSON, TOML or CSV is replaced by another number of as many digits.

Texts are searched for thousands of words and phrases at once, by their first word.
"""

from __future__ import annotations

import hashlib
import itertools
import re
import threading
from collections.abc import Collection, Iterable, Iterator

from llmcli.fast_dataclass import frozen
from llmcli.redaction.detectors import PrivateSpan
from llmcli.redaction.normalization import INVISIBLE, fold

_WORD = re.compile(r"\w+")
_SPACE = re.compile(r"\s")
_UNSPACED = re.compile(
    r"[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff\U00020000-\U0003ffff]"
)
"""Letters of scripts without spaces between words."""


class WordIndex:
    """Phrases, each with a kind.

    ``ignore_case``: they match in any case; ``any_space``: with any blank or line break.
    """

    def __init__(self, *, ignore_case: bool = False, any_space: bool = False) -> None:
        self._ignore_case = ignore_case
        self._any_space = any_space
        self._by_word: dict[str, list[tuple[str, int, str]]] = {}  # first word: phrase, offset of the word, kind
        self._unspaced: dict[str, str] = {}

    def __bool__(self) -> bool:
        return bool(self._by_word or self._unspaced)

    def add(self, phrase: str, kind: str) -> None:
        """Add a phrase; a phrase without letters and digits is ignored."""
        folded = self._fold(phrase)
        if _UNSPACED.search(folded):
            self._unspaced[folded] = kind
            return
        word = _WORD.search(folded)
        if word is not None:
            entry = (folded, word.start(), kind)
            known = self._by_word.setdefault(word.group(), [])
            if entry not in known:
                known.append(entry)

    def discard(self, phrase: str) -> None:
        """Forget a phrase."""
        folded = self._fold(phrase)
        self._unspaced.pop(folded, None)
        word = _WORD.search(folded)
        if word is not None and word.group() in self._by_word:
            kept = [entry for entry in self._by_word.pop(word.group()) if entry[0] != folded]
            if kept:
                self._by_word[word.group()] = kept

    def find(self, text: str) -> Iterator[PrivateSpan]:
        """Yield the places of the phrases in a text, as whole words."""
        if not self:
            return
        folded = self._fold(text)
        for phrase, kind in self._unspaced.items():
            yield from (PrivateSpan(m.start(), m.end(), kind) for m in re.finditer(re.escape(phrase), folded))
        if not self._by_word:
            return
        by_word = self._by_word
        for match in _WORD.finditer(folded):
            word = match.group()
            if word in by_word:
                yield from self._find_at(folded, by_word[word], match.start())
            if (
                word[1:] in by_word and folded[match.start() - 1 : match.start()] == "\\"
            ):  # its first letter is an escape's
                yield from self._find_at(folded, by_word[word[1:]], match.start() + 1)

    @staticmethod
    def _find_at(text: str, entries: Iterable[tuple[str, int, str]], at: int) -> Iterable[PrivateSpan]:
        for phrase, offset, kind in entries:
            start, end = at - offset, at - offset + len(phrase)
            ends_inside = end < len(text) and phrase[-1].isalnum() and (text[end].isalnum() or text[end] == "_")
            if start >= 0 and not ends_inside and text.startswith(phrase, start):
                yield PrivateSpan(start, end, kind)

    def _fold(self, text: str) -> str:
        """Return the text in lower case and with plain blanks, as the index ignores these, without changing offsets."""
        if self._any_space:
            text = _SPACE.sub(" ", text)
        if not self._ignore_case:
            return text
        lowered = text.lower()
        return lowered if len(lowered) == len(text) else "".join(c.lower() if len(c.lower()) == 1 else c for c in text)


def make_index(words: Iterable[tuple[str, str]]) -> WordIndex:
    """Return an index of (phrase, kind) pairs that ignores case."""
    index = WordIndex(ignore_case=True)
    for phrase, kind in words:
        index.add(phrase, kind)
    return index


TAG = "PII"
_TOKEN = (
    rf"(?:[_*`~{INVISIBLE}-]|\\{{1,4}}(?:u005[fF]|x5[fF])?|[%=]5[fF]|%2[dD]|</?[A-Za-z]{{1,6}}>"
    r"|&(?:#0{0,3}95|#[xX]0{0,3}5[fF]|lowbar|UnderBar|#45|#[xX]2[dD]|shy);)"
)
"""An underscore or hyphen, plain or as an escape, markup, or an invisible character."""
_SPACES = r"[ \t\r\n]{0,8}"
_SEPARATOR = rf"(?:{_SPACES}(?:{_TOKEN}{_SPACES}){{1,4}}|[ ]{{1,2}})"
_TAG_PATTERN = rf"(?i:P[{INVISIBLE}]{{0,2}}I[{INVISIBLE}]{{0,2}}I)"
_KIND = rf"[^\W\d_](?:(?:\\?[_-]|[{INVISIBLE}]{{1,2}})?[^\W\d_]){{1,19}}"
_NUMBER = r"[0-9]{1,9}(?![0-9])"
LITERAL = re.compile(rf"{_TAG_PATTERN}(?:{_SEPARATOR}?{_KIND}{_SEPARATOR}?|{_TOKEN}{{1,4}}){_NUMBER}")
"""Folded text of a request that would be taken for a placeholder."""
PLACEHOLDER = re.compile(
    r"(?P<open>\*{1,3}|~~|`{1,2}|<[A-Za-z]{1,6}>)?"
    rf"(?P<code>{_TAG_PATTERN}(?P<first>{_SEPARATOR}?)(?:(?:(?P<kind>{_KIND})(?P<second>{_SEPARATOR}?))?(?P<number>{_NUMBER})"
    rf"|(?<=[^Ii])(?P<name>{_KIND})))"
    r"(?P<close>\*{1,3}|~~|`{1,2}|</[A-Za-z]{1,6}>)?"
)
"""A placeholder in folded text, possibly with small changes, and the markup around it."""
TAG_START = re.compile(rf"(?:\*{{1,3}}|~~|`{{1,2}}|<[A-Za-z]{{1,6}}>)?{_TAG_PATTERN}")
TAG_BEGUN = re.compile(
    rf"(?:\*{{1,3}}|~{{1,2}}|`{{1,2}}|<[A-Za-z]{{0,6}}>?)?(?i:P[{INVISIBLE}]{{0,2}}(?:I[{INVISIBLE}]{{0,2}}I?)?)?\Z"
)
"""The end of a text that may be the beginning of a tag, with the markup before it."""
MAX_PLACEHOLDER_CHARS = 160
LITERAL_KIND = "text"
_LOOKALIKES = {  # Cyrillic and Greek letters too
    "P": "[Pp\u0420\u03a1]",
    "I": "[Iil1|\u0406\u0399]",
}
_BETWEEN = r"(?:&#?\w{1,20};|%[0-9A-Fa-f]{2}|[\W_]){0,8}"


def disfigured_pattern(kinds: Collection[str]) -> re.Pattern[str]:
    """Return the pattern of placeholders of these kinds with anything between their characters, in folded text."""
    names = "|".join(_BETWEEN.join(kind.upper()) for kind in sorted(kinds))
    tag = _BETWEEN.join(_LOOKALIKES[letter] for letter in TAG)
    return re.compile(rf"(?<![^\W_]){tag}{_BETWEEN}(?i:{names}){_BETWEEN}{_NUMBER}")


_MIN_KNOWN_CHARS = 4
"""A known value of at least this length is replaced everywhere, not only where a detector finds it."""
_NUMBER_KINDS = frozenset({"card", "iban", "phone"})
_MIN_KNOWN_DIGITS = 8
"""A number of at least this length that is a part of a known value is replaced as well."""
_LONG_NUMBER = re.compile(rf"(?<![0-9])[0-9]{{{_MIN_KNOWN_DIGITS},}}(?![0-9])")
MAX_KNOWN_VALUES = 50_000
"""Most values in the table; the oldest are removed first."""


@frozen
class Placeholder:
    """``text`` is sent instead of ``value``; ``number`` is unique."""

    text: str
    value: str
    kind: str
    number: int


class PlaceholderTable:
    """The placeholders of one job or session; the same value always has the same one. Usable from any thread."""

    def __init__(self) -> None:
        self._lock = threading.RLock()
        self._by_value: dict[tuple[str, bool], Placeholder] = {}
        self._num_given = 0
        self._numbers: set[str] = set()
        self._known = WordIndex()
        self._numbers_by_start: dict[str, Placeholder] = {}
        self.counts: dict[str, int] = {}
        """Values of each kind that were replaced."""

    def find(self, value: str, *, bare_number: bool = False) -> Placeholder | None:
        """Return the placeholder of a known value, else None."""
        return self._by_value.get((value, bare_number))

    def assign(
        self, value: str, kind: str, *, bare_number: bool = False, context: str = "", evident: bool = False
    ) -> Placeholder:
        """Return the placeholder of a value.

        ``bare_number``: the placeholder must be a number that ``context`` does not contain.

        Later texts are searched for values that are not ``evident``, since no detector may find them there.
        """
        with self._lock:
            known = self._by_value.get((value, bare_number))
            if known is not None:
                return known
            self._num_given += 1
            number = self._num_given
            text = f"{TAG}_{kind.upper()}_{number}"
            if bare_number:
                text = _number_text(value, number, self._numbers, context)
                self._numbers.add(text)
            placeholder = self._by_value[value, bare_number] = Placeholder(text, value, kind, number)
            self.counts[kind] = self.counts.get(kind, 0) + 1
            if len(value) >= _MIN_KNOWN_CHARS and not evident:
                self._known.add(value, kind)
            self._add_digits(placeholder)
            self._forget_oldest()
            return placeholder

    def find_digits(self, text: str) -> Iterator[tuple[int, int, str]]:
        """Yield the numbers in a text whose digits are a part of a known value's, with the kind of that value.

        A task may repeat a number without its separators, for example to say that an answer lacks it.
        """
        for match in _LONG_NUMBER.finditer(text) if self._numbers_by_start else ():
            known = self._numbers_by_start.get(match.group()[:_MIN_KNOWN_DIGITS])
            if known is not None and match.group() in _digits(known.value):
                yield *match.span(), known.kind

    def _add_digits(self, placeholder: Placeholder) -> None:
        if placeholder.kind in _NUMBER_KINDS:
            for start in _digit_starts(placeholder.value):
                self._numbers_by_start.setdefault(start, placeholder)

    def known_values(self) -> WordIndex:
        """Return the index of the values so far."""
        return self._known

    @property
    def lock(self) -> threading.RLock:
        """Held while a text is searched for known values."""
        return self._lock

    def _forget_oldest(self) -> None:
        while len(self._by_value) > MAX_KNOWN_VALUES:
            oldest = next(iter(self._by_value))
            del self._by_value[oldest]
            for start in _digit_starts(oldest[0]):
                self._numbers_by_start.pop(start, None)
            if (oldest[0], not oldest[1]) not in self._by_value:
                self._known.discard(oldest[0])


def _digits(value: str) -> str:
    """Return the digits of a value without what stands between them."""
    return "".join(re.findall("[0-9]", fold(value)))


def _digit_starts(value: str) -> Iterator[str]:
    """Yield the first digits of each number that is a part of a value."""
    digits = _digits(value)
    return (digits[at : at + _MIN_KNOWN_DIGITS] for at in range(len(digits) - _MIN_KNOWN_DIGITS + 1))


def _number_text(value: str, number: int, taken: Collection[str], context: str) -> str:
    """Return a number with as many digits as ``value`` that is neither in ``taken`` nor in ``context``.

    It begins with 8, so that one of 16 digits is exact as a floating-point number too.
    """
    for salt in itertools.count():
        digest = hashlib.sha256(f"{number}.{salt}".encode()).hexdigest()
        digits = f"8{int(digest, 16)}"[: len(value)]
        if digits not in taken and digits not in context and digits != value:
            return digits
    raise AssertionError
