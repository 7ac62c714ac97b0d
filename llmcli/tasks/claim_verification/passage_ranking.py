"""Ranks passages by what they say about a sentence: Okapi BM25 over their words."""

from __future__ import annotations

import heapq
import math
import re
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Generic, TypeVar

from llmcli.documents.sentences import UNSPACED_CHARACTERS

K1, B = 1.2, 0.75
"""Saturation of a word's count, and how far long passages are discounted: the usual values."""
_TERM = re.compile(f"[{UNSPACED_CHARACTERS}]|[^\\W_{UNSPACED_CHARACTERS}]+")
_SUFFIXES = ("ing", "ed", "es", "s")
_MIN_STEM = 4
T = TypeVar("T")


def find_terms(text: str) -> list[str]:
    """Return the words of a text without case and without common English endings; characters where no spaces are used."""
    return [_stem(word) for word in _TERM.findall(text.casefold())]


def _stem(word: str) -> str:
    for suffix in _SUFFIXES:
        if word.endswith(suffix) and len(word) - len(suffix) >= _MIN_STEM:
            return word.removesuffix(suffix)
    return word


class PassageRanker(Generic[T]):
    """Finds the best passages for several queries in two passes over all passages, of which it keeps only the best.

    Call ``count`` with each passage, then ``rank`` with each passage in the same order, then read ``best``.

    Source: Robertson and Zaragoza 2009, The Probabilistic Relevance Framework: BM25 and Beyond, with the inverse document
    frequency log(1 + (N - n + 0.5) / (n + 0.5)), which is never negative.
    """

    def __init__(self, queries: Sequence[str], limit: int) -> None:
        self._queries = [list(dict.fromkeys(find_terms(query))) for query in queries]
        self._terms = {term for query in self._queries for term in query}
        self._limit = limit
        self._containing: Counter[str] = Counter()  # how many passages contain a term
        self._num_terms = 0
        self._num_ranked = 0
        self._heaps: list[list[tuple[float, int, T]]] = [[] for _ in queries]  # the worst of the best first
        self.num_passages = 0

    def count(self, passage: str) -> None:
        """Count the words of a passage."""
        terms = find_terms(passage)
        self._containing.update(self._terms.intersection(terms))
        self._num_terms += len(terms)
        self.num_passages += 1

    def rank(self, passage: str, keep: Callable[[], T]) -> None:
        """Rank the next passage; if it is one of the best so far, ``keep`` is called for what is kept of it."""
        terms = find_terms(passage)
        mean = max(1.0, self._num_terms / max(1, self.num_passages))
        norm = K1 * (1 - B + B * len(terms) / mean)
        weights = {
            term: self._inverse_document_frequency(term) * (times * (K1 + 1) / (times + norm))
            for term, times in Counter(filter(self._terms.__contains__, terms)).items()
        }
        for query, heap in zip(self._queries, self._heaps, strict=True):
            found = [weights[term] for term in query if term in weights]
            rank = sum(found), -self._num_ranked
            if found and len(heap) < self._limit:
                heapq.heappush(heap, (*rank, keep()))
            elif found and rank > heap[0][:2]:
                heapq.heapreplace(heap, (*rank, keep()))
        self._num_ranked += 1

    def _inverse_document_frequency(self, term: str) -> float:
        containing = self._containing[term]
        return math.log(1 + (self.num_passages - containing + 0.5) / (containing + 0.5))

    def best(self) -> list[dict[int, T]]:
        """Return for each query the best passages by their numbers, the best first; all have a word of the query."""
        return [
            {-number: kept for _, number, kept in sorted(heap, key=lambda each: each[:2], reverse=True)}
            for heap in self._heaps
        ]
