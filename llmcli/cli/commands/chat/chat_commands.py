"""The commands of a chat: lines that begin with a slash. One table, from which /help and the completion are made."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from functools import cache

from llmcli.cli.commands.chat.slash.slash_command import SlashCommand
from llmcli.errors import UsageError

EXIT_COMMANDS = ("/exit", "/quit", "/bye")
"""Other programs have the last two, which /help leaves out."""
_FOREIGN_COMMANDS = {
    "/attach": "/file PATH",
    "/add": "/file PATH",
    "/read": "/file PATH",
    "/new": "/reset",
    "/clear": "/reset",
    "/history": "/tree",
    "/regen": "/retry",
    "/regenerate": "/retry",
    "/show": "/model",
    "/multi": "/paste",
    "/?": "/help",
}
"""The commands of other programs' chats (Ollama, aichat, llama.cpp, aider), and what they are here."""
_USAGE_COLUMNS = 26
"""Columns of the commands in /help, where the terminal has twice as many."""
_KEYS_HELP = """\
Ctrl-C stops an answer, Ctrl-D leaves after it. Alt-Enter starts a new line. Ctrl-R searches what you typed, Ctrl-X Ctrl-E opens your editor."""


@cache
def slash_commands() -> Mapping[str, SlashCommand]:
    """Return the commands by name, in the order of /help."""
    from llmcli.cli.commands.chat.slash import conversation_commands as turns
    from llmcli.cli.commands.chat.slash import input_commands, option_commands, prompt_command

    groups = (
        turns.TURN_COMMANDS,
        turns.BRANCH_COMMANDS,
        option_commands.COMMANDS,
        input_commands.INPUT_COMMANDS,
        prompt_command.COMMANDS,
        turns.CONTEXT_COMMANDS,
        turns.SESSION_COMMANDS,
        input_commands.VERB_COMMANDS,
    )
    general = (
        SlashCommand("/help", "list these commands", lambda chat, _: chat.write_notice(format_help(chat.columns))),
        *(command for group in groups for command in group),
        *(SlashCommand(name, "leave (or press Ctrl-D)", lambda chat, _: chat.leave()) for name in EXIT_COMMANDS),
    )
    return {command.name: command for command in general}


def format_help(columns: int) -> str:
    """Return the text of /help for a terminal: what a command does stands beside it, or below a long one."""
    from llmcli.cli.console import wrapping

    lines: list[str] = []
    width = min(_USAGE_COLUMNS, columns // 2)
    shown = [
        (command.usage, command.help) for command in slash_commands().values() if command.name not in EXIT_COMMANDS[1:]
    ]
    for usage, meaning in (*shown, ("//TEXT", "send /TEXT as a message")):
        first, *rest = wrapping.wrap_words(meaning, columns - width)
        lines += [f"{usage:{width}}{first}"] if len(usage) < width else [usage, " " * width + first]
        lines += [" " * width + line for line in rest]
    return "\n".join([*lines, _KEYS_HELP])


def parse_chat_command(text: str) -> tuple[str, str]:
    """Return the typed command and its argument; a message has the command "".

    A path such as /etc/passwd or a lone slash begins a message, and ``//TEXT`` is the message ``/TEXT``. Raises
    ``UsageError`` for an unknown command, for an argument to a command that takes none, and for a missing one.
    """
    if not text.startswith("/"):
        return "", text
    if text.startswith("//"):
        return "", text[1:]
    word, *more = text.split(maxsplit=1)
    rest = more[0] if more else ""
    if "/" in word[1:] or (word == "/" and rest):
        return "", text
    sent = "start it with two slashes to send it as a message"
    command = slash_commands().get(word)
    if command is None:
        ours = _FOREIGN_COMMANDS.get(word, "")
        near = [] if ours else difflib.get_close_matches(word, list(slash_commands()), n=1)
        meant = f"Try: {ours}; " if ours else f"Did you mean {near[0]}? " if near else ""
        raise UsageError(f"{word} is not a command of a chat", detail=f"{meant}/help lists the commands; {sent}.")
    if rest and not command.arguments:
        raise UsageError(f"{word} takes no argument", detail=f"Type {word} by itself; {sent}.")
    return word, rest
