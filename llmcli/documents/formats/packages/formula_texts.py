"""Texts that the formulas of a spreadsheet know by their words: a cell that is one of them must stay as it is.

What a formula makes of parts of texts (LEFT, SEARCH, "Part " & "one") cannot be known.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

_LITERAL = re.compile(r'"((?:[^"]|"")*)"')
_OPERATOR = re.compile(r"\s*(?:<>|<=|>=|=|<|>)")
"""What a criterion begins with: "<>Open"."""
_INDIRECT = re.compile(r"\bINDIRECT\s*\(", re.IGNORECASE)
_REFERENCE = re.compile(r"\$?'?(.*?)'?[!.]\$?[a-z]{1,3}\$?\d{1,7}(?::.*)?")
"""A reference to cells of a sheet, as ``comparable`` returns it: "'other sheet'!b2", in OpenDocument "$sheet.b2"."""
_SPACE = re.compile(r"\s+")


def known_texts(formulas: Iterable[str], names: Iterable[str]) -> set[str]:
    """Return the texts that formulas know, as ``comparable`` returns them.

    ``names`` are those of sheets and ranges: a cell may hold one for INDIRECT.
    """
    found: set[str] = set()
    is_indirect = False
    for formula in formulas:
        found.update(map(comparable, _literals(formula)))
        is_indirect = is_indirect or _INDIRECT.search(formula) is not None
    if is_indirect:
        found.update(map(comparable, names))
    return found - {""}


def comparable(text: str) -> str:
    """Return a text as spreadsheets compare it: in any case, with any white space."""
    return _SPACE.sub(" ", text).strip().casefold()


def is_known(text: str, known: frozenset[str]) -> bool:
    """Whether a cell's text is known, or refers to cells of a sheet whose name is."""
    words = comparable(text)
    reference = _REFERENCE.fullmatch(words)
    return words in known or (reference is not None and reference[1] in known)


def _literals(formula: str) -> Iterator[str]:
    """Yield the texts in a formula, the values of criteria, and those of a list of allowed values."""
    for literal in _LITERAL.findall(formula):
        text = literal.replace('""', '"')
        yield text
        yield _OPERATOR.sub("", text, count=1)
        yield from text.split(",")
