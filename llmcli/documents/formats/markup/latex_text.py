r"""The characters of LaTeX: the text that stands for a command or a ligature, and how words are written.

A translator reads "é" for ``\'e``, "%" for ``\%``, a no-break space for a tie, and dashes and quotes for "--" and "``".
Words are written back in UTF-8, which LaTeX reads since 2018, with every special character escaped. Source: "LaTeX2e:
An unofficial reference manual".
"""

from __future__ import annotations

import re
import unicodedata

_ACCENTS = {
    "`": "\u0300", "'": "\u0301", "^": "\u0302", "~": "\u0303", '"': "\u0308", "=": "\u0304", ".": "\u0307", "u": "\u0306", "v": "\u030c",
    "H": "\u030b", "c": "\u0327", "d": "\u0323", "b": "\u0331", "k": "\u0328", "r": "\u030a",
}  # fmt: skip
_SYMBOLS = {
    "%": "%", "&": "&", "#": "#", "$": "$", "_": "_", "{": "{", "}": "}", " ": " ", "\t": " ", "\n": " ", "\r": " ", ",": "\u2009",
    "-": "", "/": "", "@": "",
}  # fmt: skip
"""Commands of one sign that stand for a character, or for a detail of typesetting that no translation keeps."""
CHARACTERS = {
    "ss": "\u00df", "o": "\u00f8", "O": "\u00d8", "l": "\u0142", "L": "\u0141", "ae": "\u00e6", "AE": "\u00c6", "oe": "\u0153", "OE": "\u0152",
    "aa": "\u00e5", "AA": "\u00c5", "i": "\u0131", "j": "\u0237", "ldots": "\u2026", "dots": "\u2026", "textellipsis": "\u2026", "textendash": "\u2013",
    "textemdash": "\u2014", "textbackslash": "\\", "textasciitilde": "~", "textasciicircum": "^", "textless": "<", "textgreater": ">",
    "textbar": "|", "textquotedblleft": "\u201c", "textquotedblright": "\u201d", "textquoteleft": "\u2018", "textquoteright": "\u2019",
    "textunderscore": "_", "textdollar": "$", "S": "\u00a7", "P": "\u00b6", "copyright": "\u00a9", "texteuro": "\u20ac", "euro": "\u20ac",
}  # fmt: skip
"""Commands that stand for a character."""
LIGATURES = {
    "``": "\u201c",
    "''": "\u201d",
    "`": "\u2018",
    "---": "\u2014",
    "--": "\u2013",
    "?`": "\u00bf",
    "!`": "\u00a1",
    "~": "\u00a0",
}
_ACCENTED = re.compile(
    r"\\(?P<accent>[`'^~\"=.])[ \t]*(?:\{(?P<braced>[^\W\d_]|\\[ij](?![A-Za-z]))?\}|(?P<bare>[^\W\d_]|\\[ij](?![A-Za-z])[ \t]?))"
    r"|\\(?P<letter>[uvHcdbkr])(?:[ \t]*\{(?P<inner>[^\W\d_]|\\[ij])\}|[ \t]+(?P<after>[^\W\d_]))"
)
_CHARACTER_END = re.compile(r"\{\}|[ \t]*")
_WRITTEN = {
    "\\": "\\textbackslash{}", "{": "\\{", "}": "\\}", "%": "\\%", "&": "\\&", "#": "\\#", "_": "\\_", "$": "\\$", "~": "\\textasciitilde{}",
    "^": "\\textasciicircum{}", "\u00a0": "~", "\u2009": "\\,", "\u2013": "--", "\u2014": "---", "\u201c": "``", "\u201d": "''", "\u2018": "`",
    "\u2019": "'", "\u2026": "\\ldots{}", "<": "\\textless{}", ">": "\\textgreater{}", "|": "\\textbar{}", '"': "''", "\u00bf": "?`",
    "\u00a1": "!`",
}  # fmt: skip
_KEPT_IF_THERE = frozenset('<>|"\u2013\u2014\u201c\u201d\u2018\u2019\u2026')
"""Characters that stay themselves where the source has them: fonts and languages differ in what they mean."""


def read_character(text: str, at: int) -> tuple[int, str] | None:
    """Return the end of the command at an offset, and the text that it stands for; None if it is no character."""
    if found := _ACCENTED.match(text, at):
        base = found["braced"] or found["bare"] or found["inner"] or found["after"] or ""
        base = {"\\i": "i", "\\j": "j"}.get(base.strip(), base)
        accent = _ACCENTS[found["accent"] or found["letter"]]
        return found.end(), unicodedata.normalize("NFC", base + accent) if base else ""
    sign = text[at + 1 : at + 2]
    return (at + 2, _SYMBOLS[sign]) if sign in _SYMBOLS else None


def read_named_character(text: str, name: str, at: int) -> tuple[int, str] | None:
    """Return where the text goes on behind a command with a name, and the character; None if it stands for none."""
    if name not in CHARACTERS:
        return None
    end = _CHARACTER_END.match(text, at)
    return (end.end() if end else at), CHARACTERS[name]


def write_words(words: str, source: str) -> str:
    """Return words with every special character escaped; ``source`` is the text that they replace."""
    return "".join(
        _WRITTEN.get(each, each) if each not in _KEPT_IF_THERE or each not in source else each for each in words
    )
