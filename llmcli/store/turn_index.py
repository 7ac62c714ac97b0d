"""The full-text index of the saved messages."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence

from llmcli.frozen_dataclass import frozen
from llmcli.store.trigram_index import TrigramIndex, match_query, parse_terms
from llmcli.types import Role

__all__ = ["SCHEMA", "IndexedTurn", "add", "delete", "find_turns", "parse_terms", "purge"]

_INDEX = TrigramIndex("turn_index")
SCHEMA = _INDEX.schema
add, delete, purge = _INDEX.add, _INDEX.delete, _INDEX.purge


@frozen
class IndexedTurn:
    """A message that the index found, and the id of the session that wrote it."""

    id: int
    session: str
    role: Role
    content: str


def find_turns(connection: sqlite3.Connection, terms: Sequence[str]) -> Iterator[IndexedTurn]:
    """Yield the messages that contain all ``terms``."""
    query = match_query(terms)
    if query is not None:
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
