"""The full-text index of the saved messages: SQLite's FTS5 with trigrams, over case-folded text.

Trigrams find parts of words, and words of languages that write no spaces. Source: SQLite, "FTS5 Extension", the trigram
tokenizer (SQLite 3.34). The index holds no copy of the text, so an entry is deleted with the text that was indexed.
"""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from llmcli.types import Role

SCHEMA = """
CREATE VIRTUAL TABLE turn_index USING fts5 (content, content = '', tokenize = 'trigram');
"""
_MIN_INDEXED_CHARS = 3
"""Shorter terms have no trigram: every message is read for them."""
_TERM = re.compile(r'"([^"]*)"|(\S+)')


@dataclass(frozen=True, slots=True)
class IndexedTurn:
    """A message that the index found, and the id of the session that wrote it."""

    id: int
    session: str
    role: Role
    content: str


def add(connection: sqlite3.Connection, turn: int, content: str) -> None:
    """Index a message."""
    connection.execute("INSERT INTO turn_index (rowid, content) VALUES (?, ?)", (turn, content.casefold()))


def delete(connection: sqlite3.Connection, turns: Iterable[tuple[int, str]]) -> None:
    """Remove messages, each given as id and text."""
    connection.executemany(
        "INSERT INTO turn_index (turn_index, rowid, content) VALUES ('delete', ?, ?)",
        [(turn, content.casefold()) for turn, content in turns],
    )


def purge(connection: sqlite3.Connection) -> None:
    """Rewrite the index, so that nothing of deleted messages is left in it."""
    connection.execute("INSERT INTO turn_index (turn_index) VALUES ('optimize')")


def parse_terms(text: str) -> tuple[str, ...]:
    """Return the case-folded terms of a query: its words, and phrases in double quotes."""
    terms = [quoted or word for quoted, word in _TERM.findall(text)]
    return tuple(dict.fromkeys(term.casefold() for term in terms if term))


def find_turns(connection: sqlite3.Connection, terms: Sequence[str]) -> Iterator[IndexedTurn]:
    """Yield the messages that contain all ``terms``."""
    indexed = [term for term in terms if len(term) >= _MIN_INDEXED_CHARS and "\0" not in term]
    if indexed:
        query = " AND ".join('"' + term.replace('"', '""') + '"' for term in indexed)
        rows = connection.execute(
            "SELECT id, session, role, turns.content FROM turn_index JOIN turns ON id = turn_index.rowid "
            "WHERE turn_index MATCH ?",
            (query,),
        )
    else:
        rows = connection.execute("SELECT id, session, role, content FROM turns")
    for turn, session, role, content in rows:
        folded = content.casefold()
        if all(term in folded for term in terms):
            yield IndexedTurn(turn, session, Role(role), content)
