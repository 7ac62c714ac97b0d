"""Blocks of a document (paragraphs, headings, items, rows, code) become sections of plain Markdown."""

from __future__ import annotations

from collections.abc import Iterator

from llmcli.documents.reading.passages import Section

_MAX_INDENT_LEVELS = 8


def format_row(cells: list[str]) -> str:
    """Return the cells of a row as a line of a Markdown table."""
    return f"| {' | '.join(' '.join(cell.split()).replace('|', chr(92) + '|') for cell in cells)} |"


class SectionBuilder:
    """Collects blocks and begins a section at each heading. ``title`` is the outermost heading, "" for none."""

    def __init__(self, title: str) -> None:
        self._headings: list[tuple[int, str]] = [(0, title)] if title else []
        self._path: tuple[str, ...] = (title,) if title else ()
        self._sections: list[Section] = []
        self._blocks: list[tuple[str, str]] = []  # kind ("" for a paragraph) and text
        self._text: list[str] = []
        self._list_depth = 0
        self._item_lead = ""
        self._row: list[str] | None = None  # the cells of the open row of a data table
        self._code_depth = 0

    def add_text(self, text: str) -> None:
        """Add text to the current block; white space is collapsed except in code."""
        self._text.append(text)

    def break_line(self) -> None:
        """Add a line break to the current block."""
        self._text.append("\n" if self._code_depth else "\v")

    def end_block(self) -> None:
        """End the current paragraph; in a table cell only a space separates paragraphs."""
        if self._code_depth:
            return
        if self._row is not None:
            self._text.append(" ")
            return
        text = self._take_text()
        if text:
            self._blocks.append(("item" if self._item_lead or self._list_depth else "", self._item_lead + text))
            self._item_lead = ""

    def end_heading(self, level: int) -> None:
        """End the current block as a heading, which begins a section."""
        if self._code_depth or self._row is not None:
            self.end_block()
            return
        text = self._take_text().replace("\n", " ")
        self._item_lead = ""
        if text:
            self._finish_section()
            self._headings = [each for each in self._headings if each[0] < level] + [(level, text)]
            self._path = tuple(title for _, title in self._headings)
            self._blocks.append(("", f"{'#' * level} {text}"))

    def start_list(self) -> None:
        """Begin a list, which may be nested."""
        self.end_block()
        self._list_depth += 1

    def end_list(self) -> None:
        """End the innermost list."""
        self.end_block()
        self._list_depth = max(0, self._list_depth - 1)

    def start_item(self) -> None:
        """Begin an item of the innermost list."""
        self.end_block()
        self._item_lead = "  " * min(max(0, self._list_depth - 1), _MAX_INDENT_LEVELS) + "- "

    def end_item(self) -> None:
        """End an item."""
        self.end_block()
        if self._row is None:
            self._item_lead = ""

    def start_row(self, *, is_layout: bool) -> None:
        """Begin a row of a table; ``is_layout``: its cells are blocks of their own, and may hold tables."""
        self.end_block()
        self._row = None if is_layout else []

    def start_cell(self) -> None:
        """Begin a cell."""
        if self._row is None:
            self.end_block()

    def end_cell(self, repeats: int = 1) -> None:
        """End a cell, which stands for as many cells as ``repeats``."""
        if self._row is not None:
            self._row += [self._take_text()] * repeats
        else:
            self.end_block()

    def end_row(self) -> None:
        """End the row."""
        if self._row and any(self._row):
            self._blocks.append(("row", format_row(self._row)))
        self._row = None

    def start_code(self) -> None:
        """Begin preformatted text."""
        self.end_block()
        self._code_depth += 1

    def end_code(self) -> None:
        """End preformatted text."""
        self._code_depth = max(0, self._code_depth - 1)
        if self._code_depth or self._row is not None:
            return
        text = "".join(self._text).strip("\n")
        self._text.clear()
        if text.strip():
            self._blocks.append(("", f"```\n{text}\n```"))

    def finish(self) -> Iterator[Section]:
        """Yield the sections."""
        self.end_block()
        self._finish_section()
        yield from self._sections

    def _take_text(self) -> str:
        lines = "".join(self._text).split("\v")
        self._text.clear()
        return "\n".join(filter(None, (" ".join(line.split()) for line in lines)))

    def _finish_section(self) -> None:
        parts: list[str] = []
        before = None
        for kind, text in self._blocks:
            if before is not None:
                parts.append("\n" if kind and kind == before else "\n\n")
            parts.append(text)
            before = kind
        self._blocks.clear()
        if parts:
            self._sections.append(Section("".join(parts), self._path))
