"""Search texts for thousands of words and phrases at once, by their first word."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from llmcli.redaction.detectors import PrivateSpan

_WORD = re.compile(r"\w+")
_SPACE = re.compile(r"\s")
_UNSPACED = re.compile(
    r"[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff\U00020000-\U0003ffff]"
)
"""Letters of scripts without spaces between words."""


class WordIndex:
    """Phrases, each with a kind. ``ignore_case``: they match in any case; ``any_space``: with any blank or line break."""

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
