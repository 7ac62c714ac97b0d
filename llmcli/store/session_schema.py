"""The tables of the saved chats, and the migration from earlier versions.

Messages form trees: each has a parent, and forks of a session share the messages up to the fork. A session has a head,
the last message of its conversation; the messages of its other branches stay. A message carries the session that wrote
it, its position (``depth``, from 1) and the first message of its tree (``root``).
"""

from __future__ import annotations

import sqlite3

from llmcli.frozen_dataclass import frozen
from llmcli.store import turn_index
from llmcli.store.database import DatabaseSpec
from llmcli.store.schema_migration import split_statements
from llmcli.store.turn import Turn
from llmcli.types import Role

_SCHEMA = """
CREATE TABLE sessions (
    id TEXT NOT NULL UNIQUE, name TEXT NOT NULL UNIQUE, model TEXT NOT NULL, system TEXT NOT NULL,
    overflow TEXT NOT NULL, head INTEGER REFERENCES turns (id), created REAL NOT NULL, updated REAL NOT NULL
);
CREATE TABLE turns (
    id INTEGER PRIMARY KEY AUTOINCREMENT, session TEXT NOT NULL, parent INTEGER REFERENCES turns (id),
    root INTEGER NOT NULL, depth INTEGER NOT NULL, role TEXT NOT NULL CHECK (role IN ('user', 'assistant')),
    content TEXT NOT NULL, interrupted INTEGER NOT NULL, time REAL NOT NULL
);
CREATE INDEX turns_by_session ON turns (session);
CREATE INDEX turns_by_parent ON turns (parent);
CREATE TABLE pins (
    session TEXT NOT NULL, turn INTEGER NOT NULL REFERENCES turns (id), PRIMARY KEY (session, turn)
) WITHOUT ROWID;
CREATE TABLE summaries (
    turn INTEGER PRIMARY KEY REFERENCES turns (id), content TEXT NOT NULL, model TEXT NOT NULL, time REAL NOT NULL
);
"""


def _migrate_lists_to_trees(connection: sqlite3.Connection) -> None:
    """Turn the numbered messages of version 1 into trees that have no branches."""
    sessions = connection.execute(
        "SELECT id, name, model, system, created, updated FROM sessions ORDER BY rowid"
    ).fetchall()
    connection.execute("ALTER TABLE turns RENAME TO turns_1")
    connection.execute("DROP TABLE sessions")
    create_tables(connection)
    for session, *fields, created, updated in sessions:
        rows = connection.execute(
            "SELECT role, content, interrupted, time FROM turns_1 WHERE session = ? ORDER BY number", (session,)
        ).fetchall()
        head: TurnPosition | None = None
        for role, content, interrupted, time in rows:
            head = insert_turn(connection, session, Turn(Role(role), content, bool(interrupted), time), head)
        connection.execute(
            "INSERT INTO sessions VALUES (?, ?, ?, ?, '', ?, ?, ?)",
            (session, *fields, head and head.id, created, updated),
        )
    connection.execute("DROP TABLE turns_1")


def create_tables(connection: sqlite3.Connection) -> None:
    """Create the tables of the current version."""
    for statement in split_statements(_SCHEMA + turn_index.SCHEMA):
        connection.execute(statement)


@frozen
class TurnPosition:
    """Where a message is: its id, the first message of its tree, and its position from 1."""

    id: int
    root: int
    depth: int


def insert_turn(connection: sqlite3.Connection, session: str, turn: Turn, after: TurnPosition | None) -> TurnPosition:
    """Insert a message of ``session`` after another one, or as the first of a tree, and index its words."""
    inserted = connection.execute(
        "INSERT INTO turns (session, parent, root, depth, role, content, interrupted, time) VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
        (
            session,
            after and after.id,
            after.root if after else 0,
            after.depth + 1 if after else 1,
            str(turn.role),
            turn.content,
            turn.interrupted,
            turn.time,
        ),
    ).lastrowid
    own = inserted or 0
    if after is None:
        connection.execute("UPDATE turns SET root = id WHERE id = ?", (own,))
    turn_index.add(connection, own, turn.content)
    return TurnPosition(own, after.root if after else own, after.depth + 1 if after else 1)


SESSIONS_SPEC = DatabaseSpec(
    description="a file of saved chats",
    kind="sessions",
    version=2,
    schema=_SCHEMA + turn_index.SCHEMA,
    tables=frozenset({"sessions", "turns"}),
    migrations={1: _migrate_lists_to_trees},
)
