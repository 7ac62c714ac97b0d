"""Lists: aligned columns for people, tabs in a pipe, one JSON object per line with ``--json``."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from typing import Any

from llmcli.cli.console import json_text, sanitize, wrapping

_MIN_COLUMNS = 8  # columns; none is made narrower to fit
_GAP_COLUMNS = 2
_ROOMY_COLUMNS = 15
"""Room of a column in which broken words can be read. With less for each, a table whose words do not fit is not
drawn."""


def render_table(
    rows: Sequence[Mapping[str, Any]],
    *,
    as_json: bool,
    terminal: bool,
    columns: int | None = None,
    preview: str | None = None,
    remark: str | None = None,
) -> str:
    """Return the lines of a list; all ``rows`` have the same keys. Only terminals get a header.

    On a terminal of ``columns`` columns, the widest column shrinks and its cells are wrapped at words; cells of the
    column ``preview`` are cut and end in an ellipsis. Where the column ``remark`` has no room beside the others, its
    cells stand below their rows. Where many columns have no room for their words, each row is a record: a line for each
    cell that is not empty.
    """
    if as_json:
        return "".join(_json_line(row) for row in rows)
    if not rows:
        return ""
    cells = [[sanitize.single_line(format_cell(cell)) for cell in row.values()] for row in rows]
    if not terminal:
        return "".join("\t".join(row) + "\n" for row in cells)
    cells.insert(0, [name.upper().replace("_", " ") for name in rows[0]])
    cuts = [name == preview for name in rows[0]]
    if columns is not None and columns < _ROOMY_COLUMNS * len(rows[0]) and _total(_word_widths(cells, cuts)) > columns:
        records = [dict(zip(rows[0], (cell or None for cell in row), strict=True)) for row in cells[1:]]
        return "\n".join(render_record(row, as_json=False, terminal=True, columns=columns) for row in records)
    below = [""] * len(cells)
    if columns is not None and remark is not None and _total(_column_widths(cells, None, cuts)) > columns:
        at = [*rows[0]].index(remark)
        del cuts[at]
        below = ["", *[row.pop(at) for row in cells][1:]]  # without its title
    return _draw_table(cells, below, columns, cuts)


def _draw_table(cells: Sequence[Sequence[str]], below: Sequence[str], columns: int | None, cuts: Sequence[bool]) -> str:
    """Return the lines of a table; the texts ``below`` its rows begin where the last column does."""
    widths = _column_widths(cells, columns, cuts)
    indent = _total(widths[:-1]) + _GAP_COLUMNS
    out: list[str] = []
    for row, remark in zip(cells, below, strict=True):
        wrapped = [
            [wrapping.truncate(cell, size)] if cuts_cell else wrapping.wrap_words(cell, size)
            for cell, size, cuts_cell in zip(row, widths, cuts, strict=True)
        ]
        out += [
            "  ".join(_pad(part, size) for part, size in zip(parts, widths, strict=True)).rstrip() + "\n"
            for parts in itertools.zip_longest(*wrapped, fillvalue="")
        ]
        if remark and columns is not None:
            lines = wrapping.wrap_words(remark, max(columns - indent, _MIN_COLUMNS))
            out += [f"{' ' * indent}{line}\n" for line in lines]
    return "".join(out)


def format_cell(cell: object) -> str:
    """Return a value as text: booleans as JSON writes them, "" for None."""
    if isinstance(cell, bool):
        return "true" if cell else "false"
    return "" if cell is None else str(cell)


def _column_widths(cells: Sequence[Sequence[str]], columns: int | None, cuts: Sequence[bool]) -> list[int]:
    """Return the widths of columns that fit ``columns``: words are broken only if necessary."""
    widths = [max(map(wrapping.display_width, column)) for column in zip(*cells, strict=True)]
    if columns is None:
        return widths
    for least in (_word_widths(cells, cuts), [_MIN_COLUMNS] * len(widths)):
        while _total(widths) > columns:
            wide = [index for index, size in enumerate(widths) if size > max(least[index], _MIN_COLUMNS)]
            if not wide:
                break
            widths[max(wide, key=lambda index: widths[index])] -= 1
    return widths


def _word_widths(cells: Sequence[Sequence[str]], cuts: Sequence[bool]) -> list[int]:
    """Return the least widths of columns in which no word is broken."""
    return [
        _MIN_COLUMNS if cut else max(map(wrapping.longest_word, column))
        for column, cut in zip(zip(*cells, strict=True), cuts, strict=True)
    ]


def _total(widths: Sequence[int]) -> int:
    """Return the width of a table."""
    return sum(widths) + _GAP_COLUMNS * (len(widths) - 1)


def render_record(pairs: Mapping[str, Any], *, as_json: bool, terminal: bool, columns: int | None) -> str:
    """Return names and values of one thing: a line each, or one JSON object. None is left out of the lines.

    On a terminal of ``columns`` columns, values are wrapped at words; words stay whole, so that paths can be copied.
    """
    if as_json:
        return _json_line(pairs)
    shown = {
        name.replace("_", " "): sanitize.single_line(format_cell(value))
        for name, value in pairs.items()
        if value is not None
    }
    if not terminal:
        return "".join(f"{name}\t{text}\n" for name, text in shown.items())
    size = max(map(wrapping.display_width, shown), default=0) + _GAP_COLUMNS
    room = None if columns is None else max(columns - size, _MIN_COLUMNS)
    out = []
    for name, text in shown.items():
        lines = [text] if room is None else wrapping.wrap_words(text, room, break_words=False)
        out.append(_pad(name, size) + ("\n" + " " * size).join(lines) + "\n")
    return "".join(out)


def _json_line(pairs: Mapping[str, Any]) -> str:
    return json_text.dumps(dict(pairs)) + "\n"


def _pad(cell: str, size: int) -> str:
    return cell + " " * (size - wrapping.display_width(cell))
