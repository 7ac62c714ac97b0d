"""Validation of a value against a JSON schema, for the keywords that answers need.

Source: JSON Schema 2020-12, "Validation", sections 6.1 to 6.5, and "Core", sections 8.2 and 10. Other keywords are
ignored, as the standard requires for unknown keywords.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

_TYPES: dict[str, Any] = {
    "object": dict,
    "array": list,
    "string": str,
    "boolean": bool,
    "null": type(None),
    "number": (int, float),
    "integer": int,
}
_MAX_DEPTH_LEVELS = 64


def iter_errors(value: Any, schema: Any, root: Any = None, where: str = "$", depth: int = 0) -> Iterator[str]:
    """Yield the errors in ``value``, each a short sentence that begins with a path."""
    if schema is False or depth > _MAX_DEPTH_LEVELS:
        yield f"{where} must not be present"
    if not isinstance(schema, Mapping) or depth > _MAX_DEPTH_LEVELS:
        return
    root = schema if root is None else root
    if isinstance(schema.get("$ref"), str):
        yield from iter_errors(value, _resolve_reference(schema["$ref"], root), root, where, depth + 1)
    yield from _iter_scalar_errors(value, schema, where)
    if isinstance(value, dict):
        yield from _iter_object_errors(value, schema, root, where, depth)
    if isinstance(value, list):
        yield from _iter_array_errors(value, schema, root, where, depth)
    for part in schema.get("allOf", ()):
        yield from iter_errors(value, part, root, where, depth + 1)
    for name in ("anyOf", "oneOf"):
        fitting = [part for part in schema.get(name, ()) if not any(iter_errors(value, part, root, where, depth + 1))]
        if name in schema and (not fitting or (name == "oneOf" and len(fitting) > 1)):
            yield f"{where} fits {len(fitting)} of the choices of {name}"


def _iter_scalar_errors(value: Any, schema: Mapping[str, Any], where: str) -> Iterator[str]:
    kinds = schema.get("type")
    kinds = [kinds] if isinstance(kinds, str) else kinds
    if isinstance(kinds, list) and not any(_is_of_type(value, kind) for kind in kinds):
        yield f"{where} must be of type {' or '.join(map(str, kinds))}"
    if "enum" in schema and not any(_json_equal(value, choice) for choice in schema["enum"]):
        yield f"{where} must be one of {schema['enum']}"
    if "const" in schema and not _json_equal(value, schema["const"]):
        yield f"{where} must be {schema['const']!r}"
    if isinstance(value, str):
        yield from _iter_length_errors(len(value), schema, "minLength", "maxLength", where)
        if isinstance(schema.get("pattern"), str) and not re.search(schema["pattern"], value):
            yield f"{where} must match {schema['pattern']}"
    if isinstance(value, int | float) and not isinstance(value, bool):
        yield from _iter_bound_errors(value, schema, where)


def _iter_bound_errors(value: float, schema: Mapping[str, Any], where: str) -> Iterator[str]:
    if "minimum" in schema and value < schema["minimum"]:
        yield f"{where} must be {schema['minimum']} or more"
    if "maximum" in schema and value > schema["maximum"]:
        yield f"{where} must be {schema['maximum']} or less"
    if "exclusiveMinimum" in schema and value <= schema["exclusiveMinimum"]:
        yield f"{where} must be more than {schema['exclusiveMinimum']}"
    if "exclusiveMaximum" in schema and value >= schema["exclusiveMaximum"]:
        yield f"{where} must be less than {schema['exclusiveMaximum']}"


def _iter_length_errors(length: int, schema: Mapping[str, Any], least: str, most: str, where: str) -> Iterator[str]:
    if length < schema.get(least, 0):
        yield f"{where} must have {schema[least]} or more items"
    if most in schema and length > schema[most]:
        yield f"{where} must have {schema[most]} or fewer items"


def _iter_object_errors(
    value: dict[str, Any], schema: Mapping[str, Any], root: Any, where: str, depth: int
) -> Iterator[str]:
    known = schema.get("properties", {})
    yield from (f"{where}.{name} is missing" for name in schema.get("required", ()) if name not in value)
    for name, item in value.items():
        rule = known.get(name, schema.get("additionalProperties", True))
        yield from iter_errors(item, rule, root, f"{where}.{name}", depth + 1)


def _iter_array_errors(value: list[Any], schema: Mapping[str, Any], root: Any, where: str, depth: int) -> Iterator[str]:
    yield from _iter_length_errors(len(value), schema, "minItems", "maxItems", where)
    first = schema.get("prefixItems", [])
    for number, item in enumerate(value):
        rule = first[number] if number < len(first) else schema.get("items", True)
        yield from iter_errors(item, rule, root, f"{where}[{number}]", depth + 1)


def _is_of_type(value: Any, kind: Any) -> bool:
    if isinstance(value, bool):
        return bool(kind == "boolean")
    if kind == "integer" and isinstance(value, float):
        return value.is_integer()
    return isinstance(value, _TYPES.get(kind, ()))


def _json_equal(value: Any, other: Any) -> bool:
    return value == other and isinstance(value, bool) == isinstance(other, bool)


def _resolve_reference(reference: str, root: Any) -> Any:
    """Return the schema that ``#/...`` points to; a missing one accepts everything."""
    found = root
    for step in reference.removeprefix("#").strip("/").split("/") if reference != "#" else ():
        name = step.replace("~1", "/").replace("~0", "~")
        found = found.get(name, True) if isinstance(found, Mapping) else True
    return found
