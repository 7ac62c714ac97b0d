"""Messages of servers and parsers, prepared for use in ours."""

from __future__ import annotations

import json

_MAX_MESSAGE_CHARS = 300


def describe_json_error(error: Exception) -> str:
    """Return why a text is not JSON, without its line number, which could be mistaken for one of the user's file."""
    return (
        f"{error.msg} at character {error.pos}"
        if isinstance(error, json.JSONDecodeError)
        else shorten_message(str(error))
    )


def shorten_message(text: str) -> str:
    """Return a server's message on one line, shortened if need be."""
    line = " ".join(text.split())
    return line if len(line) <= _MAX_MESSAGE_CHARS else line[:_MAX_MESSAGE_CHARS] + "..."
