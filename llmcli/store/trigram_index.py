"""A full-text index of texts in a table: SQLite's FTS5 with trigrams, over case-folded text.

Trigrams find parts of words, and words of languages that write no spaces. Source: SQLite, "FTS5 Extension", the trigram
tokenizer (SQLite 3.34). The index holds no copy of the text, so an entry is deleted with the text that was indexed.
"""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Iterable, Sequence

_MIN_INDEXED_CHARS = 3
"""Shorter terms have no trigram: every text is read for them."""
_TERM = re.compile(r'"([^"]*)"|(\S+)')


class TrigramIndex:
    """The index in the table ``name``; the rowid of an entry is the id of its text."""

    def __init__(self, name: str) -> None:
        self._name = name
        self.schema = f"\nCREATE VIRTUAL TABLE {name} USING fts5 (content, content = '', tokenize = 'trigram');\n"

    def add(self, connection: sqlite3.Connection, entry: int, content: str) -> None:
        """Index a text."""
        statement = f"INSERT INTO {self._name} (rowid, content) VALUES (?, ?)"  # noqa: S608 (a name of our own)
        connection.execute(statement, (entry, content.casefold()))

    def delete(self, connection: sqlite3.Connection, entries: Iterable[tuple[int, str]]) -> None:
        """Remove texts, each given as id and text."""
        statement = f"INSERT INTO {self._name} ({self._name}, rowid, content) VALUES ('delete', ?, ?)"  # noqa: S608
        connection.executemany(statement, [(entry, content.casefold()) for entry, content in entries])

    def purge(self, connection: sqlite3.Connection) -> None:
        """Rewrite the index, so that nothing of deleted texts is left in it."""
        connection.execute(f"INSERT INTO {self._name} ({self._name}) VALUES ('optimize')")  # noqa: S608


def parse_terms(text: str) -> tuple[str, ...]:
    """Return the case-folded terms of a query: its words, and phrases in double quotes."""
    terms = [quoted or word for quoted, word in _TERM.findall(text)]
    return tuple(dict.fromkeys(term.casefold() for term in terms if term))


def match_query(terms: Sequence[str]) -> str | None:
    """Return the query of FTS5 for texts with all ``terms``; None if no term can be looked up.

    Short terms are left out, so a text that is found may lack them.
    """
    indexed = [term for term in terms if len(term) >= _MIN_INDEXED_CHARS and "\0" not in term]
    return " AND ".join('"' + term.replace('"', '""') + '"' for term in indexed) or None
