"""One record of an input, and the columns that an input has."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from llmcli.errors import LlmError
from llmcli.fast_dataclass import field, frozen, slotted

TEXT_COLUMN = "text"
"""The column of an input of plain lines, and the default text column of tables."""
ColumnType = type | list["ColumnType"] | dict[str, "ColumnType"]
"""The Python type of a column's values: ``str``, ``float``, ``int``, ``bool``, ``list`` for a vector of floats, a list
with the type of its items, or a dictionary with those of its fields; ``object`` leaves it to the values."""


@slotted
class Record:
    """One record.

    ``index`` counts the records of a job from 0; ``line`` is the line where the record begins, from 1 (in a Parquet
    file, the row); ``file`` names the input if there are several. ``fields`` maps the columns to values, in order;
    ``text`` is the text that a verb works on. ``raw`` holds the bytes of the record as they were read. ``error``: the
    record is malformed, and ``fields`` holds what could be read. ``digest`` identifies the record and all before it.
    ``carried``: the record needs no work, since these bytes are its row of an earlier run. ``repeated_names``: the keys
    that occur more than once in an object of its JSON; ``fields`` has the last value of each. ``input_index``: where a
    shard numbers its records anew, the index in the whole input. ``notes``: what was left out when it was read.
    """

    index: int
    text: str
    line: int
    file: str = ""
    fields: Mapping[str, Any] = field(default_factory=dict)
    raw: bytes = b""
    error: LlmError | None = None
    digest: bytes = b""
    carried: bytes | None = None
    repeated_names: tuple[str, ...] = ()
    input_index: int = 0
    notes: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """The name of the record in messages: "line 3", or "notes.csv, line 3"."""
        return f"{self.file}, line {self.line}" if self.file else f"line {self.line}"

    @property
    def position(self) -> dict[str, Any]:
        """The fields of a result that say where its record is: ``line``, and ``file`` if there are several inputs."""
        return {"file": self.file, "line": self.line} if self.file else {"line": self.line}


@frozen
class RecordSchema:
    """The structure of an input: its format, its columns (for JSON Lines, those of the first record) and its dialect.

    ``delimiter`` and ``line_end`` are those of a delimited file. ``arrow_schema`` is a ``pyarrow.Schema``, None for
    other formats. ``renamed``: columns that got another name, since theirs was empty or a duplicate.
    """

    format: str
    columns: tuple[str, ...]
    delimiter: str = ","
    line_end: str = "\n"
    arrow_schema: Any = None
    renamed: tuple[str, ...] = ()


class Row:
    """The columns of a record for templates: ``row.title`` and ``row["title"]`` are the value of the column.

    It has no public attributes, so that a column may have any name. A mapping inside a field stays a mapping.
    """

    __slots__ = ("_fields",)

    def __init__(self, fields: Mapping[str, Any]) -> None:
        self._fields = fields

    def __getitem__(self, name: str) -> Any:
        return self._fields[name]

    def __iter__(self) -> Any:
        return iter(self._fields)

    def __len__(self) -> int:
        return len(self._fields)

    def __str__(self) -> str:
        return ", ".join(f"{name}: {value}" for name, value in self._fields.items())


def find_field(fields: Mapping[str, Any], path: str) -> Any:
    """Return the value of a column, or of a field inside it: ``a.b``; a number is a position in a list.

    Raises ``KeyError`` when there is none.
    """
    if path in fields:
        return fields[path]
    value: Any = fields
    for step in path.split("."):
        if isinstance(value, Mapping) and step in value:
            value = value[step]
        elif isinstance(value, list) and step.isdecimal() and int(step) < len(value):
            value = value[int(step)]
        else:
            raise KeyError(path)
    return value


def value_as_text(value: Any) -> str:
    """Return a value as a text: None, NaN and infinities are "", as JSON has null for them; structures are JSON."""
    if isinstance(value, str):
        return value
    if value is None or (type(value) is float and not math.isfinite(value)):  # 1e400 keeps its spelling
        return ""
    if isinstance(value, bool | dict | list):
        from llmcli.documents.json_values import dump_value

        return dump_value(value)
    return str(value)
