"""A page of HTML that shows documents with the values that were found in them; it has no scripts and loads nothing."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from html import escape
from itertools import pairwise
from typing import Any

from llmcli.documents.reading.document import STDIN, Document
from llmcli.tasks.quotes.quotable_text import format_line_range
from llmcli.types import Result

_HEAD = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Found values</title>
<style>
body { font: 16px/1.5 sans-serif; color: #222; background: #fff; max-width: 60em; margin: 2em auto; padding: 0 1em }
pre { white-space: pre-wrap; overflow-wrap: anywhere; border: 1px solid #ccc; padding: 1em }
mark { background: #ffe58f; border-bottom: 2px solid #ad6800; color: inherit }
table { border-collapse: collapse } th, td { text-align: left; padding: .2em 1em .2em 0; vertical-align: top }
</style>
</head>
<body>
"""
_CONTROLS = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")
"""Characters that HTML does not allow, and those that change the direction of text."""


def render_page(documents: Sequence[object], results: Sequence[Result]) -> Iterator[bytes]:
    """Yield the page in parts; ``documents`` are the inputs, by the items of the results."""
    yield _HEAD.encode()
    for result in results:
        document = documents[result.item]
        if isinstance(document, Document):
            for part in _render_document(document, result.fields["found"]):
                yield part.encode("utf-8", "replace")
    yield b"</body>\n</html>\n"


def _render_document(document: Document, found: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    name = "standard input" if document.name == STDIN else document.name
    yield f"<h2>{_escape(name)}</h2>\n<table>\n"
    yield "<tr><th>Value of</th><th>Value</th><th>Place</th><th>Probability</th></tr>\n"
    for each in found:
        value = each["value"] if isinstance(each["value"], str) else json.dumps(each["value"])
        cells = (each["path"], value, place_of(each["quote"]), _probability(each))
        yield "<tr>" + "".join(f"<td>{_escape(cell)}</td>" for cell in cells) + "</tr>\n"
    yield "</table>\n<pre>"
    yield from _mark(document.text, found)
    yield "</pre>\n"


def _mark(text: str, found: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """Yield the text with its finds marked; where finds overlap, a mark names all of them."""
    placed = [each for each in found if each["quote"] is not None]
    edges = sorted({0, len(text), *(each["quote"][end] for each in placed for end in ("start", "end"))})
    starting = sorted(placed, key=lambda each: each["quote"]["start"])
    covering: list[Mapping[str, Any]] = []
    next_find = 0
    for start, end in pairwise(edges):
        covering = [each for each in covering if each["quote"]["end"] > start]
        while next_find < len(starting) and starting[next_find]["quote"]["start"] <= start:
            covering.append(starting[next_find])
            next_find += 1
        part = _escape(text[start:end])
        title = ", ".join(f"{each['path']} {_probability(each)}".strip() for each in covering)
        yield f'<mark title="{_escape(title)}">{part}</mark>' if covering else part


def place_of(quote: Mapping[str, Any] | None) -> str:
    """Return where a quote of ``--json`` stands in its document."""
    if quote is None:
        return "not in the text"
    if quote["page"] is not None:
        return f"p. {quote['page']}"
    return format_line_range(quote["first_line"], quote["last_line"])


def _probability(found: Mapping[str, Any]) -> str:
    return "" if found["probability"] is None else f"{found['probability']:.2f}"


def _escape(text: str) -> str:
    return escape(_CONTROLS.sub("\ufffd", text))
