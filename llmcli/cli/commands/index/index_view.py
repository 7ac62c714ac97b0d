"""The rows that ``llm index`` prints."""

from __future__ import annotations

import time
from collections.abc import Iterable
from typing import Any

from llmcli.cli.console.messages.message_text import format_bytes
from llmcli.store.passage_index import IndexedPassage, IndexSummary


def summary_rows(summaries: Iterable[IndexSummary], *, people: bool) -> list[dict[str, Any]]:
    """Return a row for each index, by directory; ``people``: sizes and dates are in a form for people."""
    rows = []
    for each in sorted(summaries, key=lambda summary: summary.directory):
        changed = time.strftime("%Y-%m-%d %H:%M", time.localtime(each.changed))
        rows.append(
            {
                "directory": each.directory,
                "files": each.files,
                "passages": each.passages,
                "vectors": sum(each.vectors.values()),
                "size": format_bytes(each.size) if people else each.size,
                "changed": changed,
            }
        )
    return rows


def passage_rows(passages: Iterable[IndexedPassage], *, as_json: bool) -> list[dict[str, Any]]:
    """Return a row for each passage; as JSON with its place in numbers."""
    if as_json:
        return [
            {
                "file": each.path,
                "page": each.page,
                "first_line": each.first_line,
                "last_line": each.last_line,
                "start": each.start,
                "end": each.start + len(each.text),
                "headings": list(each.headings),
                "text": each.text,
            }
            for each in passages
        ]
    return [{"file": each.source, "place": describe_place(each), "text": each.text} for each in passages]


def describe_place(passage: IndexedPassage) -> str:
    """Return "page 3", or the lines "12-30"."""
    if passage.page is not None:
        return f"page {passage.page}"
    first, last = passage.first_line, passage.last_line
    return str(first) if first == last else f"{first}-{last}"
