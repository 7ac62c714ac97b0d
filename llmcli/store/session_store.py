"""Saved conversations: one SQLite file, mode 0600; ``session_tables`` describes its tables.

Messages are only ever added: going back, retrying and editing move the head of a session or start a branch, and two
processes that continue one session write two branches of it.
"""

from __future__ import annotations

import secrets
import sqlite3
import time
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path
from typing import Self

from llmcli.errors import MissingError
from llmcli.fast_dataclass import replace
from llmcli.store import session_tables
from llmcli.store.database import Database, parse_terms
from llmcli.store.session import (
    MAX_SESSION_NAME_CHARS,
    SavedConversation,
    Session,
    SessionMatch,
    SessionOverview,
    StoredMessage,
    Summary,
    replace_surrogates,
)
from llmcli.store.session_tables import SESSIONS_SPEC, TurnPosition, insert_turn

_FIELDS = "sessions.id, name, model, system, overflow, coalesce(head, 0), created, updated"
_NEWEST_FIRST = "ORDER BY updated DESC, sessions.rowid DESC"
_SELECT_ALL = f"""
SELECT {_FIELDS}, coalesce(head.depth, 0), coalesce(root.content, '') FROM sessions
LEFT JOIN turns AS head ON head.id = sessions.head LEFT JOIN turns AS root ON root.id = head.root {_NEWEST_FIRST}
"""  # noqa: S608 (no value is inserted)
_SELECT_NAMES = f"SELECT id, name FROM sessions {_NEWEST_FIRST}"  # noqa: S608 (no value is inserted)


class SessionStore:
    """The saved conversations in the file ``path``, created if it does not exist; a context manager."""

    def __init__(self, path: Path, *, read_only: bool = False) -> None:
        """Raises what ``Database`` raises; ``read_only`` as there."""
        self._database = Database(path, SESSIONS_SPEC, read_only=read_only)

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
        return self._select_one("WHERE name = ?", name)

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
        return self._select_one(f"{_NEWEST_FIRST} LIMIT 1")

    def list(self) -> list[SessionOverview]:
        """Return all sessions, the most recently used first."""
        with self._database.read() as database:
            rows = database.execute(_SELECT_ALL).fetchall()
        return [SessionOverview(Session(*fields), messages, first) for *fields, messages, first in rows]

    def load_turns(self, session: Session) -> tuple[StoredMessage, ...]:
        """Return the messages of the conversation that ends at the session's head, in order."""
        with self._database.read() as database:
            return session_tables.select_branch(database, session.id, session.head)

    def load_tree(self, session: Session) -> tuple[StoredMessage, ...]:
        """Return the messages of all branches, in the order of writing; message number N is the N-th of them."""
        with self._database.read() as database:
            return session_tables.select_tree(database, session.id)

    def find_summary(self, turns: Sequence[StoredMessage]) -> Summary | None:
        """Return the summary that covers most of a conversation."""
        with self._database.read() as database:
            for turn in reversed(turns):
                row = database.execute(
                    "SELECT turn, content, model FROM summaries WHERE turn = ?", (turn.id,)
                ).fetchone()
                if row is not None:
                    return Summary(*row)
        return None

    def search(self, text: str) -> Iterator[SessionMatch]:
        """Yield the lines that contain a term of ``text``, of messages that contain all of them.

        Terms are words and "quoted phrases"; case is ignored. The most recently used session comes first; a message
        that several sessions share belongs to the one that wrote it.
        """
        terms = parse_terms(text)
        with self._database.read() as database:
            found = {each.id: each for each in session_tables.find_turns(database, terms)} if terms else {}
            sessions = database.execute(_SELECT_NAMES).fetchall() if found else []
            known = {session for session, _ in sessions}
            for session, name in sessions:
                for number, turn in enumerate(session_tables.select_tree_ids(database, session), 1):
                    match = found.get(turn)
                    if match is None or match.session not in {session} | ({match.session} - known):
                        continue
                    del found[turn]
                    for line in match.content.splitlines():
                        if any(term in line.casefold() for term in terms):
                            yield SessionMatch(name, number, match.role, line)

    def _select_one(self, condition: str, *values: str) -> Session | None:
        with self._database.read() as database:
            row = database.execute(f"SELECT {_FIELDS} FROM sessions {condition}", values).fetchone()  # noqa: S608 (a fixed condition)
        return Session(*row) if row else None

    # ---- changing -------------------------------------------------------------------------------------------------

    def save(self, session: Session, turns: Sequence[StoredMessage], *, joins: bool = False) -> SavedConversation:
        """Save a conversation and make its last message the head; messages with an id are saved already.

        If another process has continued the session, the new messages become a branch of it. If one has removed it, it
        is saved again as a new session with all ``turns``. A new session whose name is taken gets another name, or with
        ``joins`` becomes a branch of the session that has the name.
        """
        now = time.time()
        with self._database.transaction() as database:
            row = database.execute(
                "SELECT id, name, created, coalesce(head, 0) FROM sessions WHERE id = ?", (session.id,)
            ).fetchone()
            if row is None and joins and not session.created:
                row = database.execute(
                    "SELECT id, name, created, coalesce(head, 0) FROM sessions WHERE name = ?", (session.name,)
                ).fetchone()
            own, name, created, head = row or self._new_row(database, session, now)
            branched = row is not None and head != session.head
            saved = self._insert_missing(database, own, turns, now)
            at = saved[-1].id if saved else 0
            database.execute(
                "INSERT INTO sessions VALUES (:id, :name, :model, :system, :overflow, :head, :created, :updated) "
                "ON CONFLICT (id) DO UPDATE SET model = :model, system = :system, overflow = :overflow, head = :head, updated = :updated",
                {
                    "id": own,
                    "name": name,
                    "model": session.model,
                    "system": replace_surrogates(session.system),
                    "overflow": session.overflow,
                    "head": at or None,
                    "created": created,
                    "updated": now,
                },
            )
        done = replace(session, id=own, name=name, head=at, created=created, updated=now)
        return SavedConversation(done, saved, branched)

    @staticmethod
    def _new_row(database: sqlite3.Connection, session: Session, now: float) -> tuple[str, str, float, int]:
        own = secrets.token_hex(16) if session.created else session.id
        return own, _free_name(database, session.name), now, 0

    @staticmethod
    def _insert_missing(
        database: sqlite3.Connection, session: str, turns: Sequence[StoredMessage], now: float
    ) -> tuple[StoredMessage, ...]:
        """Insert the messages that are not saved, or were removed; return all with their ids."""
        saved: list[StoredMessage] = []
        at: TurnPosition | None = None
        inserting = False
        for turn in turns:
            known = session_tables.find_position(database, turn.id) if turn.id and not inserting else None
            if known is not None:
                at = known
                saved.append(turn)
                continue
            inserting, parent = True, at.id if at else 0
            new = replace(turn, content=replace_surrogates(turn.content), time=turn.time or now, parent=parent)
            at = insert_turn(database, session, new, at)
            saved.append(replace(new, id=at.id))
        return tuple(saved)

    def update_turn(self, turn: StoredMessage) -> bool:
        """Replace the text of a saved message and whether it is interrupted; False if it was removed meanwhile."""
        with self._database.transaction() as database:
            content = replace_surrogates(turn.content)
            return session_tables.replace_content(database, turn.id, content, interrupted=turn.interrupted)

    def withdraw(self, session: Session, turn: StoredMessage) -> bool:
        """Delete a message that nothing follows; the head goes back to the one before it.

        A session without messages is removed; return whether it remains.
        """
        with self._database.transaction() as database:
            if database.execute("SELECT 1 FROM turns WHERE parent = ?", (turn.id,)).fetchone() is None:
                database.execute("UPDATE sessions SET head = ? WHERE head = ?", (turn.parent or None, turn.id))
                session_tables.delete_turns(database, [(turn.id, turn.content)])
            remains = bool(session_tables.select_tree_ids(database, session.id))
            if not remains:
                database.execute("DELETE FROM sessions WHERE id = ?", (session.id,))
        return remains

    def fork(self, session: Session, turn: int, name: str) -> Session | None:
        """Create the session ``name`` that shares the messages up to ``turn`` (an id); None if the name is taken.

        It has the same instructions and pinned messages.
        """
        now = time.time()
        forked = replace(session, id=secrets.token_hex(16), name=name, head=turn, created=now, updated=now)
        with self._database.transaction() as database:
            if database.execute("SELECT 1 FROM sessions WHERE name = ?", (name,)).fetchone():
                return None
            database.execute(
                "INSERT INTO sessions VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
                (forked.id, name, forked.model, forked.system, forked.overflow, turn or None, now, now),
            )
            pinned = [each.id for each in session_tables.select_branch(database, session.id, turn) if each.pinned]
            database.executemany("INSERT INTO pins VALUES (?, ?)", [(forked.id, each) for each in pinned])
        return forked

    def pin(self, session: Session, turn: int, *, pinned: bool) -> None:
        """Pin a message in a session, or remove the pin."""
        with self._database.transaction() as database:
            if pinned:
                database.execute("INSERT OR IGNORE INTO pins VALUES (?, ?)", (session.id, turn))
            else:
                database.execute("DELETE FROM pins WHERE session = ? AND turn = ?", (session.id, turn))

    def save_summary(self, summary: Summary) -> None:
        """Save a summary, replacing an earlier one up to the same message."""
        with self._database.transaction() as database:
            database.execute(
                "INSERT OR REPLACE INTO summaries VALUES (?, ?, ?, ?)",
                (summary.turn, replace_surrogates(summary.content), summary.model, time.time()),
            )

    def rename(self, session: Session, name: str) -> bool:
        """Rename a session; False if another session has the name."""
        with self._database.transaction() as database:
            row = database.execute("SELECT id FROM sessions WHERE name = ?", (name,)).fetchone()
            if row is None:
                database.execute("UPDATE sessions SET name = ? WHERE id = ?", (name, session.id))
        return row is None or row[0] == session.id

    def remove(self, sessions: Collection[Session]) -> None:
        """Remove sessions with all messages that no other session shares."""
        with self._database.transaction() as database:
            database.executemany("DELETE FROM sessions WHERE id = ?", [(session.id,) for session in sessions])
            session_tables.delete_unused(database)


def _free_name(database: sqlite3.Connection, name: str) -> str:
    """Return ``name``, or if it is taken the first free one of NAME-2, NAME-3, ..."""
    tried, number = name, 1
    while database.execute("SELECT 1 FROM sessions WHERE name = ?", (tried,)).fetchone():
        number += 1
        end = f"-{number}"
        tried = name[: MAX_SESSION_NAME_CHARS - len(end)] + end
    return tried
