"""Lists of things: aligned columns for people, tabs in a pipe, one JSON object a line with ``--json``."""

from __future__ import annotations

import json
import unicodedata
from collections.abc import Mapping, Sequence
from typing import Any

from llmcli.cli import sanitize


def render(rows: Sequence[Mapping[str, Any]], *, as_json: bool, terminal: bool) -> str:
    """Return the lines of a list; all ``rows`` have the same keys. The head is for terminals only."""
    if as_json:
        return "".join(json.dumps(dict(row), ensure_ascii=False) + "\n" for row in rows)
    if not rows:
        return ""
    cells = [[sanitize.line("" if cell is None else str(cell)) for cell in row.values()] for row in rows]
    if not terminal:
        return "".join("\t".join(row) + "\n" for row in cells)
    cells.insert(0, [name.upper().replace("_", " ") for name in rows[0]])
    widths = [max(map(width, column)) for column in zip(*cells, strict=True)]
    lines = ("  ".join(_pad(cell, size) for cell, size in zip(row, widths, strict=True)).rstrip() for row in cells)
    return "".join(line + "\n" for line in lines)


def _pad(cell: str, size: int) -> str:
    return cell + " " * (size - width(cell))


def width(text: str) -> int:
    """Return how many columns a terminal gives to ``text``."""
    wide = sum(unicodedata.east_asian_width(char) in "WF" for char in text)
    narrow = sum(unicodedata.combining(char) == 0 for char in text)
    return narrow + wide
