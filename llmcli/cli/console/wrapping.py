"""Text in a terminal's columns: lines are wrapped at words, and words are broken only if necessary."""

from __future__ import annotations

import re
from collections.abc import Iterable

_BREAK_POINTS = re.compile(r"[/\\:_.,@=-]+")  # parts of a path, an address or a name begin after these
_AFTER_AND = re.compile(r"(?<= &&) ")
_COMMAND = re.compile(r"(?<=: )((?:llm|pip) [^(]*)")  # a command that a message suggests


def display_width(text: str) -> int:
    """Return the width of ``text`` on a terminal, in columns."""
    if text.isascii():
        return len(text)
    import unicodedata  # imported here, since every start would load its tables

    wide = sum(unicodedata.east_asian_width(char) in "WF" for char in text)
    narrow = sum(unicodedata.combining(char) == 0 for char in text)
    return narrow + wide


def longest_word(text: str) -> int:
    """Return the width of the longest word of ``text`` in columns."""
    return max(map(display_width, text.split()), default=0)


def wrap_words(text: str, size: int, *, break_words: bool = True) -> list[str]:
    """Return ``text`` as lines of ``size`` columns at most, at least one; runs of white space become one space.

    A wider word is broken, after a slash, a hyphen or a similar character if there is one; without ``break_words`` it
    is left whole.
    """
    return _fill_lines(text.split(), size, break_words=break_words)


def _fill_lines(words: Iterable[str], size: int, *, break_words: bool) -> list[str]:
    lines: list[str] = []
    for word in words:
        if lines and display_width(lines[-1]) + 1 + display_width(word) <= size:
            lines[-1] += f" {word}"
        else:
            lines += _break_word(word, size) if break_words else [word]
    return lines or [""]


def wrap_long_lines(text: str, size: int) -> list[str]:
    """Return the lines of ``text``; longer ones than ``size`` columns are wrapped at words and keep their indentation.

    A wider word is left whole, and so is a command behind a colon, so that both can be copied; a longer line of
    commands is broken between them, behind ``&&``, which a shell reads on.
    """
    lines: list[str] = []
    for line in text.splitlines():
        if display_width(line) <= size:
            lines.append(line)
            continue
        indent = line[: min(len(line) - len(line.lstrip()), size // 2)]
        words = (
            word
            for index, part in enumerate(_COMMAND.split(line))
            for word in (_AFTER_AND.split(part.strip()) if index % 2 else part.split())
        )
        lines += [indent + part for part in _fill_lines(words, size - len(indent), break_words=False)]
    return lines


def _break_word(word: str, size: int) -> list[str]:
    """Return a word in parts of ``size`` columns at most."""
    parts = []
    while display_width(word) > size:
        most = _count_fitting_chars(word, max(1, size))
        joints = [match.end() for match in _BREAK_POINTS.finditer(word, 0, most)]
        end = joints[-1] if joints else most
        parts.append(word[:end])
        word = word[end:]
    return [*parts, word] if word else parts


def truncate(text: str, size: int) -> str:
    """Return ``text`` on one line of ``size`` columns: the rest is left out, at a word boundary if possible."""
    if display_width(text) <= size:
        return text
    end = _count_fitting_chars(text, size - 1)
    if not text[end].isspace():
        end = text.rfind(" ", 0, end) if " " in text[:end] else end
    return text[:end].rstrip() + "…"


def _count_fitting_chars(text: str, size: int) -> int:
    """Return how many characters of ``text`` fit into ``size`` columns, at least one."""
    used = 0
    for index, char in enumerate(text):
        used += display_width(char)
        if used > size:
            return max(1, index)
    return len(text)
