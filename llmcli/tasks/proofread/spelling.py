"""Words of a document that look misspelled: they are in no list of words, and one edit from a frequent one.

A model has read common misspellings ("recieve") so often that they hardly surprise it. The lists of words with their
frequencies are those of pyspellchecker. An edit is a letter that is left out, added or replaced, or two neighbours that
are exchanged (Damerau 1964).
"""

from __future__ import annotations

import re
from collections import Counter
from functools import cache
from typing import TYPE_CHECKING

from llmcli.documents.reading.document import Document
from llmcli.documents.reading.streamed_file import StreamedFile, iter_text_blocks
from llmcli.documents.sentences import UNSPACED_CHARACTERS

if TYPE_CHECKING:
    from spellchecker import SpellChecker

_APOSTROPHES = "'\u2019\u02bc"
_LETTER = f"[^\\W_{UNSPACED_CHARACTERS}]"
WORD = re.compile(f"[{UNSPACED_CHARACTERS}]|{_LETTER}+(?:[{_APOSTROPHES}]{_LETTER}+)*")
"""A word of a text; in scripts without spaces a character."""
MIN_LETTERS, MAX_LETTERS = 4, 50
"""Shorter words are often abbreviations, and one edit from another word; longer ones are strings of a program."""
MIN_FREQUENCY = 1e-7
"""The least share among all words of texts of a frequent word, and of an English one in a text of another language."""
MIN_REPEATS = 2
"""So often a document has a name or a term that is in no list: it is no misspelling, and may be what was meant."""
MAX_DIFFERENT_WORDS = 500_000
"""Bounds the memory of a large document to some 50 MB."""
_MIN_COMPOUND_PART = 4
_LANGUAGES = frozenset({"de", "en", "fr", "it", "nl", "pt"})
"""Those with a good list. In Django's translations these lists lack 4 to 17% of the different words; that of Spanish,
which has no plurals, lacks 41%, of Russian 50%, of Persian 46%. With these, Arabic, Basque and Latvian, 2.5 to 5% of
right words looked misspelled, with the good ones 0.2 to 1.8%."""
_COMPOUNDING_LANGUAGES = frozenset({"de", "nl"})
_LANGUAGE_OF_CAPITALIZED_NOUNS = "de"
_ENGLISH = "en"
_BRITISH = (("our", "or"), ("([iy])s(?=e|ing|ation)", r"\1z"), ("tre(?=s?$)", "ter"), ("ogue", "og"))
"""Patterns of British spellings, and the American ones, which the English list has."""
_CODE_BEFORE = re.compile(r"(?:[_./\\@#$%=<~&]|-\s*\n\s*)\Z")
_CODE_AFTER = re.compile(r"[_/\\@(=-]|\.\w")
"""What stands beside a part of a path, of an identifier or of a divided word."""
_SENTENCE_START = re.compile(
    r"(?:\A|[.!?:\u2026]|\n\s*\n|\n\s*(?:[-*+\u2022]|\d+[.)]))[\s\"'\u2018\u2019\u201c-\u201e\u00ab\u00bb(]*\Z"
)
_LOOK_BEHIND_CHARS = 16
_BLANK_LINE = re.compile(r"\n\s*\n")
_PARAGRAPH_CHARS = 500
_OTHER_LETTER_PROBABILITY = 0.1


class WordList:
    """The words of a language, in lower case, and their frequencies."""

    def __init__(self, language: str, checker: SpellChecker) -> None:
        self.language = language
        self._checker = checker

    def frequency(self, word: str) -> float:
        """Return the share of a word among all words of texts, 0 if it is not in the list."""
        return self._checker.word_usage_frequency(word)

    def edits(self, word: str) -> set[str]:
        """Return all strings that are one edit away from a word."""
        return self._checker.edit_distance_1(word) - {word}

    def has(self, word: str) -> bool:
        """Return whether this is a word; so are plurals, British spellings, compounds, and words after an elision."""
        stem = self.stem(word)
        if word in self._checker or stem in self._checker:
            return True
        if self.language == _ENGLISH:
            if word.endswith("s") and not word.endswith("ss") and self.frequency(word[:-1]) >= MIN_FREQUENCY:
                return True
            return any(re.sub(british, american, word) in self._checker for british, american in _BRITISH)
        if self.language in _COMPOUNDING_LANGUAGES and self._is_compound(word):
            return True
        english = load_word_list(_ENGLISH)
        return any(english.frequency(each) >= MIN_FREQUENCY for each in (word, english.stem(word), stem))

    def stem(self, word: str) -> str:
        """Return an English word without a possessive s, another one without what is elided before it ("l'air")."""
        return word.removesuffix("'s") if self.language == _ENGLISH else word.rpartition("'")[2]

    def _is_compound(self, word: str) -> bool:
        """Return whether a word is two frequent words, perhaps with a linking s."""
        for middle in range(_MIN_COMPOUND_PART, len(word) - _MIN_COMPOUND_PART + 1):
            head, tail = word[:middle], word[middle:]
            heads = {head, head.removesuffix("s") if middle > _MIN_COMPOUND_PART else head}
            if self.frequency(tail) >= MIN_FREQUENCY and max(map(self.frequency, heads)) >= MIN_FREQUENCY:
                return True
        return False


@cache
def load_word_list(language: str) -> WordList:
    """Return the list of one of the languages that have one, named by its code."""
    from spellchecker import SpellChecker

    return WordList(language, SpellChecker(language=language, distance=1))


def has_word_list(language: str) -> bool:
    """Return whether there is a list of a language, named by its code, that has the forms of its words."""
    return language in _LANGUAGES


class Spelling:
    """The spelling of one document, which has each of its words so often (``counts``)."""

    def __init__(self, words: WordList, counts: Counter[str]) -> None:
        self._words = words
        self._counts = counts
        self._total = sum(counts.values())

    def suggest(self, text: str, start: int, end: int) -> str | None:
        """Return the word that ``text[start:end]`` was probably meant to be; None if it does not look misspelled."""
        word = text[start:end]
        key = _fold(word)
        if self._counts[key] != 1 or not _is_plain(text, start, end) or self._words.has(key):
            return None
        edits = self._words.edits(key)
        found = [each for each in edits if self._counts[each] >= MIN_REPEATS and not _is_inflected(key, each)]
        if not self._is_name(text, start):
            found += self._frequent(edits) or self._corrections_of_stem(key)
        if not found or self._is_foreign(text, start):
            return None
        best = max(found, key=lambda each: (self._probability(each) * _edit_probability(key, each), each))
        return best.capitalize() if word[0].isupper() else best

    def _probability(self, word: str) -> float:
        """Return the sum of a word's shares among all words of texts and among those of the document."""
        return self._words.frequency(word) + self._counts[word] / self._total

    def _frequent(self, words: set[str]) -> list[str]:
        return [each for each in words if self._words.frequency(each) >= MIN_FREQUENCY]

    def _corrections_of_stem(self, key: str) -> list[str]:
        """Return what may be meant by a word with something elided before it, or with a possessive s."""
        stem = self._words.stem(key)
        if stem == key or len(stem) < MIN_LETTERS:
            return []
        return [key.replace(stem, each) for each in self._frequent(self._words.edits(stem))]

    def _is_name(self, text: str, start: int) -> bool:
        """Return whether a word is capitalized as only names are."""
        if not text[start].isupper() or self._words.language == _LANGUAGE_OF_CAPITALIZED_NOUNS:
            return False
        return _SENTENCE_START.search(text, max(0, start - _LOOK_BEHIND_CHARS), start) is None

    def _is_foreign(self, text: str, start: int) -> bool:
        """Return whether the paragraph around an offset is in another language than the document."""
        from llmcli.tasks.languages import detect_language

        before = _BLANK_LINE.split(text[max(0, start - _PARAGRAPH_CHARS) : start])[-1]
        after = _BLANK_LINE.split(text[start : start + _PARAGRAPH_CHARS])[0]
        language = detect_language(before + after)
        return language is not None and language.code != self._words.language


def read_spelling(document: Document | StreamedFile) -> Spelling | None:
    """Return the spelling of a document; None if its language is uncertain or has no list of words.

    Also None for more than ``MAX_DIFFERENT_WORDS``, which no text has, but a file of random strings.
    """
    from llmcli.tasks.languages import detect_language

    words: WordList | None = None
    counts: Counter[str] = Counter()
    for block in iter_text_blocks(document):
        if words is None:
            language = detect_language(block.text)
            if language is None or not has_word_list(language.code):
                return None
            words = load_word_list(language.code)
        counts.update(_fold(match[0]) for match in WORD.finditer(block.text) if _has_only_letters(match[0]))
        if len(counts) > MAX_DIFFERENT_WORDS:
            return None
    return None if words is None else Spelling(words, counts)


def _edit_probability(typed: str, meant: str) -> float:
    """Return how probable an edit is, in relation to others.

    One of few letters may be left out, doubled or exchanged; a letter that is added or replaced may be any.
    """
    if len(meant) > len(typed) or sorted(meant) == sorted(typed):
        return 1.0
    doubled = (typed[:at] + typed[at + 1 :] for at in range(1, len(typed)) if typed[at - 1] == typed[at])
    return 1.0 if meant in doubled else _OTHER_LETTER_PROBABILITY


def _is_plain(text: str, start: int, end: int) -> bool:
    """Return whether a word has enough letters, and is no part of a path, an identifier or a divided word."""
    word = text[start:end]
    return (
        _has_only_letters(word)
        and word[1:] == word[1:].lower()
        and _CODE_BEFORE.search(text, max(0, start - _LOOK_BEHIND_CHARS), start) is None
        and _CODE_AFTER.match(text, end) is None
    )


def _has_only_letters(word: str) -> bool:
    return MIN_LETTERS <= len(word) <= MAX_LETTERS and all(part.isalpha() for part in _fold(word).split("'"))


def _is_inflected(one: str, other: str) -> bool:
    """Return whether one word is the other one with a letter at its end."""
    return one[:-1] == other or other[:-1] == one


def _fold(word: str) -> str:
    """Return a word in lower case, with one kind of apostrophe."""
    return word.lower().replace("\u2019", "'").replace("\u02bc", "'")
