"""A schema is bounded, or refused by name."""

from __future__ import annotations

import json
import time

import jsonschema
import pytest
from llguidance import LLMatcher
from row_table import all_rows

from llmcli.engine.sampling.grammar_compiler import schema_grammar
from llmcli.engine.sampling.json_schema import prepare_schema
from llmcli.errors.model_errors import BadGrammar


def refusal(schema):
    """Return why a schema is refused, "" where it is not."""
    try:
        grammar = schema_grammar(schema)
    except BadGrammar as error:
        return error.detail
    return LLMatcher.validate_grammar(grammar)


NODE = {
    "type": "object",
    "properties": {"next": {"anyOf": [{"$ref": "#/$defs/node"}, {"type": "null"}]}},
    "required": ["next"],
}
REFUSED = [
    ({"type": "array", "uniqueItems": True}, "uniqueItems"), ({"not": {"type": "string"}}, "not"),
    ({"if": {}, "then": {}}, "if"), ({"type": "array", "contains": {}}, "contains"),
    ({"type": "object", "propertyNames": {}}, "propertyNames"), ({"dependentRequired": {}}, "dependentRequired"),
    ({"dependentSchemas": {}}, "dependentSchemas"), ({"unevaluatedProperties": False}, "unevaluatedProperties"),
    ({"unevaluatedItems": False}, "unevaluatedItems"), ({"type": "integer", "foo": 1}, "foo"),
    ({"type": "object", "minProperties": 2}, "minProperties"), ({"type": "string", "pattern": "(?=a)b"}, "look-around"),
    ({"type": "string", "pattern": "(?<!a)b"}, "look-around"), ({"type": "string", "pattern": r"a\b"}, "look-around"),
    ({"type": "string", "pattern": "(a"}, "unclosed group"), ({"type": "array", "minItems": -1}, "minItems"),
    ({"type": "integer", "minimum": 10, "maximum": 5}, "minimum is more"), ({"type": "integer", "minimum": "3"}, "minimum"),
    ({"const": [1], "minItems": 1}, "minItems beside enum or const"),
    ({"type": "integer", "multipleOf": 10_001}, "multipleOf"), ({"type": "number", "multipleOf": 1e-12}, "multipleOf"),
    ({"type": "string", "minLength": 5, "maxLength": 2}, "minLength is more"), ({"type": "foo"}, "unknown type 'foo'"),
    ({"oneOf": [{"type": "integer"}, {"type": "number"}]}, "oneOf"), ({"anyOf": []}, "anyOf"),
    ({"enum": [f"w{number}" for number in range(5001)]}, "more than 5000 values"), ({"enum": []}, "enum"),
    ({"anyOf": [{"const": 1}] * 2100}, "2000 parts"), ({"type": "string", "maxLength": 10_001}, "10000"),
    ({"type": "string", "pattern": "a{10001}"}, "repeats more than 10000 times"),
    ({"properties": {str(number): {"type": "null"} for number in range(101)}}, "100 properties"),
    ({"type": ["string", "array"], "uniqueItems": True}, "uniqueItems"), ({"properties": 3}, "properties"),
    ({"required": "a"}, "required"), ({"$ref": "#/nowhere"}, "points to nothing"), ({"type": []}, "type"),
    ({"$ref": "https://example.org/schema.json"}, "points outside"), ({"items": 3}, "not a schema"),
]  # fmt: skip


@all_rows(("schema", "words"), REFUSED)
def test_what_cannot_be_enforced_is_refused_by_name(schema, words):
    """Wherever it stands, for llguidance would ignore some of it silently."""
    for outer in (
        schema,
        {"type": "object", "properties": {"p": schema}},
        {"type": "array", "items": {"anyOf": [schema]}},
    ):
        assert words in refusal(outer)


KEPT = [
    {"type": ["integer", "null"], "minimum": 0, "maximum": 100, "minLength": 3}, {"type": "array", "uniqueItems": False},
    {"type": ["string", "null"], "enum": ["a", None, 3], "description": "x"}, {"type": "number", "minimum": 0.5, "maximum": 1},
    {"allOf": [{"$ref": "#/$defs/Color"}], "default": "red", "$defs": {"Color": {"enum": ["red"], "title": "Color"}}},
    {"type": "object", "properties": {"color": {"enum": ["a"]}, "other": {"$ref": "#/$defs/color"}, "any": True},
     "required": ["color", "other"], "$defs": {"color": {"enum": ["b"]}, "unused": {"not": {}}}},
    {"oneOf": [{"$ref": "#/$defs/A"}, {"$ref": "#/$defs/B"}], "discriminator": {"propertyName": "kind"}, "$defs": {
        "A": {"type": "object", "properties": {"kind": {"const": "a"}}, "required": ["kind"]},
        "B": {"type": "object", "properties": {"kind": {"const": "b"}}, "required": ["kind"]}}},
    {"type": "array", "prefixItems": [{"type": "integer"}, True], "items": False, "minItems": 2, "maxItems": 2},
    {"$defs": {"node": NODE}, "$ref": "#/$defs/node"}, {"type": "integer", "multipleOf": 3},
    {"type": "string", "format": "date"}, {"type": "string", "format": "of our own", "minLength": 3}, {},
    {"type": "integer", "minimum": -(2**63), "maximum": 2**63 - 1, "x-note": 3}, {"type": "object", "additionalProperties": True},
    {"type": "object", "additionalProperties": {"type": "integer"}}, {"enum": ["line\nbreak", 'quo"te', "back\\slash"]},
    {"allOf": [{"properties": {"a": {"type": "null"}}, "required": ["a"]}, {"properties": {"b": {"type": "null"}}}]},
    {"type": "string", "pattern": "^(a|b{1,3})+$|^c$", "maxLength": 30}, {"type": "object", "required": ["a"]},
    {"$ref": "#/$defs/a", "minimum": 3, "$defs": {"a": {"type": "integer"}}}, {"type": "string", "minLength": 9000},
    {"type": "object", "patternProperties": {"^x-": {"type": "integer"}}}, {"allOf": [{"type": "string"}, {"maxLength": 3}]},
    {"properties": {"a": {"type": "null"}, "b": {"type": "null"}}, "anyOf": [{"required": ["a"]}, {"required": ["b"]}]},
]  # fmt: skip


@all_rows("schema", KEPT)
def test_what_can_be_enforced_is_a_grammar(schema):
    """Llguidance accepts it."""
    assert refusal(schema) == ""


def allows(schema, value):
    """Return whether the prepared schema allows a value, apart from what the grammar does with its text."""
    return jsonschema.Draft202012Validator(schema).is_valid(value)


def chain(length):
    """Return objects of ``NODE`` inside each other."""
    value = {"next": None}
    for _ in range(length - 1):
        value = {"next": value}
    return value


def test_what_a_schema_leaves_open_is_bounded():
    """Texts, items, digits, keys and recursion: no answer goes on for ever."""
    bounded = prepare_schema({"type": "object", "properties": {
        "s": {"type": "string"}, "p": {"type": "string", "pattern": "a"}, "n": {"type": "number"}, "l": {"type": "array"},
        "m": {"additionalProperties": {"type": "null"}}, "any": True,
    }})  # fmt: skip
    assert allows(bounded, {"s": "x" * 8192, "p": "a" * 256, "n": 1e16, "l": [None] * 256, "m": {"k" * 64: None}})
    deep = [[[[[[1]]]]]]
    for wrong in ({"s": "x" * 8193}, {"p": "a" * 257}, {"n": 1e17}, {"n": 0.12345678912}, {"l": [1] * 257},
                  {"m": {"k" * 65: None}}, {"m": {str(n): None for n in range(257)}}, {"any": deep}):  # fmt: skip
        assert not allows(bounded, wrong), str(wrong)[:40]
    recursive = prepare_schema({"$defs": {"node": NODE}, "$ref": "#/$defs/node"})
    assert allows(recursive, chain(8)) and not allows(recursive, chain(9))
    recursive = prepare_schema({"$defs": {"node": NODE}, "$ref": "#/$defs/node"}, 1 << 21)
    assert allows(recursive, chain(16)) and not allows(recursive, chain(17))


def test_bounds_follow_from_max_tokens():
    """A character for each, but room for a sentence and a list; never below what the schema demands."""
    for max_tokens, characters, items in ((64, 256, 16), (1000, 1000, 62), (100_000, 8192, 256)):
        bounded = prepare_schema({"type": "array", "items": {"type": "string"}}, max_tokens)
        assert (bounded["items"]["maxLength"], bounded["maxItems"]) == (characters, items)
    bounded = prepare_schema({"type": "array", "items": {"type": "string", "pattern": "^a{500}$"}, "minItems": 40}, 64)
    assert (bounded["items"]["maxLength"], bounded["maxItems"]) == (1000, 80)
    assert prepare_schema({"type": "string", "maxLength": 9999}, 64)["maxLength"] == 9999


def test_an_object_has_no_properties_but_its_own():
    """Unless the schema says which: a small model would add some without end."""
    assert prepare_schema({"properties": {"a": {"type": "null"}}})["additionalProperties"] is False
    demanding = {
        "properties": {"a": {"type": "null"}, "b": {"type": "null"}},
        "anyOf": [{"required": ["a"]}, {"required": ["b"]}],
        "required": ["c"],
    }
    prepared = prepare_schema(demanding)
    assert allows(prepared, {"b": None, "c": 5}) and prepared["additionalProperties"] is False
    assert not allows(prepared, {"c": 5}) and not allows(prepared, {"a": None}) and refusal(demanding) == ""
    extended = {
        "allOf": [{"properties": {"a": {"type": "null"}}}, {"properties": {"b": {"type": "null"}}, "required": ["b"]}]
    }
    assert allows(prepare_schema(extended), {"a": None, "b": None})
    assert not allows(prepare_schema(extended), {"b": None, "c": None})


def test_combinations_beside_each_other_all_hold():
    """None takes the place of another."""
    one, other = [{"const": 1}, {"const": 2}], [{"const": 2}, {"const": 3}]
    for beside in ({"oneOf": other}, {"allOf": [{"anyOf": other}]}, {"$ref": "#/$defs/a"}):
        schema = {"anyOf": one, **beside, "$defs": {"a": {"enum": [2, 4]}}}
        assert [value for value in range(5) if allows(prepare_schema(schema), value)] == [2]
        assert refusal(schema) == ""


def test_what_allows_nothing_is_left_out():
    """Alternatives and optional properties; where nothing is left the schema is refused."""
    prepared = prepare_schema(
        {"anyOf": [False, {"type": "object", "properties": {"a": False}, "required": ["a"]}, {"const": 1}]}
    )
    assert prepared == {"anyOf": [{"const": 1}]}
    assert "no integer" in refusal({"type": "integer", "exclusiveMinimum": 1, "exclusiveMaximum": 2})
    for schema in ({"$ref": "#"}, {"type": "object", "properties": {"a": {"$ref": "#"}}, "required": ["a"]}):
        assert refusal(schema) == "it allows no value"


def chained(count, *, backwards=False):
    """Return definitions that refer to the next; ``backwards``: the last is read first."""
    definitions = {
        f"d{i}": {"properties": {"a": {"$ref": f"#/$defs/d{i + 1}"}}, "required": ["a"]} for i in range(count)
    }
    order = reversed(range(count)) if backwards else range(1)
    properties = {f"p{i}": {"$ref": f"#/$defs/d{i}"} for i in order}
    return {
        "properties": properties,
        "required": list(properties),
        "$defs": {**definitions, f"d{count}": {"type": "null"}},
    }


def contains_itself():
    schema = {"type": "object", "properties": {}}
    schema["properties"]["a"] = schema
    return schema


def doubled(levels):
    part = {"type": "null"}
    for _ in range(levels):
        part = {"anyOf": [part, part]}
    return part


def nested(levels):
    part = {"type": "integer"}
    for _ in range(levels):
        part = {"type": "array", "items": part}
    return part


@pytest.mark.parametrize(
    "make_schema",
    [lambda: nested(200), lambda: nested(100_000), lambda: chained(1500), lambda: chained(600, backwards=True),
     contains_itself, lambda: doubled(60), lambda: {"type": "integer", "multipleOf": 99_999_989},
     lambda: {"oneOf": [{"const": number} for number in range(1900)]},
     lambda: {"type": "string", "pattern": "(((a{99}){99}){99}){99}"}],
    ids=["nested", "nested far", "chained", "chained backwards", "inside itself", "doubled", "remainders", "pairs",
         "repetitions"],
)  # fmt: skip
def test_what_would_overflow_the_stack_or_take_for_ever_is_refused_at_once(make_schema):
    """Llguidance recurses through references, and makes a state for each remainder."""
    schema = make_schema()
    started = time.process_time()
    assert refusal(schema)
    assert time.process_time() - started < 5


def test_recursion_is_cut_where_a_schema_is_large():
    """Unrolled it stays small enough: each definition is written a few times."""
    properties = {f"p{i}": {"anyOf": [{"$ref": "#"}, {"type": "null"}]} for i in range(300)}
    schema = {"type": "object", "properties": properties, "required": list(properties)}
    assert len(json.dumps(prepare_schema(schema))) < 500_000
    assert refusal(schema) == ""
