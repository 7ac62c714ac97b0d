"""The short form of a schema: ``name, age int, tags list``."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from llmcli.errors import UsageError
from llmcli.frozen_dataclass import frozen

MAX_FIELDS = 100
MAX_TEXT_CHARACTERS = 400
MAX_LIST_ITEMS = 32
NUMBER_LIMIT = 10**15
_NAME = re.compile(r"[^\W\d][\w-]{0,63}")
_TEXT: dict[str, Any] = {"type": "string", "maxLength": MAX_TEXT_CHARACTERS}
_BOUNDS = {"minimum": -NUMBER_LIMIT, "maximum": NUMBER_LIMIT}
_SCHEMAS: dict[str, dict[str, Any]] = {
    "text": _TEXT,
    "int": {"type": "integer", **_BOUNDS},
    "number": {"type": "number", **_BOUNDS},
    "bool": {"type": "boolean"},
    "date": {"type": "string", "format": "date"},
    "list": {"type": "array", "items": _TEXT, "maxItems": MAX_LIST_ITEMS},
}
_OTHER_NAMES = {"string": "text", "str": "text", "integer": "int", "float": "number", "boolean": "bool"}
FIELD_TYPES = tuple(_SCHEMAS)


@frozen
class SchemaField:
    """A field of the short form; ``kind`` is one of ``FIELD_TYPES``, ``description`` is "" without one."""

    name: str
    kind: str = "text"
    description: str = ""


def parse_shorthand(text: str) -> list[SchemaField]:
    """Return the fields of a short form such as ``name, age int, due date: when to pay``.

    Fields are separated by commas, or stand in a line each, so that a description may hold commas. A field is a name, a
    type (``text`` without one), and a description after a colon. Raises ``UsageError``.
    """
    parts = text.strip().splitlines() if "\n" in text.strip() else text.split(",")
    fields = [_parse_field(part.strip().removesuffix(",")) for part in parts if part.strip()]
    if not fields:
        raise UsageError("the schema names no field", detail=_advice())
    if len(fields) > MAX_FIELDS:
        raise UsageError(f"the schema has {len(fields)} fields, more than {MAX_FIELDS}")
    names = [field.name for field in fields]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise UsageError(f"the schema names the field {twice!r} twice")
    return fields


def shorthand_schema(fields: Sequence[SchemaField], *, nullable: bool = False) -> dict[str, Any]:
    """Return the JSON Schema of an object with all of these fields, and no other; ``nullable``: each may be null."""
    return {
        "type": "object",
        "properties": {field.name: _field_schema(field, nullable=nullable) for field in fields},
        "required": [field.name for field in fields],
        "additionalProperties": False,
    }


def _field_schema(field: SchemaField, *, nullable: bool) -> dict[str, Any]:
    schema = _SCHEMAS[field.kind]
    if nullable and field.kind != "list":  # an empty list says as much
        schema = {**schema, "type": [schema["type"], "null"]}
    return {"description": field.description, **schema} if field.description else dict(schema)


def _parse_field(text: str) -> SchemaField:
    declared, _, description = text.partition(":")
    words = declared.split()
    if not words or len(words) > 2 or not _NAME.fullmatch(words[0]):  # noqa: PLR2004 (a name and a type)
        raise UsageError(f"the schema has no field of this form: {text!r}", detail=_advice())
    kind = words[1].lower() if len(words) > 1 else "text"
    kind = _OTHER_NAMES.get(kind, kind)
    if kind not in _SCHEMAS:
        import difflib

        near = difflib.get_close_matches(kind, [*_SCHEMAS, *_OTHER_NAMES], 1)
        meant = f"Did you mean {near[0]}? " if near else ""
        raise UsageError(
            f"unknown type {words[1]!r} of the field {words[0]!r}", detail=f"{meant}Types: {', '.join(FIELD_TYPES)}"
        )
    return SchemaField(words[0], kind, " ".join(description.split()))


def _advice() -> str:
    return f"Write it as in: 'name, amount number, due date: when to pay' (types: {', '.join(FIELD_TYPES)})"
