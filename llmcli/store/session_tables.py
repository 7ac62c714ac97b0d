"""The tables of the saved chats, their rows and full-text index, and the migration from earlier versions.

Messages form trees: each has a parent, and forks of a session share the messages up to the fork. A session has a head,
the last message of its conversation; the messages of its other branches stay. A message carries the session that wrote
it, its position (``depth``, from 1) and the first message of its tree (``root``).
"""

from __future__ import annotations

import sqlite3
from collections.abc import Collection, Iterator, Sequence

from llmcli.fast_dataclass import frozen
from llmcli.store.database import DatabaseSpec, TrigramIndex, match_query, split_statements
from llmcli.store.session import StoredMessage
from llmcli.types import Role

_INDEX = TrigramIndex("turn_index")


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
    _create_tables(connection)
    for session, *fields, created, updated in sessions:
        rows = connection.execute(
            "SELECT role, content, interrupted, time FROM turns_1 WHERE session = ? ORDER BY number", (session,)
        ).fetchall()
        head: TurnPosition | None = None
        for role, content, interrupted, time in rows:
            head = insert_turn(connection, session, StoredMessage(Role(role), content, bool(interrupted), time), head)
        connection.execute(
            "INSERT INTO sessions VALUES (?, ?, ?, ?, '', ?, ?, ?)",
            (session, *fields, head and head.id, created, updated),
        )
    connection.execute("DROP TABLE turns_1")


def _create_tables(connection: sqlite3.Connection) -> None:
    """Create the tables of the current version."""
    for statement in split_statements(_SCHEMA + _INDEX.schema):
        connection.execute(statement)


@frozen
class TurnPosition:
    """Where a message is: its id, the first message of its tree, and its position from 1."""

    id: int
    root: int
    depth: int


def insert_turn(
    connection: sqlite3.Connection, session: str, turn: StoredMessage, after: TurnPosition | None
) -> TurnPosition:
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
    _INDEX.add(connection, own, turn.content)
    return TurnPosition(own, after.root if after else own, after.depth + 1 if after else 1)


SESSIONS_SPEC = DatabaseSpec(
    description="a file of saved chats",
    kind="sessions",
    version=2,
    schema=_SCHEMA + _INDEX.schema,
    tables=frozenset({"sessions", "turns"}),
    migrations={1: _migrate_lists_to_trees},
)


_COLUMNS = "turns.role, turns.content, turns.interrupted, turns.time, pins.turn IS NOT NULL, turns.id, turns.parent"
_SELECT_BRANCH = f"""
WITH RECURSIVE branch (id) AS (
    SELECT :head UNION ALL SELECT parent FROM turns JOIN branch USING (id) WHERE parent IS NOT NULL
)
SELECT {_COLUMNS} FROM branch JOIN turns USING (id) LEFT JOIN pins ON pins.turn = turns.id AND pins.session = :session
ORDER BY depth
"""  # noqa: S608 (no value is inserted)
_WITH_TREE = """
WITH RECURSIVE tree (id) AS (
    SELECT id FROM turns WHERE session = :session UNION SELECT head FROM sessions WHERE id = :session AND head IS NOT NULL
    UNION SELECT parent FROM turns JOIN tree USING (id) WHERE parent IS NOT NULL
)
"""
_SELECT_TREE = f"""
{_WITH_TREE} SELECT {_COLUMNS} FROM tree JOIN turns USING (id)
LEFT JOIN pins ON pins.turn = turns.id AND pins.session = :session ORDER BY turns.id
"""  # noqa: S608 (no value is inserted)
_SELECT_TREE_IDS = f"{_WITH_TREE} SELECT id FROM tree ORDER BY id"  # noqa: S608 (no value is inserted)
_SELECT_UNUSED = """
WITH RECURSIVE used (id) AS (
    SELECT head FROM sessions WHERE head IS NOT NULL
    UNION SELECT id FROM turns WHERE session IN (SELECT id FROM sessions)
    UNION SELECT parent FROM turns JOIN used USING (id) WHERE parent IS NOT NULL
)
SELECT id, content FROM turns WHERE session NOT IN (SELECT id FROM sessions) AND id NOT IN (SELECT id FROM used)
"""


def select_branch(connection: sqlite3.Connection, session: str, head: int) -> tuple[StoredMessage, ...]:
    """Return the messages from the first one to ``head``; ``pinned`` is that of ``session``."""
    return tuple(_turns(connection.execute(_SELECT_BRANCH, {"head": head, "session": session})))


def select_tree(connection: sqlite3.Connection, session: str) -> tuple[StoredMessage, ...]:
    """Return all messages that a session wrote or shares, in the order of writing: parents come before children."""
    return tuple(_turns(connection.execute(_SELECT_TREE, {"session": session})))


def select_tree_ids(connection: sqlite3.Connection, session: str) -> list[int]:
    """Return the ids of the messages of ``select_tree``."""
    return [turn for (turn,) in connection.execute(_SELECT_TREE_IDS, {"session": session})]


def _turns(rows: sqlite3.Cursor) -> Iterator[StoredMessage]:
    for role, content, interrupted, time, pinned, turn, parent in rows:
        yield StoredMessage(Role(role), content, bool(interrupted), time, bool(pinned), turn, parent or 0)


def find_position(connection: sqlite3.Connection, turn: int) -> TurnPosition | None:
    """Return where a message is; None if it does not exist."""
    row = connection.execute("SELECT id, root, depth FROM turns WHERE id = ?", (turn,)).fetchone()
    return None if row is None else TurnPosition(*row)


def replace_content(connection: sqlite3.Connection, turn: int, content: str, *, interrupted: bool) -> bool:
    """Replace the text of a message; False if it does not exist."""
    row = connection.execute("SELECT content FROM turns WHERE id = ?", (turn,)).fetchone()
    if row is None:
        return False
    _INDEX.delete(connection, [(turn, row[0])])
    connection.execute("UPDATE turns SET content = ?, interrupted = ? WHERE id = ?", (content, interrupted, turn))
    _INDEX.add(connection, turn, content)
    return True


def delete_turns(connection: sqlite3.Connection, turns: Collection[tuple[int, str]]) -> None:
    """Delete messages, each given as id and text, with their pins and summaries."""
    _INDEX.delete(connection, turns)
    ids = [(turn,) for turn, _ in turns]
    connection.executemany("DELETE FROM pins WHERE turn = ?", ids)
    connection.executemany("DELETE FROM summaries WHERE turn = ?", ids)
    connection.executemany("DELETE FROM turns WHERE id = ?", ids)


def delete_unused(connection: sqlite3.Connection) -> None:
    """Delete the messages of removed sessions that no other session shares."""
    delete_turns(connection, connection.execute(_SELECT_UNUSED).fetchall())
    connection.execute("DELETE FROM pins WHERE session NOT IN (SELECT id FROM sessions)")
    _INDEX.purge(connection)
