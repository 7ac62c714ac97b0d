"""What stands below an answer about documents: the references of its passages, or the rows that an SQL query returned."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from llmcli.cli.console.console import Console
from llmcli.cli.console.table import render_table
from llmcli.cli.render.source_name import format_source_name
from llmcli.types import Result

_UNCITED = "The answer cites no passage. It was written from:"


def format_footer(console: Console, result: Result) -> str:
    """Return the lines, without the last line end; "" if there are none."""
    if "rows" in result.fields:
        return _format_rows(console, result)
    references = result.fields.get("references", [])
    if not references or not result.fields["answered"]:
        return ""
    cited = [each for each in references if each["cited"]]
    lines = [_format_reference(each) for each in cited or references]
    return "\n".join(["", *([] if cited else [_UNCITED]), *lines])


def _format_reference(reference: Mapping[str, Any]) -> str:
    """Return "[1] lease.pdf, page 3"; with a quote, that and its own place."""
    located = reference.get("quote", reference)
    first, last = located["first_line"], located["last_line"]
    lines = f"line {first}" if first == last else f"lines {first}-{last}"
    place = lines if located["page"] is None else f"page {located['page']}"
    quote = f': "{" ".join(reference["quote"]["text"].split())}"' if "quote" in reference else ""
    return f"[{reference['number']}] {format_source_name(reference['source'])}, {place}{quote}"


def _format_rows(console: Console, result: Result) -> str:
    """Return the rows as a list of the console: columns with a head on a terminal, tabs elsewhere."""
    columns: list[str] = []
    for name in result.fields["columns"]:
        columns.append(name if name not in columns else f"{name} ({len(columns) + 1})")
    rows = [dict(zip(columns, map(_format_value, row), strict=True)) for row in result.fields["rows"]]
    terminal = console.stdout_is_terminal
    return render_table(rows, as_json=False, terminal=terminal, columns=console.columns).removesuffix("\n")


def _format_value(value: Any) -> str:
    """Return a value as SQLite's shell shows it."""
    if value is None:
        return ""
    return f"{value:.15g}" if isinstance(value, float) else str(value)
