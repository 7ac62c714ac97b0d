"""Sentences as they are compared: two that have the same normal form, or nearly, say the same."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from llmcli.documents.sentences import find_sentences
from llmcli.store.word_ranking import STOP_WORDS
from llmcli.tasks.claim_verification.claim_terms import find_numbers, find_terms

_MIN_SAME_SHARE = 0.75
"""Two sentences that share so much of their words (Dice coefficient), stop words aside, and all numbers, say the
same."""
_MIN_COMPARED_WORDS = 5
"""Of a sentence that may be nearly the same: shorter ones are headings and exclamations, of which only equal ones
repeat."""
_ITEM_MARK = re.compile(r"(?:[-*+\u2022]|\d{1,3}[.)]) ")
_INNER_ITEM_MARK = re.compile(r"(?:\A|[:;,.] (?:and )?)\d{1,2}\) ")
_ROUND_MARK = re.compile(r"[ \t]?\((\d{1,2})\)(?=[.,;:!?\s]|\Z)")
_MARK = re.compile(r"[ \t]?\[\d{1,4}\]")
_PARAGRAPH_END = re.compile(r"\n[ \t]*\n\s*")
_SENTENCE_END = re.compile(
    r"[.!?\u2026:;][\"'\u201d\u2019\u00bb)\]*_`]{0,3}\Z|[\u3002\uff01\uff1f][\u300d\u300f\u201d\u2019\uff09]{0,3}\Z"
)


def split_paragraphs(text: str) -> list[str]:
    """Return the paragraphs of a text without blank ones."""
    return [part.strip() for part in _PARAGRAPH_END.split(text) if part.strip()]


def split_sentences(paragraph: str) -> list[str]:
    """Return the sentences of a paragraph, each with the mark of a list before it; what has no letter is left out."""
    found = list(find_sentences(paragraph))
    starts = [paragraph.rfind("\n", 0, start) + 1 if _begins_line(paragraph, start) else start for start, _ in found]
    return [paragraph[start:end].strip() for start, (_, end) in zip(starts, found, strict=True)]


def _begins_line(text: str, at: int) -> bool:
    """Whether only marks of a list stand before a position in its line."""
    before = text[text.rfind("\n", 0, at) + 1 : at]
    return not any(map(str.isalpha, before))


def join_sentences(sentences: Iterable[str]) -> str:
    """Return a paragraph of sentences; items of a list stand in lines of their own."""
    text = ""
    for sentence in sentences:
        separator = "\n" if is_item(sentence) else " "
        text += (separator if text else "") + sentence
    return text


def is_item(sentence: str) -> bool:
    """Whether a sentence begins with the mark of a list."""
    return _ITEM_MARK.match(sentence) is not None


def is_complete(sentence: str) -> bool:
    """Whether a sentence ends with its mark."""
    return _SENTENCE_END.search(strip_marks(sentence)) is not None


def trim_dangling(line: str) -> str:
    """Return a line that was cut at a word without words at its end that need another one: of, the, and."""
    words = line.split()
    while len(words) > 1 and (words[-1].casefold().strip(",;") in STOP_WORDS or words[-1].endswith((",", ";"))):
        kept = words.pop().rstrip(",;")
        if kept.casefold() not in STOP_WORDS:
            words.append(kept)
    return " ".join(words)


def strip_marks(text: str) -> str:
    """Return a text without the numbers of quotes, such as [1]."""
    return _MARK.sub("", text)


def strip_item(sentence: str) -> str:
    """Return a sentence without the mark of a list before it."""
    mark = _ITEM_MARK.match(sentence)
    return sentence if mark is None else sentence[mark.end() :]


def blank_inner_items(sentence: str) -> str:
    """Return a sentence with full stops and blanks in place of the marks of a list inside it: "1) cut, 2) dry"."""
    return _INNER_ITEM_MARK.sub(lambda match: f".{' ' * (len(match[0]) - 1)}", sentence)


def read_marks(text: str, count: int) -> str:
    """Return a text in which the numbers of up to ``count`` quotes have brackets; a model may have written (1)."""
    return _ROUND_MARK.sub(lambda match: f" [{match[1]}]" if 0 < int(match[1]) <= count else match[0], text)


def cited_marks(text: str) -> list[int]:
    """Return the numbers of quotes in a text, in their order."""
    return [int(match[0].strip(" \t[]")) for match in _MARK.finditer(text)]


class SentenceSet:
    """Sentences of which no two say the same."""

    def __init__(self, sentences: Iterable[str] = ()) -> None:
        self._exact: set[tuple[str, ...]] = set()
        self._by_word: dict[tuple[frozenset[str], str], list[frozenset[str]]] = {}  # by numbers and a word
        for sentence in sentences:
            self.add(sentence)

    def add(self, sentence: str) -> bool:
        """Add a sentence; return whether it is new. One without words is."""
        plain = strip_marks(sentence)
        terms = tuple(find_terms(plain))
        if not terms:
            return True
        if terms in self._exact:
            return False
        words, numbers = frozenset(terms) - STOP_WORDS, find_numbers(plain)
        if len(words) >= _MIN_COMPARED_WORDS and any(
            2 * len(words & other) >= _MIN_SAME_SHARE * (len(words) + len(other))
            for other in self._candidates(words, numbers)
        ):
            return False
        self._exact.add(terms)
        for word in words:
            self._by_word.setdefault((numbers, word), []).append(words)
        return True

    def _candidates(self, words: frozenset[str], numbers: frozenset[str]) -> Iterator[frozenset[str]]:
        """Yield the sentences that may share enough words: few may be missing, so they have one of the few rarest."""
        least_common = _MIN_SAME_SHARE / (2 - _MIN_SAME_SHARE) * len(words)  # of a sentence without words of its own
        most_missing = int(len(words) - least_common)
        found = sorted((self._by_word.get((numbers, word), []) for word in words), key=len)
        for sentences in found[: most_missing + 1]:
            yield from sentences
