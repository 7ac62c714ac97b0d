"""Kept answers as they are shown: a row of a list, Markdown, an object."""

from __future__ import annotations

from typing import Any

from llmcli.cli.commands.chat.chat_export import iso_utc
from llmcli.cli.commands.chat.session_files import format_local_time
from llmcli.cli.console import sanitize
from llmcli.store.answer_log import LoggedAnswer
from llmcli.store.database import parse_terms

_MAX_SHOWN_CHARS = 80
"""Characters of a question in a list."""


def answer_row(entry: LoggedAnswer, *, people: bool) -> dict[str, Any]:
    """Return the row of an answer: id, time, command, model, tokens of the answer, beginning of the question."""
    model = entry.model.rpartition("/")[2] if people else entry.model
    return {
        "id": entry.id,
        "time": format_local_time(entry.time) if people else iso_utc(entry.time),
        "command": entry.verb,
        "model": model,
        "tokens": entry.details["usage"]["completion_tokens"],
        "question": _shorten(entry.question),
    }


def match_row(entry: LoggedAnswer, wanted: str, *, people: bool) -> dict[str, Any]:
    """Return the row of an answer that was found: id, time, model, and the first line with a term of ``wanted``."""
    terms = parse_terms(wanted)
    lines = [*entry.question.splitlines(), *entry.answer.splitlines()]
    line = next((each for each in lines if any(term in each.casefold() for term in terms)), entry.question)
    return {
        "id": entry.id,
        "time": format_local_time(entry.time) if people else iso_utc(entry.time),
        "model": entry.model.rpartition("/")[2] if people else entry.model,
        "line": sanitize.single_line(line.strip()) if people else line.strip(),
    }


def answer_as_object(entry: LoggedAnswer) -> dict[str, Any]:
    """Return everything about an answer."""
    head = {"id": entry.id, "time": iso_utc(entry.time), "command": entry.verb, "model": entry.model}
    return {**head, "question": entry.question, "answer": entry.answer, **entry.details}


def answer_as_markdown(entry: LoggedAnswer) -> str:
    """Return an answer with its question and instructions as Markdown."""
    usage, run = entry.details["usage"], entry.details["request"]["sampling"]
    weights = entry.details["weights"]
    facts = [
        entry.model + (f" ({weights} weights)" if weights else ""),
        format_local_time(entry.time),
        f"{usage['prompt_tokens']} tokens in, {usage['completion_tokens']} out",
        f"temperature {run['temperature']:g}",
        *([] if run["seed"] is None else [f"seed {run['seed']}"]),
    ]
    parts = [f"# {entry.verb} {entry.id}", ", ".join(facts)]
    for message in entry.details["request"]["messages"]:
        parts += [f"## {message['role'].capitalize()}", message["content"].strip()]
    return "\n\n".join([*parts, "## Answer", entry.answer.strip()]) + "\n"


def _shorten(text: str) -> str:
    line = " ".join(sanitize.single_line(text[: _MAX_SHOWN_CHARS * 4]).split())
    return line if len(line) <= _MAX_SHOWN_CHARS else line[: _MAX_SHOWN_CHARS - 1] + "…"
