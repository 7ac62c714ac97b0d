"""The Lark grammar of the values that one passage can give: texts, numbers and dates that stand in it, as JSON.

The format is that of llguidance (see ``quote_grammar``). White space is fixed, lists and texts are bounded, and each
single value may be null.
"""

from __future__ import annotations

import functools
import json
import re
from collections.abc import Sequence
from typing import Any

from llmcli.schema_validation import SchemaValidator
from llmcli.tasks.extract.value_candidates import Candidate
from llmcli.tasks.extract.value_locator import EDGE_MARKS, LAST_MARKS, VALUE_WORD, ValueLocator
from llmcli.tasks.extract.value_schema import LeafKind, LeafNode, ListNode, ObjectNode, ValueNode
from llmcli.tasks.quotes.quote_grammar import chunks_terminal, split_chunks

MAX_TEXT_CHARACTERS = 400
MAX_ITEMS = 32
"""Items of a list from one passage."""
MAX_OBJECTS = 48
_OBJECTS_OF_SHORT_TEXT = 4
"""So many may be in a text of any length, such as a message of a record."""
"""Objects from one passage."""
MIN_CHARACTERS_PER_OBJECT = 12
_CHUNKS = "PASSAGE"


def values_grammar(node: ObjectNode, locator: ValueLocator, *, many: bool) -> str:
    """Return the grammar of the values of ``node`` from a passage; ``many``: a list of objects."""
    return _GrammarWriter(locator).write(node, many=many)


def max_objects(passage: str) -> int:
    """Return the most objects that an answer about a passage may list."""
    return max(_OBJECTS_OF_SHORT_TEXT, min(MAX_OBJECTS, len(passage) // MIN_CHARACTERS_PER_OBJECT))


class _GrammarWriter:
    """Writes one grammar; terminals of equal definitions are shared."""

    def __init__(self, locator: ValueLocator) -> None:
        self._locator = locator
        self._terminals: dict[str, str] = {}  # definition -> name
        self._chunks = [
            chunk if chunk == "\n" else json.dumps(chunk, ensure_ascii=False)[1:-1]
            for chunk in split_chunks(locator.passage.text, VALUE_WORD)
        ]

    def write(self, node: ObjectNode, *, many: bool) -> str:
        """Return the grammar."""
        value = self._object(node)
        if many:
            most = max_objects(self._locator.passage.text)
            value = f'"[]" | "[" object (", " object){{0,{most - 1}}} "]"\nobject: {value}'
        lines = [f"start: {value}", *(f"{name}: {definition}" for definition, name in self._terminals.items())]
        return "\n".join(lines) + "\n" + (chunks_terminal(_CHUNKS, self._chunks) if self._chunks else "")

    def _value(self, node: ValueNode) -> str:
        if isinstance(node, ObjectNode):
            return self._object(node)
        if isinstance(node, ListNode):
            return self._list(node)
        value = self._leaf(node)
        return '"null"' if value is None else f'("null" | {value})'

    def _object(self, node: ObjectNode) -> str:
        parts = []
        for number, each in enumerate(node.properties):
            key = ("{" if not number else ", ") + json.dumps(each.name, ensure_ascii=False) + ": "
            parts += [json.dumps(key, ensure_ascii=False), self._value(each.node)]
        return " ".join([*parts, '"}"'])

    def _list(self, node: ListNode) -> str:
        item = self._leaf(node.item) if isinstance(node.item, LeafNode) else f"({self._value(node.item)})"
        most = MAX_ITEMS if node.max_items is None else min(node.max_items, MAX_ITEMS)
        if item is None or not most:
            return '"[]"'
        return f'("[]" | "[" {item} (", " {item}){{0,{most - 1}}} "]")'

    def _leaf(self, node: LeafNode) -> str | None:
        """Return the values of a leaf other than null; None if the passage has none."""
        if node.kind is LeafKind.TEXT:
            return self._text(node) if self._chunks else None
        if node.kind is LeafKind.BOOLEAN:
            return '("true" | "false")'
        if node.kind is LeafKind.CHOICE:
            return self._alternatives([json.dumps(each, ensure_ascii=False) for each in node.choices])
        candidates = self._locator.dates if node.kind is LeafKind.DATE else self._locator.numbers
        return self._alternatives(allowed_forms(node, candidates))

    def _text(self, node: LeafNode) -> str:
        longest = min(node.schema.get("maxLength", MAX_TEXT_CHARACTERS), MAX_TEXT_CHARACTERS)
        span = rf"/[^\s{EDGE_MARKS}]([^\n]{{0,{max(0, longest - 2)}}}[^\s{LAST_MARKS}])?/"
        pattern = node.schema.get("pattern")
        limits = f" & {_whole_pattern(pattern)}" if pattern else ""
        return f'"\\"" {self._terminal(f"{_CHUNKS} & {span}{limits}")} "\\""'

    def _alternatives(self, forms: Sequence[str]) -> str | None:
        if not forms:
            return None
        return self._terminal(" | ".join(json.dumps(form, ensure_ascii=False) for form in dict.fromkeys(forms)))

    def _terminal(self, definition: str) -> str:
        return self._terminals.setdefault(definition, f"VALUE_{len(self._terminals)}")


def allowed_forms(node: LeafNode, candidates: Sequence[Candidate]) -> list[str]:
    """Return the forms of those candidates that the schema of a leaf allows."""
    if node.kind is LeafKind.DATE:
        return [form for each in candidates for form in each.forms]
    validator = _validator(json.dumps(node.schema, sort_keys=True))
    return [
        form
        for each in candidates
        if not any(validator.iter_errors(read_number(node, each)))
        for form in each.forms
        if node.kind is LeafKind.NUMBER or form.lstrip("-").isdigit()
    ]


@functools.lru_cache(maxsize=256)
def _validator(schema: str) -> SchemaValidator:
    return SchemaValidator(json.loads(schema))


def read_number(node: LeafNode, candidate: Candidate) -> Any:
    """Return the number of a candidate as the leaf wants it: whole if it can be."""
    value = candidate.value
    return int(value) if node.kind is LeafKind.INTEGER and isinstance(value, float) and value.is_integer() else value


def _whole_pattern(pattern: str) -> str:
    """Return a regular expression of the whole texts in which a schema's pattern is found."""
    start, end = ("" if pattern.startswith("^") else r"[^\n]*"), ("" if pattern.endswith("$") else r"[^\n]*")
    inner = pattern.removeprefix("^").removesuffix("$")
    return (
        "/"
        + start
        + "("
        + re.sub(r"\\.|/", lambda found: found[0] if found[0] != "/" else r"\/", inner)
        + ")"
        + end
        + "/"
    )
