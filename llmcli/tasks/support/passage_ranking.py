"""Which passages say most about a sentence: Okapi BM25 over their words."""

from __future__ import annotations

import heapq
import math
import re
from collections import Counter
from collections.abc import Sequence

from llmcli.tasks.quotation.quotation_grammar import UNSPACED_CHARACTERS

K1, B = 1.2, 0.75
"""Saturation of a word's count, and how far long passages are discounted: the usual values."""
_TERM = re.compile(f"[{UNSPACED_CHARACTERS}]|[^\\W_{UNSPACED_CHARACTERS}]+")
_SUFFIXES = ("ing", "ed", "es", "s")
_MIN_STEM = 4


def find_terms(text: str) -> list[str]:
    """Return the words of a text without case and without common English endings; characters where no spaces are used."""
    return [_stem(word) for word in _TERM.findall(text.casefold())]


def _stem(word: str) -> str:
    for suffix in _SUFFIXES:
        if word.endswith(suffix) and len(word) - len(suffix) >= _MIN_STEM:
            return word.removesuffix(suffix)
    return word


class PassageRanker:
    """Ranks passages for a query; their words are counted once.

    Source: Robertson and Zaragoza 2009, The Probabilistic Relevance Framework: BM25 and Beyond, with the inverse document
    frequency log(1 + (N - n + 0.5) / (n + 0.5)), which is never negative.
    """

    def __init__(self, passages: Sequence[str]) -> None:
        counts = [Counter(find_terms(passage)) for passage in passages]
        lengths = [sum(count.values()) for count in counts]
        mean = max(1.0, sum(lengths) / max(1, len(lengths)))
        self._weights: dict[str, list[tuple[int, float]]] = {}
        for index, (count, length) in enumerate(zip(counts, lengths, strict=True)):
            norm = K1 * (1 - B + B * length / mean)
            for term, times in count.items():
                self._weights.setdefault(term, []).append((index, times * (K1 + 1) / (times + norm)))
        self._num_passages = len(passages)

    def rank(self, query: str, count: int) -> list[int]:
        """Return the indices of the ``count`` best passages, the best first; those without a common word are left out."""
        scores: dict[int, float] = {}
        for term in dict.fromkeys(find_terms(query)):
            found = self._weights.get(term, ())
            rarity = math.log(1 + (self._num_passages - len(found) + 0.5) / (len(found) + 0.5))
            for index, weight in found:
                scores[index] = scores.get(index, 0.0) + rarity * weight
        return heapq.nsmallest(count, scores, key=lambda index: (-scores[index], index))
