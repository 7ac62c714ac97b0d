"""Tables of AsciiDoc, between bars and in CSV, TSV or DSV: the cells with their contents, and the style that each has.

A style stands before the bar of a cell ("a|"), else that of its column counts; in the header, none does. Source:
"AsciiDoc Language Documentation", Tables.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from llmcli.fast_dataclass import field, frozen, slotted

_SPECIFIER = (
    r"(?:(?P<count>\d{1,4}(?:\.\d{1,4})?|\.\d{1,4})(?P<what>[*+]))?"
    r"(?:[<^>](?:\.[<^>])?|\.[<^>])?(?P<style>[a-z])?"
)
_AT_LINE_START = re.compile(rf"[ \t]*{_SPECIFIER}\Z")
_BEHIND_TEXT = re.compile(rf"[ \t]+{_SPECIFIER}\Z")
_CELL_END = re.compile(rf"(?:\A|[ \t])(?=\S){_SPECIFIER}\Z")
_COLUMNS = re.compile(r"\bcols=(?:\"(?P<quoted>[^\"]*)\"|'(?P<single>[^']*)'|(?P<bare>[^,\]]*))")
_SEPARATOR = re.compile(r"\bseparator=\"?(?P<sign>[^\",\]])")
_DATA_FORMAT = re.compile(r"(?:\bformat=\"?|%)(?P<name>csv|tsv|dsv)")
_DATA_FORMATS = {",": "csv", ":": "dsv"}
"""The formats of tables between lines of such signs."""
_DATA_SEPARATORS = {"csv": ",", "tsv": "\t", "dsv": ":"}
_SKIPPED_LINE = re.compile(r"[ \t]*(?:\\?(?:ifdef|ifndef|ifeval|endif|include)::[^\r\n]*)?(?:\r\n|\r|\n|\Z)")
"""An empty line, or one for the preprocessor."""
_PARAGRAPH_BREAK = re.compile(r"(?:(?:\r\n|\r|\n)[ \t]*){2,}")
_HEADER = re.compile(r"%(?:[\w%]*%)?header|\b(?:options|opts)=\"?[^\"\]]{0,200}\bheader")
_COLUMN = re.compile(r"(?:(?P<times>\d{1,3})\*)?[^a-z]*(?P<style>[a-z])?")
_MAX_COLUMNS = 1000
_MAX_COPIES = 100
_MAX_SPECIFIER_CHARS = 50
"""Characters before a bar in which the specifier of the next cell is looked for."""


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
    return bool(_CELL_END.search(text[-_MAX_SPECIFIER_CHARS:]))


def find_separator(attributes: str) -> str:
    """Return the sign between cells that the attributes of a table name, "" without one."""
    found = _SEPARATOR.search(attributes)
    return found["sign"] if found else ""


def read_cells(lines: Sequence[tuple[int, str]], separator: str, attributes: str) -> Iterator[TableCell]:
    """Yield the cells of a table between bars with their styles."""
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
            found = (_AT_LINE_START if not at else _BEHIND_TEXT).search(before[-_MAX_SPECIFIER_CHARS:])
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


# ---- CSV, TSV and DSV ------------------------------------------------------------------------------------------------


@frozen
class DataSyntax:
    """How the cells of a table in CSV, TSV or DSV are written: DSV escapes the separator, the others have quotes."""

    separator: str
    has_quotes: bool

    def read(self, written: str, *, is_quoted: bool) -> str:
        """Return the text of a cell."""
        if not self.has_quotes:
            return written.replace(f"\\{self.separator}", self.separator)
        return written.replace('""', '"') if is_quoted else written

    def write(self, words: str, *, is_quoted: bool) -> str:
        """Return the text of a cell as it is written, in quotes if it needs them."""
        if not self.has_quotes:
            return words.replace(self.separator, f"\\{self.separator}")
        if is_quoted:
            return words.replace('"', '""')
        escaped = words.replace('"', '""')
        return f'"{escaped}"' if self.separator in words or words.startswith('"') else words


def find_data_syntax(sign: str, attributes: str) -> DataSyntax | None:
    """Return the syntax of a table in CSV, TSV or DSV between lines of ``sign``; None for one between bars."""
    found = _DATA_FORMAT.search(attributes)
    name = found["name"] if found else _DATA_FORMATS.get(sign)
    if name is None:
        return None
    separator = find_separator(attributes).replace("\\", "\t") or _DATA_SEPARATORS[name]
    return DataSyntax(separator, name != "dsv")


@frozen
class DataCell:
    """A paragraph of a cell, by its offsets, and the cell's style."""

    start: int
    end: int
    is_quoted: bool
    style: str


def read_data_cells(text: str, start: int, end: int, syntax: DataSyntax, attributes: str) -> Iterator[DataCell]:
    """Yield the paragraphs of the cells of a table in CSV, TSV or DSV, which reaches from ``start`` to ``end``."""
    separator = re.escape(syntax.separator)
    bare = rf"(?P<bare>(?:{'' if syntax.has_quotes else f'{chr(92) * 2}{separator}|'}[^{separator}\r\n])*+)"
    quoted = rf"\"(?P<quoted>(?:[^\"]|\"\")*+)\"[^{separator}\r\n]*|" if syntax.has_quotes else ""
    cell = re.compile(rf" *+(?:{quoted}{bare})(?P<end>{separator}|\r\n|\r|\n|\Z)")
    styles, column, row = _column_styles(attributes), 0, 0
    has_header = bool(_HEADER.search(attributes)) or bool(
        re.match(r"[^\r\n]+(?:\r\n|\r|\n)[ \t]*[\r\n]", text[start:end])
    )
    while start < end:
        skipped = None if column else _SKIPPED_LINE.match(text, start, end)
        if skipped:
            start = skipped.end()
            continue
        match = cell.match(text, start, end)
        if match is None:
            return
        kind = "bare" if match["bare"] is not None else "quoted"
        style = styles[column] if column < len(styles) and not (has_header and not row) else ""
        for first, last in _paragraphs(text, *match.span(kind)):
            yield DataCell(first, last, kind == "quoted", style)
        is_last = match["end"] != syntax.separator
        column, row, start = (0, row + 1, match.end()) if is_last else (column + 1, row, match.end())


def _paragraphs(text: str, start: int, end: int) -> Iterator[tuple[int, int]]:
    """Yield where the paragraphs of a cell begin and end, without blanks."""
    breaks = [(match.start(), match.end()) for match in _PARAGRAPH_BREAK.finditer(text, start, end)]
    for first, last in zip(
        [start, *(after for _, after in breaks)], [*(before for before, _ in breaks), end], strict=True
    ):
        words = text[first:last]
        if words.strip():
            yield first + len(words) - len(words.lstrip()), last - len(words) + len(words.rstrip())
