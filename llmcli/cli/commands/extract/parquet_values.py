"""The values of documents as a Parquet file: a row for each object."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from llmcli.cli.commands.extract.highlighted_page import NoValuesFound
from llmcli.cli.commands.extract.value_rows import NAME_COLUMN
from llmcli.documents.format_registry import load_record_format
from llmcli.documents.records.formats.record_format import OutputColumns
from llmcli.documents.records.record import Record, RecordSchema
from llmcli.types import Result

_TYPES: dict[str, type] = {"string": str, "integer": int, "number": float, "boolean": bool}


class ParquetValues:
    """Collects results; ``many`` and ``named`` as for ``ValueRows``. Raises ``MissingExtra`` if pyarrow is missing."""

    def __init__(self, schema: Mapping[str, Any], *, many: bool, named: bool) -> None:
        properties: Mapping[str, Any] = schema.get("properties", {})
        self._columns = [*([NAME_COLUMN] if named else []), *properties]
        types = {name: kind for name, each in properties.items() if (kind := _type_of(each)) is not None}
        added = {NAME_COLUMN: str, **types} if named else types
        self._writer = load_record_format("parquet").open_writer(
            OutputColumns(RecordSchema("extract", tuple(self._columns)), added, has_error=False)
        )
        self._many = many
        self._named = named
        self._results: list[tuple[int, str, Any]] = []

    def add(self, result: Result) -> None:
        """Add the values of a document."""
        self._results.append((result.item, result.name, result.fields["values"]))

    def render(self) -> Iterator[bytes]:
        """Yield the file in parts, its rows in the order of the documents. Raises ``NoValuesFound`` without a result."""
        if not self._results:
            raise NoValuesFound
        yield self._writer.head()
        index = 0
        for _, name, values in sorted(self._results, key=lambda each: each[0]):
            for one in values if self._many else [values]:
                found = {NAME_COLUMN: name, **one} if self._named else one
                row = {column: found.get(column) for column in self._columns}
                yield self._writer.row(Record(index, "", index + 1, fields=row), {}, "")
                index += 1
        yield self._writer.tail()


def _type_of(schema: Any) -> type | None:
    """Return the type of a column's values; None for lists, objects and mixed values, whose type is that of the first."""
    kinds = schema.get("type") if isinstance(schema, dict) else None
    names = [each for each in (kinds if isinstance(kinds, list) else [kinds]) if each != "null"]
    return _TYPES.get(str(names[0])) if len(names) == 1 else None
