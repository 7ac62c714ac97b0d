"""Exports of a saved chat: Markdown, OpenAI's messages, or all its data."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from itertools import accumulate
from typing import Any

from llmcli.cli.commands.chat.session_files import format_local_time
from llmcli.cli.console import json_text, sanitize
from llmcli.fast_dataclass import asdict
from llmcli.store.database import parse_terms
from llmcli.store.session import Session, SessionMatch, SessionOverview, StoredMessage

_MAX_FIRST_CHARS = 80
"""Characters of the first message in a list."""
_CONTEXT_CHARS = 20
"""Characters of a line shown before the match."""


def session_as_markdown(session: Session, turns: Sequence[StoredMessage]) -> str:
    """Return a conversation as Markdown: a heading for each message."""
    parts = [f"# {session.name}", f"{session.model}, {format_local_time(session.updated)}"]
    if session.system:
        parts += ["## System", session.system.strip()]
    for turn in turns:
        parts += [f"## {turn.role.capitalize()}{' (interrupted)' if turn.interrupted else ''}", turn.content.strip()]
    return "\n\n".join(parts) + "\n"


def session_as_messages(session: Session, turns: Sequence[StoredMessage]) -> str:
    """Return a conversation as a list of messages in OpenAI's format."""
    system = [{"role": "system", "content": session.system}] if session.system else []
    said = [{"role": str(turn.role), "content": turn.content} for turn in turns]
    return json_text.dumps([*system, *said], indent=2) + "\n"


def session_as_object(session: Session, turns: Sequence[StoredMessage]) -> dict[str, Any]:
    """Return all data of a conversation."""
    said = [{**asdict(turn), "role": str(turn.role), "time": iso_utc(turn.time)} for turn in turns]
    return {**_session_fields(session), "system": session.system or None, "messages": said}


def session_row(overview: SessionOverview) -> dict[str, Any]:
    """Return the row of a chat in the list."""
    short = sanitize.shorten_line(overview.first_message, _MAX_FIRST_CHARS)
    session = overview.session
    return {
        "name": session.name,
        "updated": iso_utc(session.updated),
        "messages": overview.message_count,
        "model": session.model,
        "first": short,
    }


def session_row_for_terminal(overview: SessionOverview) -> dict[str, Any]:
    """Return the same for a terminal: in local time, with the last part of a model's path."""
    shown = session_row(overview)
    return shown | {"updated": format_local_time(overview.session.updated), "model": shown["model"].rpartition("/")[2]}


def match_row(found: SessionMatch, wanted: str = "") -> dict[str, Any]:
    """Return the row of a matching line; a long line starts shortly before a term of ``wanted``, unless that is ""."""
    offsets = [_match_offset(found.line, term) for term in parse_terms(wanted) if term in found.line.casefold()]
    start = max(0, min(offsets, default=0) - _CONTEXT_CHARS)
    shown = "…" + found.line[start:] if start else found.line
    return {"name": found.name, "message": found.number, "role": str(found.role), "line": shown}


def _match_offset(line: str, wanted: str) -> int:
    """Return where ``wanted`` (case-folded) begins in a line, ignoring case; case folding may lengthen the text."""
    folded = line.casefold().index(wanted)
    lengths = accumulate((len(char.casefold()) for char in line), initial=0)
    return next(index for index, length in enumerate(lengths) if length >= folded)


def _session_fields(session: Session) -> dict[str, Any]:
    return {
        "name": session.name,
        "id": session.id,
        "created": iso_utc(session.created),
        "updated": iso_utc(session.updated),
        "model": session.model,
    }


def iso_utc(seconds: float) -> str:
    """Return a time in UTC, in the format of ISO 8601."""
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
