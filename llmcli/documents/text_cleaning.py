"""Cleaning translations: unwanted characters are removed; line ends and blanks become those of the document."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

from llmcli.documents.segments import split_at_protected

_NEWLINES = re.compile("\r\n?|[\x0b\x0c\x85\u2028\u2029]")
_CONTROLS = re.compile("[\x00-\x08\x0e-\x1f\x7f-\x9f\ud800-\udfff\ufeff\ufffe\uffff]")
_ESCAPE_SEQUENCES = re.compile("\x1b(?:\\][^\x07\x1b\n]*(?:\x07|\x1b\\\\)|\\[[0-?]*[ -/]*[@-~]|[@-Z\\\\-_])")
"""Escape sequences that control a terminal (ECMA-48)."""
_CONTROL_BLANKS = r"\x0b\x0c\x1c-\x1f\x85\u2028\u2029"
"""White space that is protected (form feeds, separators): after ``clean_translation``, only the source's are left."""
BLANKS = " \t\n\r\u00a0\u1680\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a\u202f\u205f\u3000"
"""White space that is not protected: what may be removed at the end of a line."""
_BREAKABLE_BLANKS = re.compile(rf"[^\S\u00a0\u202f{_CONTROL_BLANKS}]+")
"""White space except no-break spaces, as in French before a colon."""
_EMPTY_LINES = re.compile(rf"[^\S\n{_CONTROL_BLANKS}]*\n[^\S{_CONTROL_BLANKS}]*")


def clean_translation(text: str) -> str:
    r"""Return a translation without control characters, with lines that end with "\n"."""
    return _CONTROLS.sub("", _NEWLINES.sub("\n", _ESCAPE_SEQUENCES.sub("", text)))


def detect_newline(text: str) -> str:
    """Return the line ending of a document, for lines that a translation adds."""
    if "\r\n" in text:
        return "\r\n"
    return "\r" if "\r" in text and "\n" not in text else "\n"


def collapse_whitespace(text: str) -> str:
    """Return the text with one blank for each run of white space; no-break spaces stay."""
    return _BREAKABLE_BLANKS.sub(" ", text)


def remove_empty_lines(text: str) -> str:
    """Return the text without empty lines and without blanks around its line ends."""
    return _EMPTY_LINES.sub("\n", text)


class LineNormalizer:
    """Cleans parts of a translation, one after the other, so that they have no line ends if their source has none.

    Nor more empty lines than the source: extra ones become line ends. The line ends are those of the source.
    """

    def __init__(self, source: str) -> None:
        ends = [
            match.group().count("\n")
            for match in _EMPTY_LINES.finditer(source.replace("\r\n", "\n").replace("\r", "\n"))
        ]
        self._newline = detect_newline(source)
        self._has_newlines = bool(ends)
        self._empty_lines_left = sum(count > 1 for count in ends)

    def __call__(self, text: str) -> str:
        """Return the next part, cleaned."""
        return _EMPTY_LINES.sub(self._replace_line_end, clean_translation(text)).replace("\n", self._newline)

    def _replace_line_end(self, match: re.Match[str]) -> str:
        if not self._has_newlines:
            return " "
        if match.group().count("\n") == 1:
            return match.group()
        self._empty_lines_left -= 1
        return match.group() if self._empty_lines_left >= 0 else "\n"


def write_translation(translation: str, source: str, wanted: Sequence[str], escape: Callable[[str], str] = str) -> str:
    """Return a translation with line ends like those of its source: ``escape`` writes what is not protected.

    ``wanted``: the protected texts, as in ``split_at_protected``.
    """
    clean = LineNormalizer(source)
    parts = split_at_protected(translation.strip(), wanted)
    return "".join(text if kept else escape(clean(text)) for text, kept in parts)


def double_percent(text: str) -> str:
    """Return words as a message with a printf placeholder has them."""
    return text.replace("%", "%%")


def double_braces(text: str) -> str:
    """Return words as a message with a format item of .NET ("{0}") has them."""
    return text.replace("{", "{{").replace("}", "}}")
