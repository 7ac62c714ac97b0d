"""Phrases that a translation repeats although its source does not, as answers of small models do."""

from __future__ import annotations

import re
from collections import Counter
from itertools import pairwise

MIN_ROUNDS = 3
"""A phrase that follows itself so often, and more often than any in the source, was not translated."""
MIN_PAIR_CHARS = 12
"""Letters of a pair of words that does not come often by itself, as "of the" does."""
MIN_PAIR_SHARE = 0.5
"""A translation of which such a pair takes so much was not translated either."""
_MAX_PHRASE_WORDS = 16
_WORD = re.compile(r"\w+")
_ROUNDS_WITHOUT_SPACES = re.compile(r"(\w{1,8}?)\1{2,}")
_IDEOGRAPH = re.compile("[\u3041-\u30ff\u3400-\u9fff]")
"""Characters of languages that separate no words: Japanese and Chinese."""


def repeats_more(source: str, translation: str) -> bool:
    """Whether a translation repeats a phrase over and over that its source does not repeat."""
    before, after = (_WORD.findall(text.casefold()) for text in (source, translation))
    rounds = _count_rounds(after)
    if rounds >= MIN_ROUNDS and rounds > max(_count_rounds(before), _count_rounds_without_spaces(source)):
        return True
    count, share = _most_frequent_pair(after)
    words = Counter([*before, *_IDEOGRAPH.findall(source)])
    return count >= MIN_ROUNDS and share >= MIN_PAIR_SHARE and count > max(words.values(), default=0)


def _count_rounds(words: list[str]) -> int:
    """Return how often the phrase that follows itself most often does so."""
    most = min(1, len(words))
    for length in range(1, min(_MAX_PHRASE_WORDS, len(words) // 2) + 1):
        run = 0
        for word, later in zip(words, words[length:], strict=False):
            run = run + 1 if word == later else 0
            most = max(most, 1 + run // length)
    return most


def _count_rounds_without_spaces(text: str) -> int:
    return max((len(match[0]) // len(match[1]) for match in _ROUNDS_WITHOUT_SPACES.finditer(text)), default=1)


def _most_frequent_pair(words: list[str]) -> tuple[int, float]:
    """Return how often the most frequent long pair of words comes, and its share of the words."""
    pairs = Counter(pair for pair in pairwise(words) if len(pair[0]) + len(pair[1]) >= MIN_PAIR_CHARS)
    count = max(pairs.values(), default=0)
    return count, 2 * count / len(words) if count else 0.0
