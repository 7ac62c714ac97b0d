"""The table of record formats: their names and suffixes, and how an input's format is recognized."""

from __future__ import annotations

from importlib import import_module
from pathlib import PurePath
from typing import cast

from llmcli.documents.records.formats.record_format import RecordFormat
from llmcli.errors import UsageError
from llmcli.frozen_dataclass import frozen

LINES = "lines"
JSON_LINES = "jsonl"
_MODULES = "llmcli.documents.records.formats"
_PARQUET_MAGIC = b"PAR1"


@frozen
class _RegisteredFormat:
    """``module`` has the format as its attribute ``attribute``."""

    module: str
    attribute: str
    suffixes: tuple[str, ...]


_FORMATS: dict[str, _RegisteredFormat] = {
    LINES: _RegisteredFormat(f"{_MODULES}.plain_lines", "FORMAT", (".txt", ".log")),
    "csv": _RegisteredFormat(f"{_MODULES}.delimited", "CSV", (".csv",)),
    "tsv": _RegisteredFormat(f"{_MODULES}.delimited", "TSV", (".tsv", ".tab")),
    JSON_LINES: _RegisteredFormat(f"{_MODULES}.json_lines", "FORMAT", (".jsonl", ".ndjson")),
    "parquet": _RegisteredFormat(f"{_MODULES}.parquet", "FORMAT", (".parquet", ".pq")),
    "paragraphs": _RegisteredFormat(f"{_MODULES}.text_units", "PARAGRAPHS", ()),
    "sentences": _RegisteredFormat(f"{_MODULES}.text_units", "SENTENCES", ()),
    "document": _RegisteredFormat(f"{_MODULES}.text_units", "DOCUMENT", ()),
}


def register_record_format(name: str, module: str, attribute: str, suffixes: tuple[str, ...]) -> None:
    """Add a format. Raises ``ValueError`` if the name is taken."""
    if name in _FORMATS:
        raise ValueError(f"the record format {name} already exists")
    _FORMATS[name] = _RegisteredFormat(module, attribute, suffixes)


def unregister_record_format(name: str) -> None:
    """Remove a format."""
    del _FORMATS[name]


def record_format_names() -> list[str]:
    """Return the names of all formats."""
    return list(_FORMATS)


def load_record_format(name: str) -> RecordFormat:
    """Return the format called ``name``. Raises ``UsageError`` if there is none."""
    found = _FORMATS.get(name)
    if found is None:
        raise UsageError(f"{name} is no format of records", detail=f"Choose one of {', '.join(_FORMATS)}.")
    return cast("RecordFormat", getattr(import_module(found.module), found.attribute))


def format_by_suffix(name: str) -> str | None:
    """Return the format that a file's name shows, None if it shows none."""
    suffix = PurePath(name).suffix.lower()
    return next((known for known, each in _FORMATS.items() if suffix and suffix in each.suffixes), None)


def sniff_format(name: str, beginning: bytes, *, is_table: bool) -> str:
    """Return the format of an input by its name, or by its first bytes.

    ``is_table``: the user named a column, so that it cannot be plain lines. Without that, text is a table only if its
    first line is a JSON object: sentences contain commas too.
    """
    known = format_by_suffix(name)
    if known is not None and not (is_table and known == LINES):
        return known
    if beginning.startswith(_PARQUET_MAGIC):
        return "parquet"
    start = beginning.removeprefix(b"\xef\xbb\xbf").lstrip()
    if start.startswith(b"{"):
        return JSON_LINES
    return "csv" if is_table else LINES
