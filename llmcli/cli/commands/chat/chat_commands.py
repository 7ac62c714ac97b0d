"""The commands of a chat: lines that begin with a slash."""

from __future__ import annotations

import difflib
import re

from llmcli.errors import UsageError

CHAT_HELP = """\
/help   this list
/reset  forget this chat and begin another one
/save NAME  save this chat under NAME
/exit   leave (or press Ctrl-D)
//TEXT  send /TEXT as a message
Ctrl-C stops an answer. Alt-Enter starts a new line."""
EXIT_COMMANDS = ("/exit", "/quit")
_COMMANDS_WITH_NAME = ("/save",)
_COMMANDS_WITHOUT_ARGUMENT = ("/help", "/reset", *EXIT_COMMANDS)
_INVALID_NAME_CHARS = re.compile(r"[^A-Za-z0-9._-]+")


def parse_chat_command(text: str) -> tuple[str, str]:
    """Return the typed command and its argument; a message has the command "".

    A path such as /etc/passwd or a lone slash begins a message, and ``//TEXT`` is the message ``/TEXT``. Raises
    ``UsageError`` for an unknown command, and for an argument to a command that takes none.
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
    if word in _COMMANDS_WITH_NAME:
        return word, rest
    if word not in _COMMANDS_WITHOUT_ARGUMENT:
        near = difflib.get_close_matches(word, [*_COMMANDS_WITH_NAME, *_COMMANDS_WITHOUT_ARGUMENT], n=1)
        meant = f"Did you mean {near[0]}? " if near else ""
        raise UsageError(f"{word} is not a command of a chat", detail=f"{meant}/help lists the commands; {sent}.")
    if rest:
        raise UsageError(f"{word} takes no argument", detail=f"Type {word} by itself; {sent}.")
    return word, ""


def explain_save_refusal(error: UsageError, name: str) -> UsageError:
    """Return the refusal of the ``name`` after /save with advice that works inside the chat."""
    allowed = _INVALID_NAME_CHARS.sub("-", name).strip(".-")[:80]
    other = f"{name}-2" if name and allowed == name else allowed
    return UsageError(error.subject, detail=f"Try: /save {other or 'NAME'}")
