r"""Names of files as people see them: one line, in which each character can be seen, quoted as ``ls`` does.

A name may hold a line feed, which would forge a heading, or sequences that a terminal obeys. What is removed from it
is not seen, so it is written as in ``$'\n'`` of the shell, which takes the quoted name back.
"""

from __future__ import annotations

import re

from llmcli.control_characters import control_character_pattern

_LETTERS = {"\a": r"\a", "\b": r"\b", "\t": r"\t", "\n": r"\n", "\v": r"\v", "\f": r"\f", "\r": r"\r"}
_HIDDEN = re.compile(f"(?:[\x00-\x1f\ud800-\udfff]|{control_character_pattern().pattern})+")
_NO_BYTE = re.compile("[\ud800-\udc7f\udd00-\udfff]")
"""Surrogates that stand for no byte of a name."""


def has_hidden_characters(name: str) -> bool:
    """Return whether a name has characters that are not seen."""
    return _HIDDEN.search(name) is not None


def show_name(name: str) -> str:
    r"""Return a name on one line; one with characters that are not seen, or blanks at an end, is quoted for a shell.

    Bytes that the locale could not decode (PEP 383) are read as UTF-8 where they are UTF-8.
    """
    name = _NO_BYTE.sub("\ufffd", name).encode("utf-8", "surrogateescape").decode("utf-8", "surrogateescape")
    if not has_hidden_characters(name) and name == name.strip() and not name.startswith("'"):
        return name
    shown, at = "", 0
    for hidden in _HIDDEN.finditer(name):
        shown += _quote(name[at : hidden.start()], always=at == 0) + f"$'{''.join(map(_escape, hidden[0]))}'"
        at = hidden.end()
    return shown + _quote(name[at:], always=at == 0)


def _quote(text: str, *, always: bool) -> str:
    return "'" + text.replace("'", r"'\''") + "'" if text or always else ""


def _escape(char: str) -> str:
    data = char.encode("utf-8", "surrogateescape")
    return _LETTERS.get(char) or "".join(f"\\{byte:03o}" for byte in data)
