"""Removing active control sequences from text before a terminal sees it.

Text from a model, a file, a name or a server may contain sequences that move the cursor, set the window title, write to
the clipboard or reverse the reading order. The grammar is that of ECMA-48 (CSI, OSC, DCS, SOS, PM, APC in their 7-bit
and 8-bit forms); it removes every C0 control but tab and newline, DEL, C1, and the bidirectional overrides, embeddings
and isolates of Unicode, and its tags, invisible copies of ASCII that can hide a text in another. (Flags of regions,
which consist of tags, become black flags.) Joiners and the zero-width space stay, since scripts and emoji need them.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from enum import Enum, auto
from functools import cache


@cache
def _control_pattern() -> re.Pattern[str]:
    """Return the pattern of relevant characters; it is compiled at first use, which takes a millisecond."""
    return re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff\U000e0000-\U000e007f]")


class _ParserState(Enum):
    TEXT = auto()
    ESCAPE = auto()  # after ESC: intermediates 0x20-0x2f, then one final character
    CSI = auto()  # parameters and intermediates 0x20-0x3f, then one final character 0x40-0x7e
    STRING = auto()  # until BEL, ST or ESC; until a newline too, so that an unfinished one swallows at most a line


_SEQUENCE_STARTS = {"\x9b": _ParserState.CSI, **dict.fromkeys("\x9d\x90\x98\x9e\x9f", _ParserState.STRING)}
"""The 8-bit forms that open a sequence without an ESC."""


class Sanitizer:
    """Incremental: the output for a text does not depend on how the text is split into chunks."""

    def __init__(self) -> None:
        self._state = _ParserState.TEXT

    def feed(self, text: str) -> str:
        """Return the harmless part of the next piece of text."""
        if self._state is _ParserState.TEXT and _control_pattern().search(text) is None:
            return text
        return "".join([self._advance_state(char) for char in text])

    def _advance_state(self, char: str) -> str:
        if char == "\x1b":  # ends any open sequence, as on a terminal
            self._state = _ParserState.ESCAPE
            return ""
        following = _TRANSITIONS[self._state](char)
        if following is not None:
            self._state = following
            return ""
        self._state = _SEQUENCE_STARTS.get(
            char, _ParserState.TEXT
        )  # an unfinished sequence ends here; this counts as text again
        if "\ud800" <= char <= "\udfff":
            return "\ufffd"
        return "" if _control_pattern().match(char) else char


def _after_escape(char: str) -> _ParserState | None:
    if not " " <= char <= "~":
        return None
    if char == "[":
        return _ParserState.CSI
    if char in "]PX^_":  # OSC, DCS, SOS, PM, APC
        return _ParserState.STRING
    return _ParserState.ESCAPE if char <= "/" else _ParserState.TEXT


def _in_csi(char: str) -> _ParserState | None:
    if not " " <= char <= "~":
        return None
    return _ParserState.TEXT if char >= "@" else _ParserState.CSI


def _in_string(char: str) -> _ParserState | None:
    return None if char in "\x07\x9c\n" else _ParserState.STRING


_TRANSITIONS: dict[_ParserState, Callable[[str], _ParserState | None]] = {
    _ParserState.TEXT: lambda _: None,
    _ParserState.ESCAPE: _after_escape,
    _ParserState.CSI: _in_csi,
    _ParserState.STRING: _in_string,
}
"""For each state: the next state for a character of the sequence, None for any other character."""


def strip_controls(text: str) -> str:
    """Return a whole text without active control sequences."""
    return Sanitizer().feed(text)


def single_line(text: str) -> str:
    r"""Return a text as one clean line, for names and messages: runs of white space become one space.

    Bytes of a name that the locale could not decode (surrogates, PEP 383) are read as UTF-8; others are shown as \xNN.
    Other surrogates, which a server's JSON may have, are U+FFFD.
    """
    text = re.sub("[\ud800-\udc7f\udd00-\udfff]", "\ufffd", text)
    text = text.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
    return " ".join(strip_controls(re.sub(r"[\r\n\v\f\x1c-\x1e\x85\u2028\u2029]+", "\n", text)).split())


def shorten_line(text: str, max_chars: int) -> str:
    """Return the beginning of a text as one clean line of at most ``max_chars`` characters."""
    line = single_line(text[: max_chars * 4])
    return line if len(line) <= max_chars else line[: max_chars - 1] + "…"
