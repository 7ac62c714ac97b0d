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
_NOUN_TYPES = frozenset({"number", "date"})
"""Types that end many names ("order number"), so that they stand in brackets."""
_TYPE_IN_BRACKETS = re.compile(r"([^()]*?) ?\(([^()]*)\)")
_MIN_TYPE_SIMILARITY = 0.8
"""Of an unknown type to the type that an error suggests."""


@frozen
class SchemaField:
    """A field of the short form; ``kind`` is one of ``FIELD_TYPES``, ``description`` is "" without one."""

    name: str
    kind: str = "text"
    description: str = ""


def parse_shorthand(text: str) -> list[SchemaField]:
    """Return the fields of a short form such as ``name, age int, due (date): when to pay``.

    Fields are separated by commas, or stand in a line each, so that a description may hold commas. A field is a name, a
    type (``text`` without one) and a description after a colon. A type stands in brackets, or bare if it is none of
    ``_NOUN_TYPES``. Raises ``UsageError``; for a part after a description that is no field, its advice shows the fields
    in a line each.
    """
    lines = text.strip().splitlines()
    is_separated = len(lines) < 2  # noqa: PLR2004 (lines)
    parts = [part.strip().removesuffix(",") for part in (text.split(",") if is_separated else lines) if part.strip()]
    fields: list[SchemaField] = []
    for index, part in enumerate(parts):
        try:
            fields.append(_parse_field(part))
            _check_last_name(fields)
        except UsageError as error:
            described = next((before for before in reversed(range(index)) if ":" in parts[before]), None)
            if not is_separated or described is None:
                raise
            reasons = [error.detail] if error.detail else []
            reasons.append("If the comma belongs to the description before it, write each field on its own line:")
            form = (f"  {line}" for line in _lines_with_comma(parts, described, index))
            raise UsageError(
                error.subject,
                detail=error.detail,
                message="{subject}",
                advice=(". ".join(reasons), *form),
                type_name="CommaInDescription",
            ) from error
    if not fields:
        raise UsageError("the schema names no field", detail=_advice())
    if len(fields) > MAX_FIELDS:
        raise UsageError(f"the schema has {len(fields)} fields, more than {MAX_FIELDS}")
    return fields


def _check_last_name(fields: Sequence[SchemaField]) -> None:
    if any(field.name == fields[-1].name for field in fields[:-1]):
        raise UsageError(f"the schema names the field {fields[-1].name!r} twice")


def _lines_with_comma(parts: Sequence[str], described: int, index: int) -> list[str]:
    """Return the fields of ``parts``, one a line, if the parts ``described`` to ``index`` are one field.

    The parts after them that are no fields belong to it as well.
    """
    end = index + 1
    while end < len(parts) and not _is_field(parts[end]):
        end += 1
    return [*parts[:described], ", ".join(parts[described:end]), *parts[end:]]


def _is_field(part: str) -> bool:
    try:
        _parse_field(part)
    except UsageError:
        return False
    return True


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
    declared, description = " ".join(declared.split()), " ".join(description.split())
    in_brackets = _TYPE_IN_BRACKETS.fullmatch(declared)
    if in_brackets:
        name, written = in_brackets.groups()
    else:
        name, _, written = declared.rpartition(" ")
    if not name and not in_brackets:
        name, written = declared, "text"
    kind = written.lower()
    kind = _OTHER_NAMES.get(kind, kind)
    if kind in _SCHEMAS and _NAME.fullmatch(name) and (in_brackets or written.lower() not in _NOUN_TYPES):
        return SchemaField(name, kind, description)
    raise _refuse_field(text, declared, name, written, in_brackets=in_brackets is not None)


def _refuse_field(text: str, declared: str, name: str, written: str, *, in_brackets: bool) -> UsageError:
    """Return the error of a field that is not a name and a type; it shows the forms that may be meant."""
    import difflib

    as_name, whole = _as_name(name), _as_name(declared)
    if "," in declared:
        return UsageError(
            f"the schema has no field of this form: {text!r}", detail="Write each field on a line of its own"
        )
    if not as_name or not whole:
        return UsageError(f"the schema has no field of this form: {text!r}", detail=_advice())
    kind = written.lower()
    if kind in _SCHEMAS or kind in _OTHER_NAMES:
        if kind in _NOUN_TYPES and not in_brackets:
            return UsageError(
                f"{declared!r} in the schema may be a name, or a name and a type",
                detail=f"Write {whole} (a name), or {as_name} ({kind}) (with the type {kind})",
            )
        typed = f"{as_name} ({kind})" if in_brackets else f"{as_name} {written}"
        return UsageError(
            f"the schema has no field of this form: {text!r}", detail=f"Write a name as one word: {typed}"
        )
    near = difflib.get_close_matches(kind, [*_SCHEMAS, *_OTHER_NAMES], 1, _MIN_TYPE_SIMILARITY)
    types = f"types: {', '.join(FIELD_TYPES)}"
    if in_brackets or near:
        meant = f"Did you mean {near[0]}? Write {as_name} ({near[0]})" if near else f"Write {as_name}: {written}"
        return UsageError(
            f"unknown type {written!r} of the field {name!r}", detail=f"{meant}, or {whole} for a name ({types})"
        )
    return UsageError(
        f"the schema has no field of this form: {text!r}", detail=f"Write a name as one word: {whole} ({types})"
    )


def _as_name(words: str) -> str:
    """Return words as one name, with underscores; "" if they give none."""
    name = re.sub(r"[^\w-]+", "_", words).strip("_")
    return name if _NAME.fullmatch(name) else ""


def _advice() -> str:
    return f"Write it as in: 'name, amount (number), due (date): when to pay' (types: {', '.join(FIELD_TYPES)})"
