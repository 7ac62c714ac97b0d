"""Full-text search with SQLite's FTS5: the words of a text, and a table of them ranked by BM25.

The table stores no text (``content=''``): the owner of a text passes it again to remove it. The tokenizer ignores case
and accents and reduces English words to their stems (Porter 1980). Characters of Chinese, Japanese and Korean, which
are written without blanks or with few, are one word each, and a query matches pairs of them.
"""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Iterator
from itertools import pairwise

MAX_QUERY_TERMS = 64
"""Words of a question that are searched for; the rest of a longer one is ignored."""
_WORD = re.compile(r"\w+")
_CJK = "\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uac00-\ud7af\uf900-\ufaff"
_CJK_CHARACTER = re.compile(f"[{_CJK}]")
_CJK_RUN = re.compile(f"[{_CJK}]+|[^{_CJK}]+")


WORDS_DEFINITION = """
CREATE VIRTUAL TABLE words USING fts5(text, content='', tokenize='porter unicode61 remove_diacritics 2')
"""
"""Creates the table ``words`` of a database; the texts in it are known by a row id."""


def add_words(database: sqlite3.Connection, row: int, text: str) -> None:
    """Add a text."""
    database.execute("INSERT INTO words (rowid, text) VALUES (?, ?)", (row, separate_words(text)))


def remove_words(database: sqlite3.Connection, row: int, text: str) -> None:
    """Remove a text, which has to be the one that was added."""
    database.execute("INSERT INTO words (words, rowid, text) VALUES ('delete', ?, ?)", (row, separate_words(text)))


def search_words(database: sqlite3.Connection, question: str, limit: int) -> list[int]:
    """Return the rows of the texts that contain a word of ``question``, the best by BM25 first."""
    query = match_query(question)
    if not query:
        return []
    statement = "SELECT rowid FROM words WHERE words MATCH ? ORDER BY rank, rowid LIMIT ?"
    return [row for (row,) in database.execute(statement, (query, limit))]


def separate_words(text: str) -> str:
    """Return ``text`` with blanks around each character of a script without blanks; without lone surrogates."""
    return _CJK_CHARACTER.sub(r" \g<0> ", text).encode("utf-8", "replace").decode()


def match_query(question: str) -> str:
    """Return the FTS5 query for texts that contain any word of ``question``, "" if it has none."""
    terms = dict.fromkeys(term for word in _WORD.findall(question) for term in _terms(word))
    return " OR ".join(f'"{term}"' for term in list(terms)[:MAX_QUERY_TERMS])


def _terms(word: str) -> Iterator[str]:
    """Yield what is searched for: a word, and pairs of characters in a script without blanks."""
    for run in _CJK_RUN.findall(word.encode("utf-8", "replace").decode()):
        if _CJK_CHARACTER.match(run) and len(run) > 1:
            yield from (f"{first} {second}" for first, second in pairwise(run))
        else:
            yield run
