"""The values of the saved chats: a session, a line of the list, a match of the search, the outcome of saving."""

from __future__ import annotations

import re
import secrets

from llmcli.fast_dataclass import field, frozen
from llmcli.types import Role


@frozen
class StoredMessage:
    """A message at ``time`` (seconds of the epoch, 0: unknown); ``interrupted``: an answer that was stopped early.

    ``id`` identifies it in its file, 0: it is not saved. ``parent`` is the id of the message before it, 0: it is the
    first. ``pinned``: it is always sent to the model, however long the conversation becomes.
    """

    role: Role
    content: str
    interrupted: bool = False
    time: float = 0.0
    pinned: bool = False
    id: int = field(default=0, compare=False)
    parent: int = field(default=0, compare=False)


MAX_SESSION_NAME_CHARS = 100
"""Characters of a name."""
ALLOWED_NAME_TEXT = (
    f"use letters A to Z, digits and ._- only, {MAX_SESSION_NAME_CHARS} at most, and do not begin with . or -"
)
"""The message for an invalid session name."""
_NAME = rf"[A-Za-z0-9_][A-Za-z0-9._-]{{0,{MAX_SESSION_NAME_CHARS - 1}}}"


@frozen
class Session:
    """A saved conversation without its turns; times in seconds since the epoch. ``created`` 0: not saved yet.

    ``id``: 32 hexadecimal digits; ``model``: the name of the model that answered last; ``overflow``: what happens when
    the conversation exceeds the context, "": the setting decides. ``head``: the id of its last message, 0: none.
    """

    id: str
    name: str
    model: str = ""
    system: str = ""
    overflow: str = ""
    head: int = 0
    created: float = 0.0
    updated: float = 0.0


@frozen
class SessionOverview:
    """A line of the list: a session, the number of messages up to its head, and the first one."""

    session: Session
    message_count: int
    first_message: str


@frozen
class SessionMatch:
    """A line of message number ``number`` (from 1, in the order of writing) of the session called ``name``."""

    name: str
    number: int
    role: Role
    line: str


@frozen
class SavedConversation:
    """The outcome of saving: the session and all messages with their ids.

    ``branched``: another process has continued the session since this one last saved it.
    """

    session: Session
    turns: tuple[StoredMessage, ...]
    branched: bool = False


@frozen
class Summary:
    """A summary of the conversation up to the message ``turn``; ``model`` wrote it."""

    turn: int
    content: str
    model: str


def is_session_name(text: str) -> bool:
    """Return whether ``text`` is a valid name of a session."""
    return re.fullmatch(_NAME, text) is not None


def new_session(name: str, system: str = "") -> Session:
    """Return a new session; it is saved together with its first turns."""
    return Session(secrets.token_hex(16), name, system=replace_surrogates(system))


def replace_surrogates(text: str) -> str:
    """Return a text without lone surrogates, which a server may send and UTF-8 cannot encode."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return text
