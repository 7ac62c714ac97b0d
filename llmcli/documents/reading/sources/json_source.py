"""JSON and JSON Lines: a small file is read as it is, a large one as an overview of its structure and samples."""

from __future__ import annotations

import io
from collections.abc import Iterable, Iterator
from typing import Any

from llmcli.documents.format_registry import JSON_LINES, find_reader_by_name
from llmcli.documents.json_values import dump_value, parse_json_at
from llmcli.documents.reading.document import decode_utf8
from llmcli.documents.reading.passages import Section
from llmcli.documents.reading.sources.column_profile import ColumnProfile, RowSample, describe_columns
from llmcli.documents.reading.sources.table_source import MAX_WHOLE_CHARS
from llmcli.errors import BadDocument

MAX_JSON_CHARS = 64_000_000
"""The longest JSON file; the parser keeps all of it in memory. JSON Lines are read line by line."""
MAX_PATHS = 300
"""Paths of an overview; the rest is counted."""
_SAMPLE_CHARS = 600


def read_json(data: bytes, name: str) -> Iterator[Section | str]:
    """Yield the text of a small file, else an overview and a note. Raises ``BadDocument`` and ``NotUtf8``."""
    text, _ = decode_utf8(data, name)
    if len(text) <= MAX_WHOLE_CHARS:
        yield Section(text)
        return
    found = find_reader_by_name(name)
    yield from _describe(_values(text, by_line=found is not None and found.name == JSON_LINES))


def describe_json_lines(lines: Iterable[str]) -> Iterator[Section | str]:
    """Yield the overview of JSON Lines, and a note that says so. Raises ``BadDocument``."""
    return _describe(_parse_lines(lines))


def _describe(values: Iterator[Any]) -> Iterator[Section | str]:
    structure = _JsonStructure()
    for value in values:
        structure.add(value)
    yield Section("\n".join(structure.describe()))
    samples = len(structure.sample.rows)
    yield f"its {structure.count:,} values are given to the model as an overview with {samples} samples"


def _values(text: str, *, by_line: bool) -> Iterator[Any]:
    """Yield the items of the outermost array or of the lines, else the one value."""
    if by_line:
        yield from _parse_lines(io.StringIO(text))
        return
    if len(text) > MAX_JSON_CHARS:
        raise BadDocument(detail=f"it is longer than {MAX_JSON_CHARS:,} characters; convert it to JSON Lines")
    value = parse_json_at(text, 1)
    yield from value if isinstance(value, list) else [value]


def _parse_lines(lines: Iterable[str]) -> Iterator[Any]:
    for number, line in enumerate(lines, 1):
        if line.strip():
            yield parse_json_at(line, number)


class _JsonStructure:
    """The paths of values and what stands there; ``count`` values were added, ``sample`` holds some of them."""

    def __init__(self) -> None:
        self.count = 0
        self.sample: RowSample[str] = RowSample()
        self._profiles: dict[str, ColumnProfile] = {}
        self._more_paths = 0

    def add(self, value: Any) -> None:
        """Add an item of the outermost array, or the only value."""
        self.count += 1
        self.sample.add(self.count, dump_value(value)[: _SAMPLE_CHARS + 1])
        open_values: list[tuple[str, Any]] = [("", value)]
        while open_values:
            path, each = open_values.pop()
            if isinstance(each, dict):
                self._count(path, f"{{{len(each)} keys}}", "object")
                open_values += reversed([(f"{path}.{key}" if path else str(key), below) for key, below in each.items()])
            elif isinstance(each, list):
                self._count(path, f"[{len(each)} items]", "array")
                open_values += reversed([(f"{path}[]", below) for below in each])
            else:
                self._count(path, *_scalar(each))

    def _count(self, path: str, value: str, kind: str) -> None:
        profile = self._profiles.get(path)
        if profile is None:
            if len(self._profiles) == MAX_PATHS:
                self._more_paths += 1
                return
            profile = self._profiles[path] = ColumnProfile()
        profile.add(value, kind)

    def describe(self) -> Iterator[str]:
        """Yield the lines of the overview."""
        yield f"Overview of {self.count:,} JSON values."
        yield ""
        yield from describe_columns((path or "(value)", profile) for path, profile in self._profiles.items())
        if self._more_paths:
            yield f"{self._more_paths:,} values at other paths are not listed."
        yield ""
        yield f"{len(self.sample.rows)} of the {self.count:,} values:"
        yield ""
        for number, text in self.sample.rows:
            cut = f"{text[:_SAMPLE_CHARS]}..." if len(text) > _SAMPLE_CHARS else text
            yield f"{number}: {cut}"


def _scalar(value: Any) -> tuple[str, str]:
    if value is None:
        return "", ""
    if isinstance(value, bool):
        return str(value).lower(), "boolean"
    if isinstance(value, int | float):
        return str(value), "number"
    return value, ""
