"""Lists of things: aligned columns for people, tabs in a pipe, one JSON object a line with ``--json``."""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping, Sequence
from typing import Any

from llmcli.cli import json_text, sanitize

_LEAST = 8  # a column is not made narrower to fit
_GAP = 2


def render(rows: Sequence[Mapping[str, Any]], *, as_json: bool, terminal: bool, columns: int | None = None) -> str:
    """Return the lines of a list; all ``rows`` have the same keys. The head is for terminals only.

    On a terminal of ``columns`` columns the widest column gives way, its cells end in an ellipsis.
    """
    if as_json:
        return "".join(_object(row) for row in rows)
    if not rows:
        return ""
    cells = [[sanitize.line("" if cell is None else str(cell)) for cell in row.values()] for row in rows]
    if not terminal:
        return "".join("\t".join(row) + "\n" for row in cells)
    cells.insert(0, [name.upper().replace("_", " ") for name in rows[0]])
    widths = [max(map(width, column)) for column in zip(*cells, strict=True)]
    while columns is not None and sum(widths) + _GAP * (len(widths) - 1) > columns and max(widths) > _LEAST:
        widths[widths.index(max(widths))] -= 1
    lines = (
        "  ".join(_pad(_cut(c, size), size) for c, size in zip(row, widths, strict=True)).rstrip() for row in cells
    )
    return "".join(line + "\n" for line in lines)


def facts(pairs: Mapping[str, Any], *, as_json: bool, terminal: bool) -> str:
    """Return names and values of one thing: a line each, or one JSON object. What is None is left out of the lines."""
    if as_json:
        return _object(pairs)
    shown = {name.replace("_", " "): sanitize.line(str(value)) for name, value in pairs.items() if value is not None}
    size = max(map(width, shown), default=0) + _GAP
    return "".join(f"{_pad(name, size)}{text}\n" if terminal else f"{name}\t{text}\n" for name, text in shown.items())


def _object(pairs: Mapping[str, Any]) -> str:
    return json_text.dumps(dict(pairs)) + "\n"


def _cut(cell: str, size: int) -> str:
    if width(cell) <= size:
        return cell
    while width(cell) > size - 1:
        cell = cell[:-1]
    return cell + "…"


def _pad(cell: str, size: int) -> str:
    return cell + " " * (size - width(cell))


def width(text: str) -> int:
    """Return how many columns a terminal gives to ``text``."""
    wide = sum(unicodedata.east_asian_width(char) in "WF" for char in text)
    narrow = sum(unicodedata.combining(char) == 0 for char in text)
    return narrow + wide
