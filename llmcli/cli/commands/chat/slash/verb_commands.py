"""Slash commands that run another verb of llm on the last answer."""

from __future__ import annotations

import dataclasses
import shlex
import tempfile
from typing import TYPE_CHECKING

from llmcli.cli.commands.chat.slash.slash_command import SlashCommand
from llmcli.cli.flags import model_options
from llmcli.errors import UsageError

if TYPE_CHECKING:
    from llmcli.cli.commands.chat.active_chat import ActiveChat


def _run_verb(chat: ActiveChat, verb: str, argument: str) -> None:
    """Run ``llm VERB ARGUMENT`` in this process with the last answer as its input; its output is not part of the chat."""
    from llmcli.cli.dispatch import dispatch

    try:
        words = shlex.split(argument)
    except ValueError as error:
        raise UsageError(f"/{verb}: {error}", detail="Quote words as in a shell.") from error
    with tempfile.TemporaryFile() as source:
        source.write(chat.last_answer().encode("utf-8", "replace"))
        source.seek(0)
        environment = dataclasses.replace(chat.ctx.console.environment, stdin=source.fileno())
        dispatch([verb, *words, *model_options(chat.ctx.flags)], environment)


def translate(chat: ActiveChat, argument: str) -> None:
    """Translate the last answer."""
    _run_verb(chat, "translate", argument or "--help")


def summarize(chat: ActiveChat, argument: str) -> None:
    """Summarize the last answer."""
    _run_verb(chat, "summarize", argument)


COMMANDS = (
    SlashCommand("/translate", "translate the last answer, as llm translate does", translate, "--to LANG"),
    SlashCommand("/summarize", "summarize the last answer, as llm summarize does", summarize, "[OPTIONS]"),
)
