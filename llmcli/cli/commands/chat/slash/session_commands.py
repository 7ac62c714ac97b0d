"""Slash commands about saved chats."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

from llmcli.cli.commands.chat import chat_export, tree_view
from llmcli.cli.commands.chat.session_files import open_read_only, require_valid_name
from llmcli.cli.commands.chat.slash.slash_command import SlashCommand, require_argument
from llmcli.errors import MissingError, UsageError

if TYPE_CHECKING:
    from llmcli.cli.commands.chat.active_chat import ActiveChat

_INVALID_NAME_CHARS = re.compile(r"[^A-Za-z0-9._-]+")
_MAX_MATCHES = 20
"""Lines of a search that are shown."""


def save(chat: ActiveChat, argument: str) -> None:
    """Save the conversation under another name, even if it was not saved before."""
    recorder, fresh = chat.recorder, not chat.recorder.saves
    try:
        recorder.rename(argument)
    except UsageError as error:
        raise explain_save_refusal(error, argument) from error
    if fresh:
        chat.conversation.save_to(recorder)
        recorder.flush_warnings()
    if not recorder.exit_code:
        when = "is saved" if recorder.is_saved else "will be saved after its first answer"
        chat.write_notice(f"This chat {when} as {recorder.session.name}.")


def explain_save_refusal(error: UsageError, name: str) -> UsageError:
    """Return the refusal of the ``name`` after /save with advice that works inside the chat."""
    allowed = _INVALID_NAME_CHARS.sub("-", name).strip(".-")[:80]
    other = f"{name}-2" if name and allowed == name else allowed
    return UsageError(error.subject, detail=f"Try: /save {other or 'NAME'}")


def load(chat: ActiveChat, argument: str) -> None:
    """Continue another saved chat; the current one stays as it is."""
    name = require_valid_name(require_argument("/load", argument, "/load NAME"))
    with open_read_only(chat.ctx.runtime.paths.sessions) as sessions:
        session = sessions.get(name)
        turns = sessions.load_turns(session)
    chat.use_session(session, turns)
    chat.write_notice(f"Continuing {name}: {len(turns)} messages.")
    chat.write_notice(tree_view.format_last_exchange(turns))


def reset(chat: ActiveChat, _argument: str) -> None:
    """Begin another chat."""
    kept = f"; it remains saved as {chat.recorder.session.name}" if chat.recorder.refresh_saved_name() else ""
    chat.conversation.reset()
    chat.write_notice(f"This chat is forgotten{kept}.")


def search(chat: ActiveChat, argument: str) -> None:
    """Show the lines of all saved chats that contain words."""
    words = require_argument("/search", argument, "/search invoice")
    with open_read_only(chat.ctx.runtime.paths.sessions) as sessions:
        found = list(sessions.search(words))
    if not found:
        raise MissingError(words, kind="line")
    for match in found[:_MAX_MATCHES]:
        row = chat_export.match_row(match, words)
        chat.write_notice(f"{row['name']} {row['message']} {row['role']}: {tree_view.shorten(row['line'])}")
    if len(found) > _MAX_MATCHES:
        chat.write_notice(f"and {len(found) - _MAX_MATCHES} more lines")


def export(chat: ActiveChat, argument: str) -> None:
    """Write the conversation to a file: as OpenAI's messages if its name ends in .json, else as Markdown."""
    from llmcli.files.atomic_file import atomic_write

    name = require_argument("/export", argument, "/export chat.md")
    if Path(name).exists():
        raise UsageError(f"{name} exists", detail="Name another file.")
    session, turns = chat.recorder.session, chat.conversation.history
    as_json = name.endswith(".json")
    text = (chat_export.session_as_messages if as_json else chat_export.session_as_markdown)(session, turns)
    with atomic_write(name, interrupt=chat.ctx.runtime.interrupt) as file:
        file.write(text.encode())
    chat.write_notice(f"Wrote {len(turns)} messages to {name}.")


COMMANDS = (
    SlashCommand("/save", "save this chat under NAME", save, "NAME"),
    SlashCommand("/rename", "the same as /save", save, "NAME"),
    SlashCommand("/load", "continue another saved chat", load, "NAME", "sessions"),
    SlashCommand("/reset", "forget this chat and begin another one", reset),
    SlashCommand("/search", "find words in all saved chats", search, "TEXT"),
    SlashCommand("/export", "write this chat to a file (.md or .json)", export, "FILE", "files"),
)
