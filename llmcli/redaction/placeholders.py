"""Placeholders: ``PII_EMAIL_1`` stands for the first private value, an address.

They consist of ASCII letters, digits and underscores, so that JSON, CSV, YAML, HTML and addresses around them stay valid
and no escaping changes them. Numbers are not used twice, so a placeholder whose kind was translated is still known. A
number that stands bare in JSON, TOML or CSV is replaced by another number of as many digits.
"""

from __future__ import annotations

import hashlib
import itertools
import re
import threading
from collections.abc import Collection, Iterator

from llmcli.frozen_dataclass import frozen
from llmcli.redaction.normalization import INVISIBLE, fold
from llmcli.redaction.word_index import WordIndex

TAG = "PII"
_TOKEN = (
    rf"(?:[_*`~{INVISIBLE}-]|\\{{1,4}}(?:u005[fF]|x5[fF])?|[%=]5[fF]|%2[dD]|</?[A-Za-z]{{1,6}}>"
    r"|&(?:#0{0,3}95|#[xX]0{0,3}5[fF]|lowbar|UnderBar|#45|#[xX]2[dD]|shy);)"
)
"""An underscore or hyphen, plain or as an escape, markup, or an invisible character."""
_SEPARATOR = rf"(?:{_TOKEN}{{1,4}}|[ ])"
_KIND = rf"[^\W\d_](?:(?:\\?[_-]|[{INVISIBLE}])?[^\W\d_]){{1,19}}"
_NUMBER = r"[0-9]{1,9}(?![0-9])"
LITERAL = re.compile(rf"(?i:{TAG})(?:{_SEPARATOR}?{_KIND}{_SEPARATOR}?|{_TOKEN}{{1,4}}){_NUMBER}")
"""Folded text of a request that would be taken for a placeholder."""
PLACEHOLDER = re.compile(
    r"(?P<open>\*{1,3}|~~|`{1,2}|<[A-Za-z]{1,6}>)?"
    rf"(?P<code>(?i:{TAG})(?P<first>{_SEPARATOR}?)(?:(?:(?P<kind>{_KIND})(?P<second>{_SEPARATOR}?))?(?P<number>{_NUMBER})"
    rf"|(?<=[^Ii])(?P<name>{_KIND})))"
    r"(?P<close>\*{1,3}|~~|`{1,2}|</[A-Za-z]{1,6}>)?"
)
"""A placeholder in folded text, possibly with small changes, and the markup around it."""
MAX_PLACEHOLDER_CHARS = 160
LITERAL_KIND = "text"
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
        """Return the placeholder of a value. ``bare_number``: the placeholder must be a number that ``context`` does not contain.

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
