"""The errors of a value according to its schema."""

from __future__ import annotations

import http.server
import threading

import pytest

from llmcli.errors import InputError
from llmcli.schema_validation import MAX_DEPTH_LEVELS, SchemaValidator


def errors(value, schema) -> list[str]:
    return list(SchemaValidator(schema).iter_errors(value))


@pytest.mark.parametrize(
    ("value", "schema", "wrong"),
    [
        (1, {"type": "integer"}, 0),
        (1.0, {"type": "integer"}, 0),
        (True, {"type": "integer"}, 1),
        (None, {"type": ["string", "null"]}, 0),
        ("b", {"enum": ["a"]}, 1),
        (1, {"const": True}, 1),
        ("ab", {"maxLength": 1, "pattern": "^x"}, 2),
        (5, {"minimum": 6, "exclusiveMaximum": 5}, 2),
        ({"a": 1}, {"required": ["b"], "additionalProperties": False}, 2),
        ({"a": {"b": []}}, {"properties": {"a": {"properties": {"b": {"minItems": 1}}}}}, 1),
        ([1, "x"], {"prefixItems": [{"type": "string"}], "items": {"type": "string"}}, 1),
        ([1, 1], {"uniqueItems": True}, 1),
        (3, {"not": {"type": "number"}}, 1),
        (3, {"anyOf": [{"type": "string"}, {"type": "null"}]}, 1),
        (3, {"oneOf": [{"type": "number"}, {"type": "integer"}]}, 1),
        ({"next": {"next": 1}}, {"type": "object", "properties": {"next": {"$ref": "#"}}}, 1),
        ({"a": "x"}, {"properties": {"a": {"$ref": "#/$defs/n"}}, "$defs": {"n": {"type": "number"}}}, 1),
        ({"a": {"b": 1}}, {"$schema": "http://json-schema.org/draft-07/schema#", "dependencies": {"a": ["c"]}}, 1),
    ],
)
def test_each_keyword_is_checked(value, schema, wrong):
    """Those that no grammar can enforce too."""
    assert len(errors(value, schema)) == wrong


def test_an_error_begins_with_the_path_and_is_short():
    """It goes back to the model."""
    (error,) = errors(
        {"a": [{"b": "x" * 10_000}]}, {"properties": {"a": {"items": {"properties": {"b": {"const": 1}}}}}}
    )
    assert error.startswith("$.a[0].b: ") and len(error) < 400


@pytest.mark.parametrize(
    ("schema", "detail"),
    [
        ({"type": "nothing"}, "$.type"),
        ({"properties": {"a": {"minimum": "x"}}}, "$.properties.a.minimum"),
        ({"required": "a"}, "$.required"),
    ],
)
def test_a_schema_that_is_not_valid_is_bad_input(schema, detail):
    """The error says where."""
    with pytest.raises(InputError) as caught:
        SchemaValidator(schema)
    assert detail in caught.value.detail


@pytest.mark.parametrize("reference", ["#/$defs/none", "other.json", "file:///etc/passwd"])
def test_a_reference_to_nothing_is_bad_input(reference):
    """Whatever it refers to is not in the schema."""
    with pytest.raises(InputError) as caught:
        errors(1, {"$ref": reference})
    assert reference.removeprefix("#") in caught.value.detail


def test_a_reference_to_an_address_opens_no_connection():
    """The schema may come from elsewhere."""
    asked = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            asked.append(self.path)

    with http.server.HTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        address = f"http://127.0.0.1:{server.server_port}/schema.json"
        with pytest.raises(InputError):
            errors({"a": 1}, {"properties": {"a": {"$ref": address}}})
        with pytest.raises(InputError):
            errors({"a": 1}, {"$id": address, "properties": {"a": {"$dynamicRef": "other.json"}}})
        server.shutdown()
    assert asked == []


def nested(levels: int) -> object:
    value: object = 1
    for number in range(levels):
        value = [value] if number % 2 else {"a": value}
    return value


def test_values_are_nested_64_levels_deep_at_most():
    """Schemas may be recursive."""
    schema = {
        "$ref": "#/$defs/n",
        "$defs": {"n": {"items": {"$ref": "#/$defs/n"}, "additionalProperties": {"$ref": "#/$defs/n"}}},
    }
    assert errors(nested(MAX_DEPTH_LEVELS), schema) == []
    assert len(errors(nested(MAX_DEPTH_LEVELS + 1), schema)) == 1
    assert len(errors(nested(5000), schema)) == 1


def test_a_schema_that_refers_to_itself_without_end_is_bad_input():
    """Nothing hangs."""
    with pytest.raises(InputError):
        errors(1, {"$ref": "#"})
