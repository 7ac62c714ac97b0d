"""The commands of a chat: what a person types that begins with a slash."""

from __future__ import annotations

import difflib
import re

from llmcli.errors import UsageError

CHAT_HELP = """\
/help   this list
/reset  forget what was said, and begin another chat
/save NAME  save this chat under NAME
/exit   leave, as Ctrl-D does
//TEXT  send /TEXT as a message
Ctrl-C stops an answer. Alt-Enter begins a new line."""
EXIT_COMMANDS = ("/exit", "/quit")
_COMMANDS_WITH_NAME = ("/save",)
_COMMANDS_WITHOUT_ARGUMENT = ("/help", "/reset", *EXIT_COMMANDS)
_INVALID_NAME_CHARS = re.compile(r"[^A-Za-z0-9._-]+")


def parse_chat_command(text: str) -> tuple[str, str]:
    """Return the command that is typed and what follows it; a message has the command "".

    A path such as /etc/passwd and a slash by itself begin a message, and of ``//TEXT`` the message is ``/TEXT``. Raises
    ``UsageError`` for any other word after the slash that is no command, and for words after one that takes none.
    """
    if not text.startswith("/"):
        return "", text
    if text.startswith("//"):
        return "", text[1:]
    word, *more = text.split(maxsplit=1)
    rest = more[0] if more else ""
    if "/" in word[1:] or (word == "/" and rest):
        return "", text
    sent = "begin it with two slashes to send it as a message"
    if word in _COMMANDS_WITH_NAME:
        return word, rest
    if word not in _COMMANDS_WITHOUT_ARGUMENT:
        near = difflib.get_close_matches(word, [*_COMMANDS_WITH_NAME, *_COMMANDS_WITHOUT_ARGUMENT], n=1)
        meant = f"Did you mean {near[0]}? " if near else ""
        raise UsageError(f"there is no {word} in a chat", detail=f"{meant}/help lists the commands; {sent}.")
    if rest:
        raise UsageError(f"{word} takes nothing after it", detail=f"Type {word} by itself; {sent}.")
    return word, ""


def explain_save_refusal(error: UsageError, name: str) -> UsageError:
    """Return the refusal of the ``name`` after /save with advice that can be followed in the chat."""
    allowed = _INVALID_NAME_CHARS.sub("-", name).strip(".-")[:80]
    other = f"{name}-2" if name and allowed == name else allowed
    return UsageError(error.subject, detail=f"Try: /save {other or 'NAME'}")
