"""From JSON schemas to grammars: what is enforced, and what is refused by name."""

from __future__ import annotations

import itertools
import json
import re

import pytest

from llmcli.engine.sampling import number_ranges
from llmcli.engine.sampling.sampler import Sampler
from llmcli.engine.sampling.schema_grammar import schema_to_grammar
from llmcli.errors import InputError
from llmcli.types import Sampling


def pattern(grammar):
    """Return the regular expression of a grammar without rules of its own."""
    tokens = re.findall(r'"(?:\\.|[^"\\])*"|\[[^]]*\]|\{[^}]*\}|[()|?*]', grammar)
    return re.compile("".join(re.escape(json.loads(each)) if each[0] == '"' else each for each in tokens))


ENDS = (None, -1000, -21, -20, -1, 0, 1, 9, 10, 19, 205, 1999)
SAMPLES = [*range(-2100, 2100), 10**15]


@pytest.mark.parametrize(
    ("low", "high"), [pair for pair in itertools.product(ENDS, ENDS) if None in pair or pair[0] <= pair[1]]
)
def test_ranges_of_integers_are_exact(low, high):
    """All of them, and no others."""
    numeral = pattern(number_ranges.integer_range_grammar(low, high))
    for value in SAMPLES:
        inside = (low is None or low <= value) and (high is None or value <= high)
        assert bool(numeral.fullmatch(str(value))) == inside, value
    assert not numeral.fullmatch("007")


@pytest.mark.parametrize(("above", "below"), list(itertools.product((False, True), repeat=2)))
@pytest.mark.parametrize(
    ("low", "high"), [(0, 1), (-1, 1), (-1, 0), (None, 0), (0, None), (3, 12), (-12, -3), (-5, 20)]
)
def test_ranges_of_numbers_are_exact(low, high, above, below):
    """With their bounds, or without."""
    numeral = pattern(number_ranges.number_range_grammar(low, high, above=above, below=below))
    for whole, rest in itertools.product(range(-23, 24), ("", ".0", ".00", ".5", ".05", ".999")):
        for text in {f"{whole}{rest}", f"-0{rest}"}:
            value = float(text)
            inside = (low is None or low < value or (low == value and not above)) and (
                high is None or value < high or (value == high and not below)
            )
            if value != 0 or text[0] != "-":
                assert bool(numeral.fullmatch(text)) == inside, text
            elif numeral.fullmatch(text):
                assert inside, text


def test_a_choice_allows_exactly_its_texts():
    """Also if one begins another, or contains characters that grammars escape."""
    texts = ['"a"', '"ab"', "1", "12", "123", "13", '"\\n\\""', '"\\\\"', '"é"', "true"]
    chosen = pattern(number_ranges.choice_grammar(texts))
    assert all(chosen.fullmatch(text) for text in texts)
    assert not any(chosen.fullmatch(text) for text in ("", "2", '"b"', "1234", '"a'))


REFUSED = [
    ({"type": "array", "uniqueItems": True}, "uniqueItems"), ({"type": "integer", "multipleOf": 3}, "multipleOf"),
    ({"not": {"type": "string"}}, "not"), ({"type": "array", "minItems": -1}, "minItems"),
    ({"type": "integer", "minimum": 10, "maximum": 5}, "minimum and maximum"),
    ({"type": "integer", "exclusiveMinimum": 1, "exclusiveMaximum": 2}, "exclusiveMinimum"),
    ({"type": "string", "minLength": 5, "maxLength": 2}, "minLength is more"),
    ({"type": "number", "minimum": 0.5}, "fraction"), ({"type": "object", "minProperties": 1}, "minProperties"),
    ({"type": "object", "patternProperties": {}}, "patternProperties"), ({"if": {}, "then": {}}, "if"),
    ({"type": "object", "required": ["a"]}, "required names a"), ({"type": "integer", "foo": 1}, "foo"),
    ({"oneOf": [{"type": "integer"}, {"type": "number"}]}, "oneOf"), ({"enum": ["a"], "type": "integer"}, "enum"),
    ({"allOf": [{"type": "string"}, {"maxLength": 3}]}, "allOf"),
    ({"type": "string", "pattern": "^a*$", "maxLength": 3}, "maxLength"),
    ({"enum": [f"w{number}" for number in range(5001)]}, "more than 5000 values"),
    ({"anyOf": [{"const": 1}] * 2100}, "2000 parts"), ({"type": "string", "maxLength": 1001}, "1000"),
    ({"properties": {str(number): {"type": "null"} for number in range(101)}}, "100 properties"),
    ({"$ref": "#/$defs/a", "minimum": 3, "$defs": {"a": {"type": "integer"}}}, "minimum beside $ref"),
    ({"type": ["string", "array"], "uniqueItems": True}, "uniqueItems"),
]  # fmt: skip


@pytest.mark.parametrize(("schema", "words"), REFUSED)
def test_what_no_grammar_enforces_is_refused_by_name(schema, words):
    """Wherever it occurs in the schema."""
    for outer in (schema, {"type": "object", "properties": {"p": schema}}):
        if "$ref" in schema and outer is not schema:
            continue
        with pytest.raises(InputError) as caught:
            schema_to_grammar(outer)
        assert words in caught.value.detail


KEPT = [
    {"type": ["integer", "null"], "minimum": 0, "maximum": 100, "minLength": 3}, {"type": "array", "uniqueItems": False},
    {"type": ["string", "null"], "enum": ["a", None, 3], "description": "x"}, {"type": "number", "minimum": 0, "maximum": 1},
    {"allOf": [{"$ref": "#/$defs/Color"}], "default": "red", "$defs": {"Color": {"enum": ["red"], "title": "Color"}}},
    {"type": "object", "properties": {"color": {"enum": ["a"]}, "other": {"$ref": "#/$defs/color"}, "any": True},
     "required": ["color", "other"], "$defs": {"color": {"enum": ["b"]}, "unused": {"not": {}}}},
    {"oneOf": [{"$ref": "#/$defs/A"}, {"$ref": "#/$defs/B"}], "discriminator": {"propertyName": "kind"}, "$defs": {
        "A": {"type": "object", "properties": {"kind": {"const": "a"}}, "required": ["kind"]},
        "B": {"type": "object", "properties": {"kind": {"const": "b"}}, "required": ["kind"]}}},
    {"type": "array", "prefixItems": [{"type": "integer"}, True], "items": False, "minItems": 2, "maxItems": 2},
    {"$defs": {"node": {"type": "object", "properties": {"next": {"anyOf": [{"$ref": "#/$defs/node"}, {"type": "null"}]}}}},
     "$ref": "#/$defs/node"},
    {"type": "string", "format": "date"}, {"type": "string", "format": "email", "minLength": 3}, {},
    {"type": "integer", "minimum": -(2**63), "maximum": 2**63 - 1, "x-note": 3}, {"type": "object", "additionalProperties": True},
    {"type": "object", "additionalProperties": {"type": "integer"}}, {"enum": ["line\nbreak", 'quo"te', "back\\slash"]},
    {"allOf": [{"properties": {"a": {"type": "null"}}, "required": ["a"]}, {"properties": {"b": {"type": "null"}}}]},
]  # fmt: skip


@pytest.mark.parametrize("schema", KEPT, ids=str)
def test_supported_schemas_become_valid_grammars(models, schema):
    """llama.cpp accepts the grammar."""
    Sampler(models("chatml"), Sampling(), schema_to_grammar(schema)).close()


def test_a_definition_and_a_property_may_share_a_name():
    """Each has its own rule."""
    grammar = schema_to_grammar(KEPT[5])
    assert '\\"a\\"' in grammar and '\\"b\\"' in grammar


def test_many_alternatives_side_by_side_are_refused(models):
    """llama.cpp would try all of them for each token; alternatives within a text or a class do not count."""
    Sampler(models("chatml"), Sampling(), f'root ::= "{"|" * 600}" | [{"|" * 600}]').close()
    with pytest.raises(InputError, match="grammar"):
        Sampler(models("chatml"), Sampling(), "root ::= " + " | ".join(['"a"'] * 501))


def test_strings_contain_no_control_characters():
    """It would be invalid JSON."""
    (rule,) = [line for line in schema_to_grammar({"type": "string"}).splitlines() if line.startswith("char ::=")]
    assert r"\x00-\x1F" in rule
