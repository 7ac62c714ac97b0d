"""The building blocks of messages: sizes, addresses, the subject of an error, and its detail."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from llmcli import errors as e
from llmcli.cli.console.file_names import has_hidden_characters, show_name

ErrorText = tuple[str, str]
"""What happened (without a full stop), and what to do next ("" if there is no advice)."""
Descriptions = dict[type[e.LlmError], Callable[[Any], ErrorText]]
"""The messages by the class of an error."""


def format_bytes(count: float | None) -> str:
    """Return a number of bytes in decimal units, as disks and the Hub count: "98.4 MB"."""
    if count is None:
        return "unknown size"
    for unit in ("bytes", "kB", "MB", "GB"):
        if count < 1000:  # noqa: PLR2004 (a decimal unit)
            return f"{count:.0f} {unit}" if unit == "bytes" else f"{count:.1f} {unit}"
        count /= 1000
    return f"{count:.1f} TB"


def redact_address(url: str) -> str:
    """Return a URL without the user name and password that it may contain."""
    scheme, separator, rest = url.partition("://")
    host, slash, path = rest.partition("/")
    return f"{scheme}{separator}{host.rpartition('@')[2]}{slash}{path}"


def subject_of(error: e.LlmError) -> str:
    """Return what the error is about; standard input by its name, and a name with hidden characters quoted."""
    if error.subject == "-":
        return "standard input"
    return show_name(error.subject) if has_hidden_characters(error.subject) else error.subject


def fill_message(error: e.LlmError) -> str:
    """Return the message that an error carries, with its subject and its detail."""
    values = {"{subject}": subject_of(error), "{detail}": error.detail}
    return re.sub(r"\{subject\}|\{detail\}", lambda match: values[match.group()], error.message)


def suggest_names(names: tuple[str, ...]) -> str:
    """Return a question about similar names; "" if there are none."""
    return f"Did you mean {', '.join(dict.fromkeys(names))}?" if names else ""


def append_detail(text: str, error: e.LlmError) -> str:
    """Return ``text`` and, after a colon, the error's detail."""
    parts = [part for part in (text, error.detail) if part]
    return ": ".join(parts)
