"""Saved conversations: one SQLite file, mode 0600.

Table ``sessions``: a name, an id, the model that answered last, the user's instructions. Table ``turns``: the messages,
in order. Turns are only ever added, so a writer sees by their number whether another process has continued the session.
"""

from __future__ import annotations

import re
import secrets
import sqlite3
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Self

from llmcli.errors import MissingError
from llmcli.store.database import Database, DatabaseSpec
from llmcli.store.turn import Turn
from llmcli.types import Role

MAX_SESSION_NAME_CHARS = 100
"""Characters of a name."""
ALLOWED_NAME_TEXT = (
    f"use letters A to Z, digits and ._- only, {MAX_SESSION_NAME_CHARS} at most, and do not begin with . or -"
)
"""The message for an invalid session name."""
_NAME = rf"[A-Za-z0-9_][A-Za-z0-9._-]{{0,{MAX_SESSION_NAME_CHARS - 1}}}"
_SCHEMA = """
CREATE TABLE sessions (
    id TEXT NOT NULL UNIQUE, name TEXT NOT NULL UNIQUE, model TEXT NOT NULL, system TEXT NOT NULL,
    created REAL NOT NULL, updated REAL NOT NULL
);
CREATE TABLE turns (
    session TEXT NOT NULL, number INTEGER NOT NULL, role TEXT NOT NULL CHECK (role IN ('user', 'assistant')),
    content TEXT NOT NULL, interrupted INTEGER NOT NULL, time REAL NOT NULL, PRIMARY KEY (session, number)
) WITHOUT ROWID;
"""
_SPEC = DatabaseSpec(
    description="a file of saved chats",
    kind="sessions",
    version=1,
    schema=_SCHEMA,
    tables=frozenset({"sessions", "turns"}),
)
_SELECT_BY_NAME = "SELECT id, name, model, system, created, updated FROM sessions WHERE name = ?"
_SELECT_LAST = """
SELECT id, name, model, system, created, updated FROM sessions ORDER BY updated DESC, sessions.rowid DESC LIMIT 1
"""
_SELECT_ALL = """
SELECT id, name, model, system, created, updated, (SELECT count(*) FROM turns WHERE session = id),
(SELECT content FROM turns WHERE session = id AND number = 0) FROM sessions ORDER BY updated DESC, sessions.rowid DESC
"""
_SELECT_TURNS = """
SELECT name, number, role, content FROM turns JOIN sessions ON session = id
ORDER BY updated DESC, sessions.rowid DESC, number
"""


@dataclass(frozen=True, slots=True)
class Session:
    """A saved conversation without its turns; times in seconds since the epoch. ``created`` 0: not saved yet.

    ``id``: 32 hexadecimal digits; ``model``: the name of the model that answered last.
    """

    id: str
    name: str
    model: str = ""
    system: str = ""
    created: float = 0.0
    updated: float = 0.0


@dataclass(frozen=True, slots=True)
class SessionOverview:
    """A line of the list: a session, the number of its messages, and the first one."""

    session: Session
    message_count: int
    first_message: str


@dataclass(frozen=True, slots=True)
class SessionMatch:
    """A line of message number ``number`` (from 1) of the session called ``name``."""

    name: str
    number: int
    role: Role
    line: str


def is_session_name(text: str) -> bool:
    """Return whether ``text`` is a valid name of a session."""
    return re.fullmatch(_NAME, text) is not None


def new_session(name: str, system: str = "") -> Session:
    """Return a new session; it is saved together with its first turns."""
    return Session(secrets.token_hex(16), name, system=_replace_surrogates(system))


class SessionStore:
    """The saved conversations in the file ``path``, created if it does not exist; a context manager."""

    def __init__(self, path: Path, *, read_only: bool = False) -> None:
        """Raises what ``Database`` raises; ``read_only`` as there."""
        self._database = Database(path, _SPEC, read_only=read_only)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._database.close()

    def check_writable(self) -> None:
        """Raise the error that ``save`` would raise if nothing can be saved."""
        self._database.check_writable()

    # ---- reading --------------------------------------------------------------------------------------------------

    def find(self, name: str) -> Session | None:
        """Return the session called ``name``."""
        return self._select_one(_SELECT_BY_NAME, name)

    def get(self, name: str) -> Session:
        """Return the session called ``name``; raises ``MissingError``."""
        found = self.find(name)
        if found is None:
            import difflib

            near = difflib.get_close_matches(name, [each.session.name for each in self.list()], n=3)
            raise MissingError(name, kind="session", suggestions=near)
        return found

    def last_used(self) -> Session | None:
        """Return the most recently used session."""
        return self._select_one(_SELECT_LAST)

    def list(self) -> list[SessionOverview]:
        """Return all sessions, the most recently used first."""
        with self._database.read() as database:
            rows = database.execute(_SELECT_ALL).fetchall()
        return [SessionOverview(Session(*fields), messages, first or "") for *fields, messages, first in rows]

    def load_turns(self, session: Session) -> tuple[Turn, ...]:
        """Return the turns, in order."""
        with self._database.read() as database:
            rows = database.execute(
                "SELECT role, content, interrupted, time FROM turns WHERE session = ? ORDER BY number", (session.id,)
            ).fetchall()
        return tuple(Turn(Role(role), content, bool(interrupted), at) for role, content, interrupted, at in rows)

    def search(self, text: str) -> Iterator[SessionMatch]:
        """Yield the lines that contain ``text``, ignoring case, from the most recently used session on."""
        needle = text.casefold()
        with self._database.read() as database:
            for name, number, role, content in database.execute(_SELECT_TURNS):
                for line in content.splitlines():
                    if needle in line.casefold():
                        yield SessionMatch(name, number + 1, Role(role), line)

    def _select_one(self, query: str, *values: str) -> Session | None:
        with self._database.read() as database:
            row = database.execute(query, values).fetchone()
        return Session(*row) if row else None

    # ---- changing -------------------------------------------------------------------------------------------------

    def save(self, session: Session, turns: Sequence[Turn], known: int) -> Session:
        """Save a conversation whose first ``known`` turns are saved already; return the saved session.

        If another process continued or removed the session, it is saved as a new session with its own name and id and
        all ``turns``. A new session gets another name if its name is taken.
        """
        now = time.time()
        with self._database.transaction() as database:
            row = database.execute(
                "SELECT name, created, (SELECT count(*) FROM turns WHERE session = id) FROM sessions WHERE id = ?",
                (session.id,),
            ).fetchone()
            if row and row[2] == known:
                saved = replace(session, name=row[0], created=row[1], updated=now)
                database.execute(
                    "UPDATE sessions SET model = ?, system = ?, updated = ? WHERE id = ?",
                    (saved.model, _replace_surrogates(saved.system), now, saved.id),
                )
            else:
                own = secrets.token_hex(16) if row or known else session.id
                name = _free_name(database, session.name if row is None else row[0])
                saved, known = replace(session, id=own, name=name, created=now, updated=now), 0
                database.execute(
                    "INSERT INTO sessions VALUES (?, ?, ?, ?, ?, ?)",
                    (own, name, saved.model, _replace_surrogates(saved.system), now, now),
                )
            rows = [
                (
                    saved.id,
                    number,
                    str(turn.role),
                    _replace_surrogates(turn.content),
                    turn.interrupted,
                    turn.time or now,
                )
                for number, turn in enumerate(turns[known:], known)
            ]
            database.executemany("INSERT INTO turns VALUES (?, ?, ?, ?, ?, ?)", rows)
        return saved

    def rename(self, session: Session, name: str) -> bool:
        """Rename a session; False if another session has the name."""
        with self._database.transaction() as database:
            row = database.execute("SELECT id FROM sessions WHERE name = ?", (name,)).fetchone()
            if row is None:
                database.execute("UPDATE sessions SET name = ? WHERE id = ?", (name, session.id))
        return row is None or row[0] == session.id

    def remove(self, sessions: Sequence[Session]) -> None:
        """Remove sessions with all their messages."""
        ids = [(session.id,) for session in sessions]
        with self._database.transaction() as database:
            database.executemany("DELETE FROM turns WHERE session = ?", ids)
            database.executemany("DELETE FROM sessions WHERE id = ?", ids)


def _free_name(database: sqlite3.Connection, name: str) -> str:
    """Return ``name``, or if it is taken the first free one of NAME-2, NAME-3, ..."""
    tried, number = name, 1
    while database.execute("SELECT 1 FROM sessions WHERE name = ?", (tried,)).fetchone():
        number += 1
        end = f"-{number}"
        tried = name[: MAX_SESSION_NAME_CHARS - len(end)] + end
    return tried


def _replace_surrogates(text: str) -> str:
    """Return a text without lone surrogates, which a server may send and UTF-8 cannot encode."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return text
