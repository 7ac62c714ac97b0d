"""The commands of a chat: what a person types that begins with a slash."""

from __future__ import annotations

import difflib
import re

from llmcli.errors import UsageError

HELP = """\
/help   this list
/reset  forget what was said, and begin another chat
/save NAME  save this chat under NAME
/exit   leave, as Ctrl-D does
//TEXT  send /TEXT as a message
Ctrl-C stops an answer. Alt-Enter begins a new line."""
EXITS = ("/exit", "/quit")
_WITH_NAME = ("/save",)
_ALONE = ("/help", "/reset", *EXITS)
_NOT_IN_NAMES = re.compile(r"[^A-Za-z0-9._-]+")


def parse(text: str) -> tuple[str, str]:
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
    if word in _WITH_NAME:
        return word, rest
    if word not in _ALONE:
        near = difflib.get_close_matches(word, [*_WITH_NAME, *_ALONE], n=1)
        meant = f"Did you mean {near[0]}? " if near else ""
        raise UsageError(f"there is no {word} in a chat", detail=f"{meant}/help lists the commands; {sent}.")
    if rest:
        raise UsageError(f"{word} takes nothing after it", detail=f"Type {word} by itself; {sent}.")
    return word, ""


def save_again(error: UsageError, name: str) -> UsageError:
    """Return the refusal of the ``name`` after /save with advice that can be followed in the chat."""
    allowed = _NOT_IN_NAMES.sub("-", name).strip(".-")[:80]
    other = f"{name}-2" if name and allowed == name else allowed
    return UsageError(error.subject, detail=f"Try: /save {other or 'NAME'}")
