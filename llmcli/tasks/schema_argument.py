"""The argument ``--schema``: the short form, a file with a JSON Schema, the schema itself, or a Python type."""

from __future__ import annotations

import contextlib
import importlib
import json
import os
import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from llmcli.errors import BadDocument, MissingExtra, UsageError
from llmcli.fast_dataclass import frozen
from llmcli.interrupt import Interrupt

PYDANTIC_EXTRA = "pydantic"
_PYTHON_TYPE = re.compile(r"([A-Za-z_]\w*(?:\.[A-Za-z_]\w*)*):([A-Za-z_]\w*(?:\.[A-Za-z_]\w*)*)")
_IMPORT_ERRORS = (ImportError, SyntaxError, NameError, AttributeError, TypeError, ValueError, OSError, LookupError)


def read_schema(argument: str, interrupt: Interrupt, *, nullable: bool = False) -> dict[str, Any]:
    """Return the JSON Schema that ``argument`` gives.

    It is ``@FILE``, or a name that ends in ".json" or holds a slash: a file with a JSON Schema; a text that begins with
    "{": a JSON Schema; ``MODULE:CLASS``: a type that pydantic knows, of a module found from the working directory too;
    else the short form (``parse_shorthand``), whose fields may be null if ``nullable``.

    Raises ``UsageError``, ``BadDocument``, ``MissingError``, ``MissingExtra``, and what reading a file raises. Whether
    the keywords of a JSON Schema are valid is not checked.
    """
    given = argument.strip()
    if given.startswith("@"):
        return _read_schema_file(given[1:], interrupt)
    if given.startswith("{"):
        return _parse_json_schema(given, "--schema")
    python_type = _PYTHON_TYPE.fullmatch(given)
    if python_type is not None:
        return _python_schema(*python_type.groups())
    if given.endswith(".json") or (os.sep in given and not any(map(str.isspace, given))):
        return _read_schema_file(given, interrupt)
    return shorthand_schema(parse_shorthand(given), nullable=nullable)


def _read_schema_file(name: str, interrupt: Interrupt) -> dict[str, Any]:
    from llmcli.documents.reading.file_reader import read_file

    if not name:
        raise UsageError("--schema @ names no file", detail="Try: --schema @schema.json")
    return _parse_json_schema(read_file(name, interrupt).text, name)


def _parse_json_schema(text: str, name: str) -> dict[str, Any]:
    try:
        schema = json.loads(text)
    except json.JSONDecodeError as error:
        raise BadDocument(name, detail=f"not valid JSON: {error.msg}", line=error.lineno, kind="schema") from error
    except RecursionError as error:
        raise BadDocument(name, detail="nested too deeply", kind="schema") from error
    if not isinstance(schema, Mapping):
        raise BadDocument(name, detail="a JSON Schema is an object", kind="schema")
    return dict(schema)


def _python_schema(module: str, name: str) -> dict[str, Any]:
    try:
        import pydantic
    except ModuleNotFoundError as error:
        raise MissingExtra("pydantic", detail=PYDANTIC_EXTRA) from error
    try:
        with _importing_from_working_directory():
            value: Any = importlib.import_module(module)
        for part in name.split("."):
            value = getattr(value, part)
        return dict(pydantic.TypeAdapter(value).json_schema())
    except (*_IMPORT_ERRORS, pydantic.errors.PydanticUserError) as error:
        reason = " ".join(f"{type(error).__name__}: {error}".split())[:300]
        raise UsageError(
            f"--schema {module}:{name} cannot be used: {reason}",
            detail="It is MODULE:CLASS, a class of an importable module; a description follows a colon and a blank.",
        ) from error


@contextlib.contextmanager
def _importing_from_working_directory() -> Iterator[None]:
    """Make modules of the working directory importable, as ``python -m`` does."""
    directory = str(Path.cwd())
    sys.path.insert(0, directory)
    try:
        yield
    finally:
        with contextlib.suppress(ValueError):  # the module has changed the path itself
            sys.path.remove(directory)


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
    """Return the JSON Schema of an object with all of these fields, and no other.

    ``nullable``: a field may be null, and lists have no limit, since a document may be long.
    """
    return {
        "type": "object",
        "properties": {field.name: _field_schema(field, nullable=nullable) for field in fields},
        "required": [field.name for field in fields],
        "additionalProperties": False,
    }


def _field_schema(field: SchemaField, *, nullable: bool) -> dict[str, Any]:
    schema = _SCHEMAS[field.kind]
    if nullable and field.kind == "list":  # an empty list says as much as null
        schema = {name: value for name, value in schema.items() if name != "maxItems"}
    elif nullable:
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
