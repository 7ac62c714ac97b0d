"""The rows of messages: reading the branch up to a message or a whole tree, and removing what no session uses."""

from __future__ import annotations

import sqlite3
from collections.abc import Collection, Iterator

from llmcli.store import turn_index
from llmcli.store.session_schema import TurnPosition
from llmcli.store.turn import Turn
from llmcli.types import Role

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


def select_branch(connection: sqlite3.Connection, session: str, head: int) -> tuple[Turn, ...]:
    """Return the messages from the first one to ``head``; ``pinned`` is that of ``session``."""
    return tuple(_turns(connection.execute(_SELECT_BRANCH, {"head": head, "session": session})))


def select_tree(connection: sqlite3.Connection, session: str) -> tuple[Turn, ...]:
    """Return all messages that a session wrote or shares, in the order of writing: parents come before children."""
    return tuple(_turns(connection.execute(_SELECT_TREE, {"session": session})))


def select_tree_ids(connection: sqlite3.Connection, session: str) -> list[int]:
    """Return the ids of the messages of ``select_tree``."""
    return [turn for (turn,) in connection.execute(_SELECT_TREE_IDS, {"session": session})]


def _turns(rows: sqlite3.Cursor) -> Iterator[Turn]:
    for role, content, interrupted, time, pinned, turn, parent in rows:
        yield Turn(Role(role), content, bool(interrupted), time, bool(pinned), turn, parent or 0)


def find_position(connection: sqlite3.Connection, turn: int) -> TurnPosition | None:
    """Return where a message is; None if it does not exist."""
    row = connection.execute("SELECT id, root, depth FROM turns WHERE id = ?", (turn,)).fetchone()
    return None if row is None else TurnPosition(*row)


def replace_content(connection: sqlite3.Connection, turn: int, content: str, *, interrupted: bool) -> bool:
    """Replace the text of a message; False if it does not exist."""
    row = connection.execute("SELECT content FROM turns WHERE id = ?", (turn,)).fetchone()
    if row is None:
        return False
    turn_index.delete(connection, [(turn, row[0])])
    connection.execute("UPDATE turns SET content = ?, interrupted = ? WHERE id = ?", (content, interrupted, turn))
    turn_index.add(connection, turn, content)
    return True


def delete_turns(connection: sqlite3.Connection, turns: Collection[tuple[int, str]]) -> None:
    """Delete messages, each given as id and text, with their pins and summaries."""
    turn_index.delete(connection, turns)
    ids = [(turn,) for turn, _ in turns]
    connection.executemany("DELETE FROM pins WHERE turn = ?", ids)
    connection.executemany("DELETE FROM summaries WHERE turn = ?", ids)
    connection.executemany("DELETE FROM turns WHERE id = ?", ids)


def delete_unused(connection: sqlite3.Connection) -> None:
    """Delete the messages of removed sessions that no other session shares."""
    delete_turns(connection, connection.execute(_SELECT_UNUSED).fetchall())
    connection.execute("DELETE FROM pins WHERE session NOT IN (SELECT id FROM sessions)")
    turn_index.purge(connection)
