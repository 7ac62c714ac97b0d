"""A saved chat as others may read it: Markdown, OpenAI's messages, or all that is known of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from itertools import accumulate
from typing import Any

from llmcli.cli import json_text, sanitize
from llmcli.cli.saving import said_at
from llmcli.store.sessions import Match, Overview, Session
from llmcli.types import Turn

_SHORT = 80
"""Characters of the first message in a list."""
_BEFORE = 20
"""Characters of a line that are shown before what was looked for."""


def markdown(session: Session, turns: Sequence[Turn]) -> str:
    """Return a conversation as Markdown: a heading for each message."""
    parts = [f"# {session.name}", f"{session.model}, {said_at(session.updated)}"]
    if session.system:
        parts += ["## System", session.system.strip()]
    for turn in turns:
        parts += [f"## {turn.role.capitalize()}{' (interrupted)' if turn.interrupted else ''}", turn.content.strip()]
    return "\n\n".join(parts) + "\n"


def messages(session: Session, turns: Sequence[Turn]) -> str:
    """Return a conversation as the list of messages that OpenAI's protocol knows."""
    system = [{"role": "system", "content": session.system}] if session.system else []
    said = [{"role": str(turn.role), "content": turn.content} for turn in turns]
    return json_text.dumps([*system, *said], indent=2) + "\n"


def whole(session: Session, turns: Sequence[Turn]) -> dict[str, Any]:
    """Return all that is known of a conversation."""
    said = [{**asdict(turn), "role": str(turn.role), "time": _utc(turn.time)} for turn in turns]
    return {**_facts(session), "system": session.system or None, "messages": said}


def row(overview: Overview) -> dict[str, Any]:
    """Return the row of a list."""
    first = " ".join(sanitize.line(overview.first[: _SHORT * 4]).split())
    short = first if len(first) <= _SHORT else first[: _SHORT - 1] + "…"
    session = overview.session
    return {
        "name": session.name,
        "updated": _utc(session.updated),
        "messages": overview.messages,
        "model": session.model,
        "first": short,
    }


def row_for_people(overview: Overview) -> dict[str, Any]:
    """Return the same for a terminal, in the time of this place; of a model's path the end."""
    shown = row(overview)
    return shown | {"updated": said_at(overview.session.updated), "model": shown["model"].rpartition("/")[2]}


def match(found: Match, wanted: str = "") -> dict[str, Any]:
    """Return the row of a line that was found; of a long one from shortly before the text ``wanted`` on, unless ""."""
    start = max(0, _place(found.line, wanted) - _BEFORE)
    shown = "…" + found.line[start:] if start else found.line
    return {"name": found.name, "message": found.number, "role": str(found.role), "line": shown}


def _place(line: str, wanted: str) -> int:
    """Return where ``wanted`` begins in a line that holds it in whatever case; folding may make characters more."""
    folded = line.casefold().index(wanted.casefold())
    lengths = accumulate((len(char.casefold()) for char in line), initial=0)
    return next(place for place, length in enumerate(lengths) if length >= folded)


def _facts(session: Session) -> dict[str, Any]:
    return {
        "name": session.name,
        "id": session.id,
        "created": _utc(session.created),
        "updated": _utc(session.updated),
        "model": session.model,
    }


def _utc(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
