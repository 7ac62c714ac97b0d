"""Texts ranked by their words: SQLite's FTS5 and BM25.

The table of words stores no text (``content=''``): the owner of a text passes it again to remove it. The tokenizer
ignores case and accents and reduces English words to their stems (Porter 1980). Characters of Chinese, Japanese and
Korean, which are written without blanks or with few, are one word each, and a query matches pairs of them.
"""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Hashable, Iterable, Iterator, Sequence
from itertools import pairwise
from typing import TypeVar

WORDS_DEFINITION = """
CREATE VIRTUAL TABLE words USING fts5(text, content='', tokenize='porter unicode61 remove_diacritics 2')
"""
"""Creates the table ``words`` of a database; the texts in it are known by a row id."""
_MAX_QUERY_TERMS = 64
"""Words of a question that are searched for; the rest of a longer one is ignored."""
STOP_WORDS = frozenset(
    [
        "a",
        "an",
        "the",
        "and",
        "or",
        "of",
        "to",
        "in",
        "on",
        "at",
        "for",
        "from",
        "by",
        "with",
        "without",
        "as",
        "if",
        "then",
        "than",
        "so",
        "not",
        "no",
        "is",
        "are",
        "was",
        "were",
        "be",
        "been",
        "being",
        "do",
        "does",
        "did",
        "done",
        "can",
        "could",
        "may",
        "might",
        "must",
        "shall",
        "should",
        "will",
        "would",
        "have",
        "has",
        "had",
        "i",
        "me",
        "my",
        "we",
        "us",
        "our",
        "you",
        "your",
        "he",
        "him",
        "his",
        "she",
        "her",
        "it",
        "its",
        "they",
        "them",
        "their",
        "this",
        "that",
        "these",
        "those",
        "there",
        "here",
        "what",
        "which",
        "who",
        "whom",
        "whose",
        "when",
        "where",
        "why",
        "how",
    ]
)
"""Words of an English question that say nothing of its subject. Where they are rare, as in a manual, BM25 overrates
them."""
_WORD = re.compile(r"\w+")
_CJK = "\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uac00-\ud7af\uf900-\ufaff"
_CJK_CHARACTER = re.compile(f"[{_CJK}]")
_CJK_RUN = re.compile(f"[{_CJK}]+|[^{_CJK}]+")


class WordRanking:
    """Texts that are ranked by their words in this process, known by numbers."""

    def __init__(self) -> None:
        self._database = sqlite3.connect("")  # in memory; a large one moves to a temporary file that has no name
        self._database.execute(WORDS_DEFINITION)

    def add(self, number: int, text: str) -> None:
        """Add a text."""
        add_words(self._database, number, text)

    def search(self, question: str, limit: int) -> list[int]:
        """Return the numbers of the texts that contain a word of ``question``, the best by BM25 first."""
        return search_words(self._database, question, limit)


def add_words(database: sqlite3.Connection, row: int, text: str) -> None:
    """Add a text."""
    database.execute("INSERT INTO words (rowid, text) VALUES (?, ?)", (row, _separate_words(text)))


def remove_words(database: sqlite3.Connection, row: int, text: str) -> None:
    """Remove a text, which has to be the one that was added."""
    database.execute("INSERT INTO words (words, rowid, text) VALUES ('delete', ?, ?)", (row, _separate_words(text)))


def search_words(database: sqlite3.Connection, question: str, limit: int) -> list[int]:
    """Return the rows of the texts that contain a word of ``question``, the best by BM25 first.

    Texts that contain only stop words of it come last.
    """
    words = _WORD.findall(question)
    telling = [word for word in words if word.casefold() not in STOP_WORDS]
    found: dict[int, None] = {}
    for query in dict.fromkeys(map(match_query, (telling, words))):
        if query and len(found) < limit:
            statement = "SELECT rowid FROM words WHERE words MATCH ? ORDER BY rank, rowid LIMIT ?"
            found |= dict.fromkeys(row for (row,) in database.execute(statement, (query, limit)))
    return list(found)[:limit]


def _separate_words(text: str) -> str:
    """Return ``text`` with blanks around each character of a script without blanks; without lone surrogates."""
    return _CJK_CHARACTER.sub(r" \g<0> ", text).encode("utf-8", "replace").decode()


def match_query(words: Sequence[str]) -> str:
    """Return the FTS5 query for texts that contain any of the ``words``, "" if there are none."""
    terms = dict.fromkeys(term for word in words for term in _terms(word))
    return " OR ".join(f'"{term}"' for term in list(terms)[:_MAX_QUERY_TERMS])


def _terms(word: str) -> Iterator[str]:
    """Yield what is searched for: a word, and pairs of characters in a script without blanks."""
    for run in _CJK_RUN.findall(word.encode("utf-8", "replace").decode()):
        if _CJK_CHARACTER.match(run) and len(run) > 1:
            yield from (f"{first} {second}" for first, second in pairwise(run))
        else:
            yield run


T = TypeVar("T", bound=Hashable)

_RANK_CONSTANT = 60
"""``k`` of reciprocal rank fusion: how little the first places count more than the next ones."""


def fuse_rankings(rankings: Iterable[Sequence[T]]) -> list[T]:
    """Return what the rankings contain, each once, the best first.

    The score is the sum of 1 / (k + rank) over the rankings that contain it: reciprocal rank fusion (Cormack, Clarke
    and Buettcher 2009). Equal scores are in the order of the first ranking that contains them.
    """
    scores: dict[T, float] = {}
    for ranking in rankings:
        for rank, each in enumerate(ranking, 1):
            scores[each] = scores.get(each, 0.0) + 1 / (_RANK_CONSTANT + rank)
    return sorted(scores, key=lambda each: -scores[each])
