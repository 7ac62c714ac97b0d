"""Replace private values in texts with placeholders, and remember them so that they can be restored."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

from llmcli.fast_dataclass import field, slotted
from llmcli.redaction.detectors import DEFAULT_KINDS, PrivateSpan, find_private
from llmcli.redaction.normalization import NormalizedText, fold, normalize
from llmcli.redaction.placeholders import LITERAL, LITERAL_KIND, Placeholder, PlaceholderTable, WordIndex, make_index

NameFinder = Callable[[Sequence[str]], Iterable[str]]
"""Returns the names of people in texts."""
_BARE_BEFORE = re.compile(r"(?:\"\s{0,8}:|[\[,=])\s{0,32}\Z")
_BARE_AFTER = re.compile(r"\s{0,32}(?:[,\]}]|\r?\n|\Z)")
_EVIDENT_KINDS = frozenset({"email", "card", "iban"})
"""Kinds that detectors recognize without context."""
_MAX_SIDE_CHARS = 48
_MAX_CACHED_CHARS = 1 << 22
"""Characters of text whose detected values are cached, since a text is counted before it is sent."""


@slotted
class UsedPlaceholders:
    """The placeholders in one request: all of them by number, and those that are numbers also by their digits."""

    by_number: dict[int, Placeholder] = field(default_factory=dict)
    by_digits: dict[str, Placeholder] = field(default_factory=dict)

    def __bool__(self) -> bool:
        return bool(self.by_number)

    def add(self, placeholder: Placeholder) -> None:
        """Add a placeholder."""
        self.by_number[placeholder.number] = placeholder
        if placeholder.text.isdigit():
            self.by_digits[placeholder.text] = placeholder


class Redactor:
    """Finds private values by detectors, patterns, words and names, and replaces them. Usable from any thread."""

    def __init__(
        self,
        kinds: Sequence[str] = DEFAULT_KINDS,
        *,
        patterns: Mapping[str, str] | None = None,
        words: Mapping[str, Sequence[str]] | None = None,
        find_names: NameFinder | None = None,
    ) -> None:
        """``patterns`` and ``words`` are the user's own, by kind; without ``find_names``, names of people stay."""
        self.table = PlaceholderTable()
        self._kinds = frozenset(kinds)
        self._patterns = [(kind, re.compile(pattern)) for kind, pattern in (patterns or {}).items()]
        self._words = make_index((word, kind) for kind, listed in (words or {}).items() for word in listed)
        self._find_names = find_names
        self._names = WordIndex()
        self._full_names = WordIndex(ignore_case=True, any_space=True)
        self._cache: dict[str, list[PrivateSpan]] = {}
        self._cached_chars = 0

    def find(self, text: str) -> list[PrivateSpan]:
        """Return the private values in a text, in order and disjoint; of names only those found so far."""
        with self.table.lock:
            cached = self._cache.get(text)
            learned = [*self.table.known_values().find(text), *self._find_names_in(text)]
            learned += [PrivateSpan(*span) for span in self.table.find_digits(text)]
        found = self._detect(text) if cached is None else cached
        return find_private(text, (), [*found, *learned]) if learned else found

    def _detect(self, text: str) -> list[PrivateSpan]:
        """Return the values that can be detected in this text alone."""
        literals = [PrivateSpan(m.start(), m.end(), LITERAL_KIND) for m in LITERAL.finditer(fold(text))]
        found = find_private(text, self._kinds, [*literals, *self._find_own(text)])
        with self.table.lock:
            self._cached_chars += len(text)
            if self._cached_chars > _MAX_CACHED_CHARS:
                self._cache.clear()
                self._cached_chars = len(text)
            self._cache[text] = found
        return found

    def _find_names_in(self, text: str) -> Iterator[PrivateSpan]:
        """Yield the known names: first and last name in any case and on two lines, a single word as it was found."""
        for form in normalize(text) if self._names or self._full_names else ():
            for span in (*self._names.find(form.text), *self._full_names.find(form.text)):
                yield PrivateSpan(*form.original_range(span.start, span.end), span.kind)

    def _find_own(self, text: str) -> Iterator[PrivateSpan]:
        """Yield the user's patterns and words: in the text as it is, and as detectors read it."""
        forms = [NormalizedText(text), *(form for form in normalize(text) if form.text != text)]
        for form in forms if self._patterns or self._words else ():
            matches = [
                (*match.span(), kind) for kind, pattern in self._patterns for match in pattern.finditer(form.text)
            ]
            matches += [(span.start, span.end, span.kind) for span in self._words.find(form.text)]
            yield from (
                PrivateSpan(*form.original_range(start, end), kind) for start, end, kind in matches if end > start
            )

    def learn(self, texts: Sequence[str]) -> None:
        """Find the values in all ``texts``, so that each value is replaced in every one of them."""
        if self._find_names is not None:
            names = list(self._find_names(texts))
            with self.table.lock:
                for name in names:
                    index = self._full_names if len(name.split()) > 1 else self._names
                    index.add(" ".join(name.split()), "name")
        for text in texts:
            for span in self.find(text):
                if not _is_bare_number(text, span):
                    self._assign(text[span.start : span.end], span.kind)

    def _assign(self, value: str, kind: str, number_context: str | None = None) -> Placeholder:
        """Return the placeholder of a value; ``number_context``: the text in which it is a bare number."""
        is_bare = number_context is not None
        known = self.table.find(value, bare_number=is_bare)
        if known is not None:
            return known
        evident = kind in _EVIDENT_KINDS or find_private(value, (kind,)) == [PrivateSpan(0, len(value), kind)]
        return self.table.assign(value, kind, bare_number=is_bare, context=number_context or "", evident=evident)

    def redact(self, text: str, used: UsedPlaceholders) -> str:
        """Return the text with placeholders, and add these to ``used``."""
        return "".join(piece if isinstance(piece, str) else piece.text for piece in self.split(text, used))

    def split(self, text: str, used: UsedPlaceholders) -> list[str | Placeholder]:
        """Split a text into unchanged pieces and placeholders, and add these to ``used``."""
        parts: list[str | Placeholder] = []
        at = 0
        for span in self.find(text):
            bare = _is_bare_number(text, span)
            placeholder = self._assign(text[span.start : span.end], span.kind, text if bare else None)
            used.add(placeholder)
            parts += [text[at : span.start], placeholder]
            at = span.end
        return [*parts, text[at:]]


def _is_bare_number(text: str, span: PrivateSpan) -> bool:
    """Return whether a value is an unquoted number in JSON, TOML or CSV, where a word would break the syntax."""
    value = text[span.start : span.end]
    if not (value.isascii() and value.isdigit()) or value[0] == "0":
        return False
    before = _BARE_BEFORE.search(text, max(0, span.start - _MAX_SIDE_CHARS), span.start)
    return before is not None and _BARE_AFTER.match(text, span.end) is not None
