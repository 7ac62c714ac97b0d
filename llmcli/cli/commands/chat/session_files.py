"""The file of saved chats, opened to read or to write, and valid session names."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path

from llmcli.errors import OutputError, UsageError
from llmcli.store.database import make_parent_directory
from llmcli.store.session import ALLOWED_NAME_TEXT, Session, is_session_name
from llmcli.store.session_store import SessionStore

HISTORY_FILE = "chat_history"
"""The file beside the saved chats with the lines that were typed."""


def open_sessions(path: Path) -> SessionStore:
    """Open the saved chats at ``path`` to change them; create the file if needed. Raises as ``SessionStore``."""
    make_parent_directory(path)
    return SessionStore(path)


def open_read_only(path: Path) -> SessionStore:
    """Open the saved chats at ``path`` to read them; without a file there are none. Raises as ``SessionStore``."""
    return SessionStore(path, read_only=True)


def require_valid_name(name: str) -> str:
    """Return a valid session name; raises ``UsageError`` for any other."""
    if not is_session_name(name):
        said = f"{name!r} cannot be the name of a session" if name else "a session needs a name"
        raise UsageError(f"{said}: {ALLOWED_NAME_TEXT}")
    return name


def name_taken(name: str) -> UsageError:
    """Return the error for a session name that is taken."""
    return UsageError(f"the session {name} already exists", detail=f"Choose another name, or: llm sessions rm {name}")


def remove_sessions(path: Path, chosen: Sequence[Session], *, everything: bool) -> None:
    """Remove sessions from the file ``path``.

    With ``everything`` the files beside it that hold text of chats are removed too: typed lines, and copies of older
    formats. Raises ``OutputError`` and as ``SessionStore``.
    """
    if chosen:
        with open_sessions(path) as sessions:
            sessions.remove(chosen)
    for each in (path.with_name(HISTORY_FILE), *path.parent.glob(f"{path.name}.v*-backup")) if everything else ():
        try:
            each.unlink()
        except (FileNotFoundError, NotADirectoryError):
            continue
        except OSError as error:
            raise OutputError(str(each), detail=error.strerror or "") from error


def message_id(sessions: SessionStore, session: Session, number: int | None) -> int:
    """Return the id of message ``number`` of a session, of its last one for None. Raises ``UsageError``."""
    if number is None:
        return session.head
    tree = sessions.load_tree(session)
    if number > len(tree):
        raise UsageError(f"{session.name} has {len(tree)} messages", detail=f"Try: llm sessions tree {session.name}")
    return tree[number - 1].id


def format_local_time(seconds: float) -> str:
    """Return a time in local time for display."""
    return time.strftime("%Y-%m-%d %H:%M", time.localtime(seconds))
