"""Slash commands that run another verb of llm on the last answer."""

from __future__ import annotations

import dataclasses
import shlex
import tempfile
from functools import partial
from typing import TYPE_CHECKING

from llmcli.cli.commands.chat.slash.slash_command import SlashCommand
from llmcli.cli.flags import model_options
from llmcli.errors import UsageError

if TYPE_CHECKING:
    from llmcli.cli.commands.chat.active_chat import ActiveChat


_VERBS = (
    ("translate", "--to LANG"),
    ("summarize", "[OPTIONS]"),
    ("sentiment", "[OPTIONS]"),
    ("classify", "--labels A,B,..."),
    ("check", "--against FILE"),
)
"""The verbs, with their arguments; those without brackets are required."""


def _run_verb(verb: str, required: bool, chat: ActiveChat, argument: str) -> None:
    """Run ``llm VERB ARGUMENT`` in this process with the last answer as its input; its output is not part of the chat.

    Without a required argument, its help is shown.
    """
    from llmcli.cli.dispatch import dispatch

    try:
        words = shlex.split(argument or ("--help" if required else ""))
    except ValueError as error:
        raise UsageError(f"/{verb}: {error}", detail="Quote words as in a shell.") from error
    with tempfile.TemporaryFile() as source:
        source.write(chat.last_answer().encode("utf-8", "replace"))
        source.seek(0)
        environment = dataclasses.replace(chat.ctx.console.environment, stdin=source.fileno())
        dispatch([verb, *words, *model_options(chat.ctx.flags)], environment)


COMMANDS = tuple(
    SlashCommand(
        f"/{verb}",
        f"{verb} the last answer, as llm {verb} does" if verb != "sentiment" else "label the lines of the last answer",
        partial(_run_verb, verb, not arguments.startswith("[")),
        arguments,
    )
    for verb, arguments in _VERBS
)
