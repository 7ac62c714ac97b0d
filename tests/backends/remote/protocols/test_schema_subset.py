"""Schemas with the keywords that a server accepts."""

from __future__ import annotations

from llmcli.backends.remote.protocols.wire_protocol import openapi_schema, restrict_schema

SCHEMA = {
    "type": "object",
    "properties": {
        "minimum": {"type": "integer", "minimum": 1},  # a key that is called as a keyword is no keyword
        "kind": {"oneOf": [{"const": "a"}, {"type": "string", "pattern": "b+"}]},
        "parts": {"type": "array", "items": {"$ref": "#/$defs/part"}, "maxItems": 3},
        "free": {"type": "object"},
    },
    "required": ["minimum"],
    "$defs": {"part": {"type": "object", "properties": {"n": {"type": "number", "multipleOf": 2}}}},
}


def test_bounds_are_left_out_and_objects_are_closed():
    """At every level; an object without named keys stays open, since it would have none otherwise."""
    assert restrict_schema(SCHEMA) == {
        "type": "object",
        "properties": {
            "minimum": {"type": "integer"},
            "kind": {"anyOf": [{"const": "a"}, {"type": "string"}]},
            "parts": {"type": "array", "items": {"$ref": "#/$defs/part"}},
            "free": {"type": "object"},
        },
        "required": ["minimum"],
        "$defs": {"part": {"type": "object", "properties": {"n": {"type": "number"}}, "additionalProperties": False}},
        "additionalProperties": False,
    }


def test_only_keywords_of_openapi_are_kept():
    """A constant is an enumeration of one, and a reference is left open."""
    assert openapi_schema(SCHEMA) == {
        "type": "object",
        "properties": {
            "minimum": {"type": "integer", "minimum": 1},
            "kind": {"anyOf": [{"enum": ["a"]}, {"type": "string", "pattern": "b+"}]},
            "parts": {"type": "array", "items": {}, "maxItems": 3},
            "free": {"type": "object"},
        },
        "required": ["minimum"],
    }


def test_a_schema_that_nests_without_end_is_cut():
    """Deeper than 64 levels it is passed on as it is."""
    schema = {"type": "integer", "minimum": 1}
    for _ in range(100):
        schema = {"type": "array", "items": schema, "minItems": 1}
    assert "minimum" in str(restrict_schema(schema)) and "minItems" not in restrict_schema(schema)
