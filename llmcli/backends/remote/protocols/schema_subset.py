"""JSON schemas for servers that accept only some of the keywords.

What is left out here is still checked in the answer (``schema_validation``).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

_BOUNDS = frozenset(
    {
        "exclusiveMaximum",
        "exclusiveMinimum",
        "maxItems",
        "maxLength",
        "maxProperties",
        "maximum",
        "minItems",
        "minLength",
        "minProperties",
        "minimum",
        "multipleOf",
        "pattern",
        "uniqueItems",
    }
)
"""Keywords that Anthropic's structured outputs refuse."""
_OPENAPI_KEYWORDS = frozenset(
    {
        "anyOf",
        "description",
        "enum",
        "format",
        "items",
        "maxItems",
        "maxLength",
        "maximum",
        "minItems",
        "minLength",
        "minimum",
        "nullable",
        "pattern",
        "properties",
        "required",
        "title",
        "type",
    }
)
"""Keywords of the OpenAPI schema that Gemini's ``responseSchema`` takes."""
_SCHEMAS_BY_NAME = frozenset({"properties", "$defs", "definitions"})
_SCHEMA_LISTS = frozenset({"anyOf", "allOf", "prefixItems"})
_MAX_DEPTH_LEVELS = 64


def restrict_schema(schema: Mapping[str, Any]) -> dict[str, Any]:
    """Return a schema without bounds, in which objects with named keys have no others."""
    return _rewrite(schema, _drop_bounds)


def openapi_schema(schema: Mapping[str, Any]) -> dict[str, Any]:
    """Return a schema with the keywords of OpenAPI 3.0 alone; what a reference points to is not enforced."""
    return _rewrite(schema, _keep_openapi)


def _drop_bounds(schema: Mapping[str, Any]) -> dict[str, Any]:
    kept = {("anyOf" if name == "oneOf" else name): value for name, value in schema.items() if name not in _BOUNDS}
    if "properties" in kept and kept.get("additionalProperties", True) is True:
        kept["additionalProperties"] = False
    return kept


def _keep_openapi(schema: Mapping[str, Any]) -> dict[str, Any]:
    kept = {name: value for name, value in schema.items() if name in _OPENAPI_KEYWORDS}
    if "oneOf" in schema:
        kept["anyOf"] = schema["oneOf"]
    if "const" in schema:
        kept["enum"] = [schema["const"]]
    return kept


def _rewrite(
    schema: Mapping[str, Any], keep: Callable[[Mapping[str, Any]], dict[str, Any]], depth: int = 0
) -> dict[str, Any]:
    """Return ``schema`` and all schemas in it as ``keep`` changes them."""

    def inner(value: Any) -> Any:
        return _rewrite(value, keep, depth + 1) if isinstance(value, Mapping) and depth < _MAX_DEPTH_LEVELS else value

    kept = keep(schema)
    for name, value in kept.items():
        if name in _SCHEMAS_BY_NAME and isinstance(value, Mapping):
            kept[name] = {key: inner(part) for key, part in value.items()}
        elif name in _SCHEMA_LISTS and isinstance(value, list):
            kept[name] = [inner(part) for part in value]
        elif name in {"items", "additionalProperties"}:
            kept[name] = inner(value)
    return kept
