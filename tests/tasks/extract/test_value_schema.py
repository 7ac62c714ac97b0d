"""The JSON Schemas whose values can be copied."""

from __future__ import annotations

import pytest

from llmcli.errors.model_errors import BadGrammar
from llmcli.tasks.extract.extraction_plan import read_extraction_schema
from llmcli.tasks.extract.value_schema import LeafKind, LeafNode, ListNode, ObjectNode, read_value_schema

ITEM = {"type": "object", "properties": {"name": {"type": "string"}}, "required": ["name"]}


def object_of(**properties):
    return {"type": "object", "properties": properties}


def test_a_schema_becomes_nodes():
    """References inside it are followed, and null makes a value optional."""
    schema = object_of(
        items={"type": "array", "items": {"$ref": "#/$defs/Item"}, "maxItems": 3},
        due={"anyOf": [{"type": "string", "format": "date"}, {"type": "null"}]},
        kind={"enum": ["a", "b", None]},
        total={"type": ["number", "null"], "minimum": 0, "description": "with tax"},
    ) | {"$defs": {"Item": ITEM}, "required": ["items"], "title": "Invoice"}
    items, due, kind, total = read_value_schema(schema).properties
    assert items.required and isinstance(items.node, ListNode) and isinstance(items.node.item, ObjectNode)
    assert items.node.max_items == 3 and items.node.item.properties[0].required
    assert (due.node.kind, due.node.nullable) == (LeafKind.DATE, True)
    assert (kind.node.choices, kind.node.nullable) == (("a", "b"), True)
    assert total.node == LeafNode(LeafKind.NUMBER, {"type": "number", "minimum": 0}, True)
    assert total.description == "with tax"


@pytest.mark.parametrize(
    ("schema", "message"),
    [
        ({"type": "array", "items": ITEM}, "--many"),
        ({"type": "string"}, "not that of an object"),
        (object_of(), "without properties"),
        (object_of(x={}), "without a type"),
        (object_of(x=True), "any type"),
        (object_of(x={"type": ["string", "number"]}), "several types"),
        (object_of(x={"anyOf": [{"type": "string"}, {"type": "number"}]}), "anyOf"),
        (object_of(x={"type": "string", "contentEncoding": "x", "not": {}}), "can only be extracted with --free"),
        (object_of(x={"$ref": "#/$defs/X"}), "does not contain"),
        (object_of(x={"$ref": "other.json"}), "does not contain"),
        (object_of(x={"type": "object", "additionalProperties": {"type": "string"}}), "additionalProperties"),
        (object_of(x={"enum": [[1]]}), "enum"),
        (object_of(x={"type": "strin"}), "strin"),
        (object_of(**{f"f{n}": {"type": "string"} for n in range(201)}), "more than 200"),
    ],
)
def test_other_schemas_are_refused_with_the_reason(schema, message):
    """The reason names the part."""
    with pytest.raises(BadGrammar) as caught:
        read_extraction_schema(schema, free=False)
    assert message in caught.value.detail and caught.value.subject == "--schema" and caught.value.exit_code == 2


def test_a_schema_that_contains_itself_is_refused():
    """A grammar of it would have no end."""
    schema = object_of(child={"$ref": "#"})
    with pytest.raises(BadGrammar, match="leads back"):
        read_value_schema(schema)


def test_free_values_may_have_any_valid_schema():
    """An invalid one is refused all the same."""
    assert read_extraction_schema(object_of(x={}), free=True) is None
    with pytest.raises(BadGrammar):
        read_extraction_schema(object_of(x={"type": "strin"}), free=True)
