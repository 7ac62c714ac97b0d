"""The values of a document as JSON, JSON lines or rows of CSV and TSV."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Mapping
from typing import Any

from llmcli.cli.console import json_text
from llmcli.types import Result

NAME_COLUMN = "file"
"""The first column of a table if there are several documents."""
_DELIMITERS = {"csv": ",", "tsv": "\t"}


class ValueRows:
    """Formats results as ``format_name``; ``named``: rows of tables begin with the name of the document."""

    def __init__(self, format_name: str, schema: Mapping[str, Any], *, many: bool, named: bool) -> None:
        self._format_name = format_name
        self._many = many
        self._named = named
        self._columns = list(schema.get("properties", {}))
        self._has_header = False

    def format(self, result: Result) -> str | None:
        """Return the lines of a result without the last line end; None for none."""
        values = result.fields["values"]
        if self._format_name in _DELIMITERS:
            return self._format_table(result.name, values if self._many else [values])
        if self._format_name == "json":
            return json.dumps(values, ensure_ascii=False, indent=2)
        return "\n".join(map(json_text.dumps, values)) or None if self._many else json_text.dumps(values)

    def _format_table(self, name: str, objects: list[dict[str, Any]]) -> str | None:
        out = io.StringIO()
        writer = csv.writer(out, delimiter=_DELIMITERS[self._format_name], lineterminator="\n")
        if not self._has_header:
            self._has_header = True
            writer.writerow([*([NAME_COLUMN] if self._named else []), *self._columns])
        for each in objects:
            writer.writerow([*([name] if self._named else []), *(_cell(each.get(column)) for column in self._columns)])
        return out.getvalue().removesuffix("\n") or None


def _cell(value: Any) -> Any:
    """Return a value for a cell: lists and objects as JSON, null as nothing."""
    if value is None:
        return ""
    return json.dumps(value, ensure_ascii=False) if isinstance(value, list | dict | bool) else value
