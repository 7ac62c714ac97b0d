"""OpenDocument texts and presentations: headings, paragraphs, lists, tables, notes, and slides.

Left out are comments, pictures, charts, the table of contents, headers and footers, and what was deleted with changes
tracked. Source: OpenDocument 1.3 part 3 (OASIS).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from llmcli.documents.reading.passages import Section
from llmcli.documents.reading.sources.section_builder import SectionBuilder
from llmcli.documents.reading.sources.zip_package import ZipPackage, scan_xml
from llmcli.errors import BadDocument

_CONTENT, _MANIFEST = "content.xml", "META-INF/manifest.xml"
_LEFT_OUT = frozenset(
    {"annotation", "binary-data", "event-listeners", "forms", "image", "index-title-template", "object", "object-ole",
     "plugin", "ruby-text", "script", "table-of-content", "tracked-changes"}
)  # fmt: skip
"""Local names of elements that are not read, or whose words are no part of the text."""
_PLACEHOLDERS = frozenset({"date-time", "footer", "header", "page", "page-number"})
"""Classes of frames whose words are the same on each slide."""
_MAX_HEADING_LEVEL = 6
_MAX_REPEATED_CELLS = 64
"""Cells that one element stands for."""


def read_odt(data: bytes, name: str) -> Iterator[Section]:
    """Yield the sections of a text by its headings. Raises ``BadDocument``."""
    del name
    reader = _TextReader()
    reader.scan(data)
    yield from reader.finish()


def read_odp(data: bytes, name: str) -> Iterator[Section]:
    """Yield a section for each slide with text; ``page`` is the number of the slide. Raises ``BadDocument``."""
    del name
    reader = _SlideReader()
    reader.scan(data)
    yield from reader.slides


def refuse_encrypted(package: ZipPackage) -> None:
    """Raise ``BadDocument`` for an OpenDocument with a password: its files are there, and none is XML."""
    if _MANIFEST in package.names and b"encryption-data" in package.read(_MANIFEST):
        raise BadDocument(detail="it is encrypted; save it without a password")


class _TextReader:
    """Passes the content of a document to a builder, while the XML is parsed: the elements are never in memory."""

    def __init__(self) -> None:
        self._builder = SectionBuilder("")
        self._skipped_depth = 0
        self._table_depth = 0
        self._cell_repeats = 1
        self._titles = {"Title"}
        """Names of the style of titles, and of styles that an office program derived from it."""
        self._paragraphs: list[list[str]] = []
        """The words of the open paragraphs: a frame in a paragraph has paragraphs of its own."""
        self._heading_levels: list[int] = []
        """Of the open paragraphs; 0 for one that is no heading."""
        self._open_notes: list[list[str]] = []
        self._citation = ""
        self._notes: list[str] = []
        """The footnotes of the section that is read."""

    def scan(self, data: bytes) -> None:
        """Read a document. Raises ``BadDocument``."""
        package = ZipPackage(data)
        refuse_encrypted(package)
        scan_xml(package.read(_CONTENT), _CONTENT, self._start, self._end, self._add_text)

    def finish(self) -> Iterator[Section]:
        """Yield the sections."""
        self._add_notes()
        return self._builder.finish()

    def is_left_out(self, name: str, attributes: Mapping[str, str]) -> bool:
        """Whether an element is not read."""
        del attributes
        return name in _LEFT_OUT

    def start_element(self, name: str, attributes: Mapping[str, str]) -> None:
        """Read the beginning of an element."""
        if name in {"p", "h"}:
            level = self._heading_level(name, attributes)
            if level and not self._table_depth and not self._open_notes:
                self._add_notes()
            self._paragraphs.append([])
            self._heading_levels.append(level)
        elif name == "style":
            if _get(attributes, "}parent-style-name") in self._titles:
                self._titles.add(_get(attributes, "}name"))
        elif name == "note-citation":
            self._paragraphs.append([])
        elif name == "note-body":
            self._open_notes.append([])
        elif name == "line-break":
            self._add_text("\v")
        elif name in {"s", "tab"}:
            self._add_text(" ")
        elif not self._open_notes:
            self._start_block(name, attributes)

    def end_element(self, name: str) -> None:
        """Read the end of an element."""
        if name in {"p", "h"}:
            words = "".join(self._paragraphs.pop())
            self.end_paragraph(words, self._heading_levels.pop())
        elif name == "note-citation":
            self._citation = f"[{''.join(self._paragraphs.pop()).strip()}]"
            self._add_text(self._citation)
        elif name == "note-body":
            self._notes.append(f"{self._citation} {' '.join(self._open_notes.pop())}")
        elif not self._open_notes:
            self._end_block(name)

    def end_paragraph(self, words: str, level: int) -> None:
        """Read the end of a paragraph, or a heading if ``level`` is not 0."""
        if self._open_notes:
            self._open_notes[-1].append(words)
            return
        for number, line in enumerate(words.split("\v")):
            if number:
                self._builder.break_line()
            self._builder.add_text(line)
        if level:
            self._builder.end_heading(level)
        else:
            self._builder.end_block()

    def _heading_level(self, name: str, attributes: Mapping[str, str]) -> int:
        if name == "p":
            return int(_get(attributes, "}style-name") in self._titles)
        return min(_count(attributes, "}outline-level"), _MAX_HEADING_LEVEL)

    def _start_block(self, name: str, attributes: Mapping[str, str]) -> None:
        if name == "list":
            self._builder.start_list()
        elif name == "list-item":
            self._builder.start_item()
        elif name == "table":
            self._table_depth += 1
        elif self._table_depth != 1:  # a table in a cell: its words are words of the cell
            return
        elif name == "table-row":
            self._builder.start_row(is_layout=False)
        elif name in {"table-cell", "covered-table-cell"}:
            self._cell_repeats = min(_count(attributes, "}number-columns-repeated"), _MAX_REPEATED_CELLS)
            self._builder.start_cell()

    def _end_block(self, name: str) -> None:
        if name == "list":
            self._builder.end_list()
        elif name == "list-item":
            self._builder.end_item()
        elif name == "table":
            self._table_depth -= 1
        elif self._table_depth != 1:
            return
        elif name == "table-row":
            self._builder.end_row()
        elif name in {"table-cell", "covered-table-cell"}:
            self._builder.end_cell(self._cell_repeats)

    def _start(self, name: str, attributes: Mapping[str, str]) -> None:
        if self._skipped_depth or self.is_left_out(name, attributes):
            self._skipped_depth += 1
        else:
            self.start_element(name, attributes)

    def _end(self, name: str) -> None:
        if self._skipped_depth:
            self._skipped_depth -= 1
        else:
            self.end_element(name)

    def _add_text(self, words: str) -> None:
        if self._paragraphs and not self._skipped_depth:
            self._paragraphs[-1].append(words)

    def _add_notes(self) -> None:
        for note in self._notes:
            self._builder.add_text(note)
            self._builder.end_block()
        self._notes.clear()


class _SlideReader(_TextReader):
    """Reads the slides of a presentation."""

    def __init__(self) -> None:
        super().__init__()
        self.slides: list[Section] = []
        self._title: list[str] = []
        self._frame_classes: list[str] = []
        self._body = ""
        """The text of the slide, when its notes are read."""
        self._page = 0

    def is_left_out(self, name: str, attributes: Mapping[str, str]) -> bool:
        """Whether an element is not read."""
        return super().is_left_out(name, attributes) or _get(attributes, "presentation:1.0}class") in _PLACEHOLDERS

    def start_element(self, name: str, attributes: Mapping[str, str]) -> None:
        """Read the beginning of an element."""
        if name == "page":
            self._page += 1
            self._title, self._body = [], ""
        elif name == "notes":
            self._body = self._take_text()
        elif name in {"frame", "custom-shape"}:
            self._frame_classes.append(_get(attributes, "presentation:1.0}class"))
        else:
            super().start_element(name, attributes)

    def end_element(self, name: str) -> None:
        """Read the end of an element."""
        if name == "page":
            self._end_slide(self._body or self._take_text())
        elif name == "notes":
            notes = self._take_text()
            if notes:
                self._body = "\n\n".join(filter(None, [self._body, f"Notes: {notes}"]))
        elif name in {"frame", "custom-shape"}:
            self._frame_classes.pop()
        else:
            super().end_element(name)

    def end_paragraph(self, words: str, level: int) -> None:
        """Read the end of a paragraph; those of the title are no part of the text below it."""
        del level
        if self._frame_classes[-1:] == ["title"]:
            self._title.append(words)
        else:
            super().end_paragraph(words, 0)

    def _end_slide(self, body: str) -> None:
        title = " ".join(" ".join(self._title).split())
        text = "\n\n".join(filter(None, [f"# {title}" if title else "", body]))
        self.slides.append(Section(text, (title,) if title else (), self._page))

    def _take_text(self) -> str:
        text = "\n\n".join(section.text for section in self.finish())
        self._builder = SectionBuilder("")
        return text


def _get(attributes: Mapping[str, str], ending: str) -> str:
    """Return the value of the attribute whose name, after its namespace, ends so; "" if there is none."""
    return next((value for name, value in attributes.items() if name.endswith(ending)), "") if attributes else ""


def _count(attributes: Mapping[str, str], ending: str) -> int:
    """Return the number that an attribute has, 1 if it has none."""
    number = _get(attributes, ending)
    return max(1, int(number)) if number.isascii() and number.isdecimal() and len(number) < 5 else 1  # noqa: PLR2004 (digits)
