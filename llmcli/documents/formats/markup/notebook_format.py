"""Jupyter notebooks: the Markdown cells; code, outputs, raw cells and metadata are never touched.

The strings of a cell are joined to its Markdown, whose segments are mapped back to the JSON. Where the lines of a
segment are strings of their own, so are those of its translation, with the same text between them. Source: "The
Notebook file format" (nbformat 3 and 4).
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Callable, Iterator
from functools import partial
from itertools import accumulate

from llmcli.documents.formats.document_format import DocumentFormat, line_lead
from llmcli.documents.formats.markup import markdown_format
from llmcli.documents.formats.message_files import json_messages
from llmcli.documents.formats.message_files.json_messages import (
    OffsetMap,
    StringValue,
    encode_string,
    escapes_non_ascii,
    map_offsets,
    parse_strings,
)
from llmcli.documents.segments import Segment
from llmcli.errors import BadDocument
from llmcli.fast_dataclass import field, replace, slotted

_TRANSLATED_CELLS = frozenset({"markdown", "heading"})
"""Types of cells; those with a heading alone are of nbformat 3."""
_CELLS = re.compile(r'"(?:cells|worksheets)"\s*+:\s*+\[')
_LINE = re.compile(r"[^\n]*\n|[^\n]+")
_SURROGATE = re.compile("[\ud800-\udfff]")
_FRONT = "\n"
"""An empty line before a cell: Jupyter knows no front matter, so that lines between "---" are a heading's."""


@slotted
class _Cell:
    """A cell: its type, and the strings of its source in order."""

    kind: str = ""
    strings: list[StringValue] = field(default_factory=list)


class NotebookFormat(DocumentFormat):
    """Jupyter notebooks."""

    name = "notebook"
    can_interleave = False

    def split(self, text: str, target: str) -> list[Segment]:
        """Return the segments of the Markdown cells; the headings of earlier cells are above them."""
        if not text.strip("\ufeff \t\r\n"):
            return []
        cells = _read_cells(text)
        if not _CELLS.search(text):
            raise BadDocument(line=1, detail="a notebook has cells")
        ascii_only = escapes_non_ascii(text)
        headings: list[tuple[int, str]] = []
        found: list[Segment] = []
        for cell in cells:
            if cell.kind in _TRANSLATED_CELLS:
                found += _cell_segments(_CellSource(text, cell.strings, ascii_only=ascii_only), headings, target)
        return found

    def check(self, text: str) -> str:
        """Check that it is JSON with cells."""
        problem = json_messages.FORMAT.check(text)
        if problem or not text.strip("\ufeff \t\r\n") or _CELLS.search(text):
            return problem
        return "line 1: a notebook has cells"


def _read_cells(text: str) -> list[_Cell]:
    """Return the cells in order. Raises ``BadDocument`` for invalid JSON."""
    cells: dict[tuple[str, ...], _Cell] = {}
    for string in parse_strings(text):
        path = string.path
        depth = 4 if path[:1] == ("worksheets",) else 2
        if len(path) not in {depth + 1, depth + 2} or path[depth - 2] != "cells":
            continue
        cell = cells.setdefault(path[:depth], _Cell())
        if path[depth:] == ("cell_type",):
            cell.kind = string.text
        elif path[depth] == "source":
            if path[depth + 1 :] in {(), ("0",)}:  # of equal names in an object, the last one counts
                cell.strings.clear()
            cell.strings.append(string)
    return list(cells.values())


class _CellSource:
    """The Markdown of a cell, and where its characters are in the document."""

    def __init__(self, text: str, strings: list[StringValue], *, ascii_only: bool) -> None:
        self._text = text
        self._strings = [string for string in strings if string.text]
        self._starts = list(accumulate((len(string.text) for string in self._strings), initial=0))
        self._maps: dict[int, OffsetMap] = {}
        self._ascii_only = ascii_only
        self.markdown = "".join(string.text for string in self._strings)

    def place(self, segment: Segment) -> Segment:
        """Return a segment of the Markdown as one of the document."""
        first, last = self._string_at(segment.start), self._string_at(segment.end - 1)
        start = self._offset_map(first)(segment.start - self._starts[first])
        end = self._offset_map(last)(segment.end - self._starts[last])
        between = self._text[self._strings[first].end : self._strings[first + 1].start] if last > first else ""
        encode = partial(
            _encode,
            encode=segment.encode,
            markdown=self.markdown[segment.start : segment.end],
            written=self._text[start:end],
            between=between,
            ascii_only=self._ascii_only,
        )
        return replace(segment, start=start, end=end, encode=encode)

    def _string_at(self, offset: int) -> int:
        return bisect_right(self._starts, offset) - 1

    def _offset_map(self, index: int) -> OffsetMap:
        if index not in self._maps:
            self._maps[index] = map_offsets(self._text, self._strings[index])
        return self._maps[index]


def _cell_segments(source: _CellSource, headings: list[tuple[int, str]], target: str) -> Iterator[Segment]:
    """Yield the segments of a cell; ``headings`` are those above it, with their levels, and get its own."""
    if _SURROGATE.search(source.markdown):
        return
    markdown = _FRONT + source.markdown
    for segment in markdown_format.FORMAT.split(markdown, target):
        path = tuple(words for _, words in headings)
        yield source.place(
            replace(segment, start=segment.start - len(_FRONT), end=segment.end - len(_FRONT), path=path)
        )
        if segment.kind == "heading":
            level = line_lead(markdown, segment).count("#") or 1
            headings[:] = [*(above for above in headings if above[0] < level), (level, segment.text)]


def _encode(
    translation: str, *, encode: Callable[[str], str], markdown: str, written: str, between: str, ascii_only: bool
) -> str:
    """Return the JSON of a translation: ``between`` its lines stands what ends and begins their strings."""
    done = encode(translation)
    if done == markdown:
        return written
    lines = _LINE.findall(done) if between else [done]
    return between.join(encode_string(line, ascii_only=ascii_only, written=written) for line in lines)


FORMAT = NotebookFormat()
