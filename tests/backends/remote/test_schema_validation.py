"""The errors of a value according to its schema."""

from __future__ import annotations

import pytest

from llmcli.backends.remote.schema_validation import iter_errors


@pytest.mark.parametrize(
    ("value", "schema", "wrong"),
    [
        (1, {"type": "integer"}, 0),
        (1.0, {"type": "integer"}, 0),
        (True, {"type": "integer"}, 1),
        (None, {"type": ["string", "null"]}, 0),
        ("b", {"enum": ["a"]}, 1),
        (1, {"const": True}, 1),
        ("ab", {"minLength": 3}, 1),
        ("ab", {"maxLength": 1, "pattern": "^x"}, 2),
        (5, {"minimum": 6, "exclusiveMaximum": 5}, 2),
        (5, {"maximum": 4, "exclusiveMinimum": 5}, 2),
        ({"a": 1}, {"required": ["b"], "additionalProperties": False}, 2),
        ({"a": {"b": []}}, {"properties": {"a": {"properties": {"b": {"minItems": 1}}}}}, 1),
        ([1, "x"], {"prefixItems": [{"type": "string"}], "items": {"type": "string"}}, 1),
        (3, {"anyOf": [{"type": "string"}, {"type": "null"}]}, 1),
        (3, {"oneOf": [{"type": "number"}, {"type": "integer"}]}, 1),
        (3, {"allOf": [{"type": "string"}]}, 1),
        ({"next": {"next": 1}}, {"type": "object", "properties": {"next": {"$ref": "#"}}}, 1),
        ({"a": "x"}, {"properties": {"a": {"$ref": "#/$defs/n"}}, "$defs": {"n": {"type": "number"}}}, 1),
        (1, {"$ref": "#"}, 1),
        (1, True, 0),
    ],
)
def test_errors_of_a_value(value, schema, wrong):
    """Each keyword reports what it requires."""
    assert len(list(iter_errors(value, schema))) == wrong
