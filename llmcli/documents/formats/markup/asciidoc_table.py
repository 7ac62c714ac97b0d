"""Tables of AsciiDoc between bars: the cells with the lines of their contents, and the style that each has.

A style stands before the bar of a cell ("a|"), else that of its column counts; in the header, none does. Source: "AsciiDoc
Language Documentation", Tables.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from llmcli.fast_dataclass import field, slotted

_SPECIFIER = (
    r"(?:(?P<count>\d{1,4}(?:\.\d{1,4})?|\.\d{1,4})(?P<what>[*+]))?"
    r"(?:[<^>](?:\.[<^>])?|\.[<^>])?(?P<style>[a-z])?"
)
_AT_LINE_START = re.compile(rf"[ \t]*{_SPECIFIER}\Z")
_BEHIND_TEXT = re.compile(rf"[ \t]+{_SPECIFIER}\Z")
_CELL_END = re.compile(rf"(?:\A|[ \t])(?=\S){_SPECIFIER}\Z")
_COLUMNS = re.compile(r"\bcols=(?:\"(?P<quoted>[^\"]*)\"|'(?P<single>[^']*)'|(?P<bare>[^,\]]*))")
_SEPARATOR = re.compile(r"\bseparator=\"?(?P<sign>[^\",\]])")
_OTHER_FORMAT = re.compile(r"\bformat=\"?(?:csv|tsv|dsv)|%(?:csv|tsv|dsv)")
_HEADER = re.compile(r"%(?:[\w%]*%)?header|\b(?:options|opts)=\"?[^\"\]]{0,200}\bheader")
_COLUMN = re.compile(r"(?:(?P<times>\d{1,3})\*)?[^a-z]*(?P<style>[a-z])?")
_MAX_COLUMNS = 1000
_MAX_COPIES = 100


@slotted
class TableCell:
    """A cell: its style ("" or a letter), and its lines as (offset in the document, text)."""

    style: str = ""
    lines: list[tuple[int, str]] = field(default_factory=list)
    columns: int = 1
    rows: int = 1
    copies: int = 1


def ends_with_specifier(text: str) -> bool:
    """Whether the end of a cell's text would be read as the specifier of the next cell, right before its bar."""
    return bool(_CELL_END.search(text[-50:]))


def find_separator(attributes: str) -> str:
    """Return the sign between cells that the attributes of a table name, "" without one."""
    found = _SEPARATOR.search(attributes)
    return found["sign"] if found else ""


def read_cells(lines: Sequence[tuple[int, str]], separator: str, attributes: str) -> Iterator[TableCell]:
    """Yield the cells of a table with their styles; none of a table in CSV or DSV."""
    if _OTHER_FORMAT.search(attributes):
        return
    cells = list(_split_cells(lines, separator))
    styles = _column_styles(attributes)
    is_implicit = len(lines) > 1 and bool(lines[0][1]) and not lines[1][1]
    has_header = bool(_HEADER.search(attributes)) or is_implicit
    columns = len(styles) or sum(
        cell.columns * cell.copies for cell in cells if cell.lines and cell.lines[0][0] <= _end(lines)
    )
    yield from _with_column_styles(cells, styles or [""] * max(columns, 1), has_header=has_header)


def _end(lines: Sequence[tuple[int, str]]) -> int:
    """Return where the first line with cells ends."""
    return next((start + len(text) for start, text in lines if text), 0)


def _split_cells(lines: Sequence[tuple[int, str]], separator: str) -> Iterator[TableCell]:
    """Yield the cells with the styles that they name themselves."""
    bar = re.compile(rf"(?<!\\){re.escape(separator)}")
    cell: TableCell | None = None
    for start, text in lines:
        at = 0
        for match in bar.finditer(text):
            before = text[at : match.start()]
            found = (_AT_LINE_START if not at else _BEHIND_TEXT).search(before[-50:])
            words = before[: len(before) - len(found[0])] if found else before
            if cell is not None:
                if at or words:
                    cell.lines.append((start + at, words))
                yield cell
            cell = _new_cell(found)
            at = match.end()
        if cell is not None:
            cell.lines.append((start + at, text[at:]))
    if cell is not None:
        yield cell


def _new_cell(found: re.Match[str] | None) -> TableCell:
    cell = TableCell()
    if found is None:
        return cell
    cell.style = found["style"] or ""
    across, _, down = (found["count"] or "1").partition(".")
    if found["what"] == "*":
        cell.copies = int(across or 1)
    else:
        cell.columns, cell.rows = int(across or 1), int(down or 1)
    return cell


def _column_styles(attributes: str) -> list[str]:
    """Return the style of each column, [] if the columns are not declared."""
    found = _COLUMNS.search(attributes)
    if found is None:
        return []
    styles: list[str] = []
    for column in re.split(r"[,;]", found["quoted"] or found["single"] or found["bare"] or ""):
        each = _COLUMN.match(column.strip())
        styles += [(each["style"] or "") if each else ""] * (int(each["times"] or 1) if each else 1)
    return styles[:_MAX_COLUMNS]


def _with_column_styles(cells: Sequence[TableCell], styles: Sequence[str], *, has_header: bool) -> Iterator[TableCell]:
    """Yield the cells with the styles of their columns, which they fill from the left to the right."""
    occupied = [0] * len(styles)  # rows that a cell above takes in each column
    column, row = 0, 0
    for cell in cells:
        for _ in range(min(cell.copies, _MAX_COPIES)):
            skipped = 0
            while occupied[column] and skipped < len(styles):
                occupied[column] -= 1
                column, row = (column + 1, row) if column + 1 < len(styles) else (0, row + 1)
                skipped += 1
            style = "" if has_header and not row else cell.style or styles[column]
            for _ in range(min(cell.columns, len(styles) - column)):
                occupied[column] = cell.rows - 1
                column += 1
            if column >= len(styles):
                column, row = 0, row + 1
        cell.style = style
        yield cell
