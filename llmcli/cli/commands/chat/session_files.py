"""The file of saved chats: opened to look or to write, and the names that a session may have."""

from __future__ import annotations

import time
from pathlib import Path

from llmcli.errors import UsageError
from llmcli.store.database import make_parent_directory
from llmcli.store.session_store import ALLOWED_NAME_TEXT, SessionStore, is_session_name


def open_sessions(path: Path) -> SessionStore:
    """Open the saved chats at ``path`` to change them; the file is made where there is none. Raises as ``SessionStore``."""
    make_parent_directory(path)
    return SessionStore(path)


def open_read_only(path: Path) -> SessionStore:
    """Open the saved chats at ``path`` to look at them; without a file there are none. Raises as ``SessionStore``."""
    return SessionStore(path, read_only=True)


def require_valid_name(name: str) -> str:
    """Return the name of a session; raises ``UsageError`` for what can be none."""
    if not is_session_name(name):
        said = f"{name!r} cannot be the name of a session" if name else "a session needs a name"
        raise UsageError(f"{said}: {ALLOWED_NAME_TEXT}")
    return name


def name_taken(name: str) -> UsageError:
    """Return what to raise where another session has a name."""
    return UsageError(f"there is a session called {name}", detail=f"Choose another name, or: llm sessions rm {name}")


def format_local_time(seconds: float) -> str:
    """Return a time for people."""
    return time.strftime("%Y-%m-%d %H:%M", time.localtime(seconds))
