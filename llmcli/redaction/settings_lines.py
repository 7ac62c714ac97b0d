"""Lines of settings, and of catalogues of messages, told by the lines beside them."""

from __future__ import annotations

import re

from llmcli.redaction.innocent_values import is_prose, is_varied

MAX_WORDS = 9
"""Most words of a pass phrase."""
_MAX_LINE_CHARS = 240
_SETTING = re.compile(r"[\w.-]{1,60}[ ]?=[ ]?\S")
_NAME_AND_SIGN = re.compile(r"[\w.-]{1,60}=")
_MESSAGE = re.compile(
    r"[ \t]{0,12}[\w.-]{1,60}[ ]?[=:][ ]?[^\W\d_]{1,24}(?:[ '][^\W\d_]{1,24}){1,20}[.!?:\u2026]{0,3}[ \t]{0,4}"
)
"""A line of a catalogue of messages: a key and some words."""
_SIGNS_OF_COMMANDS = re.compile(r"[=/\\|<>;&`$(){}]|(?:^| )-")


def _neighbouring_lines(text: str, start: int, end: int) -> tuple[str, str, str]:
    """Return the line up to ``start``, the line before it, and the line behind ``end``."""
    line_start = text.rfind("\n", max(0, start - _MAX_LINE_CHARS), start) + 1
    previous = text[max(0, line_start - _MAX_LINE_CHARS) : max(0, line_start - 1)].rpartition("\n")[2]
    following = text[end : end + _MAX_LINE_CHARS].partition("\n")[2].partition("\n")[0]
    return text[line_start:start], previous.rstrip("\r"), following.rstrip("\r")


def is_message(text: str, start: int, end: int) -> bool:
    """Return whether a value is a text of a program in a catalogue of messages."""
    value = text[start:end]
    if is_prose(value):
        return True
    _, previous, following = _neighbouring_lines(text, start, end)
    return any(_MESSAGE.fullmatch(line) for line in (previous, following))


def is_phrase_of_settings(text: str, start: int, value: str) -> bool:
    """Return whether words behind ``NAME=`` are one value: the line stands among settings and holds no command."""
    words = value.split()
    before, previous, following = _neighbouring_lines(text, start, start + len(value))
    return (
        len(words) <= MAX_WORDS
        and any(map(is_varied, words))
        and _NAME_AND_SIGN.fullmatch(before) is not None
        and (not before.isupper() or not words[1].islower())
        and _SIGNS_OF_COMMANDS.search(value) is None
        and any(_SETTING.match(line) for line in (previous, following))
    )
