"""JSON schemas of the kinds in JSONSchemaBench: nested, recursive, enums, unions, patterns, ranges, lengths.

JSONSchemaBench: S. Geng et al., "Generating Structured Outputs from Language Models: Benchmark and Studies" (2025).
"""

from __future__ import annotations

import random

NAMES = (
    "name",
    "age",
    "city",
    "tags",
    "price",
    "status",
    "items",
    "note",
    "id",
    "kind",
    "active",
    "score",
    "author",
    "date",
)
WORDS = (
    "red",
    "green",
    "blue",
    "small",
    "large",
    "new",
    "used",
    "draft",
    "done",
    'a "quoted" one',
    "two\nlines",
    "é",
    "",
)
PATTERNS = (
    "^[A-Z]{2}-[0-9]{3}$", "^(yes|no|maybe)$", "^[a-z]+(_[a-z]+){0,3}$", "^\\d{4}-\\d{2}$", "^#[0-9a-fA-F]{6}$",
    "^[^\\s@]{1,20}@[a-z]{2,10}\\.(com|org)$", "^(\\+49|0)[1-9][0-9]{5,8}$", "^v[0-9]+\\.[0-9]+(\\.[0-9]+)?$", "[aeiou]{2}",
    "^a|b$",
)  # fmt: skip
FORMATS = ("date", "time", "date-time", "uuid", "ipv4", "email", "hostname", "a format of our own")
MAX_DEPTH = 3


def schemas(count: int, seed: int) -> list[dict]:
    """Return so many schemas, the same in every run."""
    draw = random.Random(seed)
    roots = (
        _object,
        _object,
        _object,
        _array,
        _union,
        _recursive,
        _recursive,
        _discriminated,
        _extended,
        _referring,
        _demanding,
    )
    return [roots[number % len(roots)](draw, 0) for number in range(count)]


def _any(draw: random.Random, depth: int) -> dict:
    leaves = (_text, _text, _pattern, _integer, _number, _enum, _constant, _boolean, _format, _nullable)
    inner = (_object, _array, _tuple, _union, _map, _extended, _discriminated, _demanding)
    return draw.choice(leaves if depth >= MAX_DEPTH or draw.random() < 0.6 else inner)(draw, depth + 1)


def _text(draw: random.Random, _depth: int) -> dict:
    least = draw.choice((0, 0, 1, 5))
    return {"type": "string", **({"minLength": least} if least else {}), "maxLength": least + draw.randrange(1, 24)}


def _pattern(draw: random.Random, _depth: int) -> dict:
    bound = {"maxLength": draw.randrange(20, 40)} if draw.random() < 0.8 else {}
    return {"type": "string", "pattern": draw.choice(PATTERNS), **bound}


def _format(draw: random.Random, _depth: int) -> dict:
    return {"type": "string", "format": draw.choice(FORMATS), "maxLength": 60}


def _integer(draw: random.Random, _depth: int) -> dict:
    low = draw.choice((-1000, -5, 0, 1, 18))
    bounds = ({}, {"minimum": low}, {"minimum": low, "maximum": low + draw.randrange(300)}, {"exclusiveMinimum": low})
    more = {"multipleOf": draw.choice((2, 5, 10))} if draw.random() < 0.2 else {}
    return {"type": "integer", **draw.choice(bounds[:2] if more else bounds), **more}


def _number(draw: random.Random, _depth: int) -> dict:
    low = draw.choice((0, 0.5, -1.25, -90, 1.1))
    high = low + draw.choice((0.25, 1, 99.9))
    bounds = (
        {},
        {"minimum": low},
        {"minimum": low, "maximum": high},
        {"exclusiveMinimum": low, "exclusiveMaximum": high},
    )
    return {"type": "number", **draw.choice(bounds)}


def _enum(draw: random.Random, _depth: int) -> dict:
    values = [*draw.sample(WORDS, draw.randrange(1, 6)), *draw.choice(((), (None,), (3, 4.5), ([1, "x"], {"a": None})))]
    return {"enum": values}


def _constant(draw: random.Random, _depth: int) -> dict:
    return {"const": draw.choice((*WORDS, 7, -0.5, None, [], {"k": [True]}))}


def _boolean(draw: random.Random, _depth: int) -> dict:
    return {"type": draw.choice(("boolean", "null"))}


def _nullable(draw: random.Random, depth: int) -> dict:
    kind = draw.choice((_text, _integer, _pattern))(draw, depth)
    return {**kind, "type": [kind["type"], "null"], "description": "may be unknown"}


def _object(draw: random.Random, depth: int) -> dict:
    names = draw.sample(NAMES, draw.randrange(1, 5))
    required = [name for name in names if draw.random() < 0.7]
    closed = {"additionalProperties": False} if draw.random() < 0.5 else {}
    properties = {name: _any(draw, depth + 1) for name in names}
    return {"type": "object", "title": "A record", "properties": properties, "required": required, **closed}


def _array(draw: random.Random, depth: int) -> dict:
    least = draw.choice((0, 0, 1, 2))
    return {
        "type": "array",
        "items": _any(draw, depth + 1),
        "minItems": least,
        "maxItems": least + draw.randrange(1, 4),
    }


def _tuple(draw: random.Random, depth: int) -> dict:
    parts = [_any(draw, depth + 1) for _ in range(draw.randrange(1, 4))]
    return {"type": "array", "prefixItems": parts, "items": False, "minItems": draw.randrange(len(parts) + 1)}


def _map(draw: random.Random, depth: int) -> dict:
    values = _any(draw, depth + 1)
    kinds = (
        {"additionalProperties": values},
        {"patternProperties": {"^[a-z]{1,8}$": values}, "additionalProperties": False},
    )
    return {"type": "object", **draw.choice(kinds), "minProperties": draw.randrange(2), "maxProperties": 3}


def _union(draw: random.Random, depth: int) -> dict:
    return {"anyOf": [_any(draw, depth + 1) for _ in range(draw.randrange(2, 4))]}


def _discriminated(draw: random.Random, depth: int) -> dict:
    kinds = [
        {
            "type": "object",
            "properties": {"kind": {"const": kind}, "value": _any(draw, depth + 1)},
            "required": ["kind"],
        }
        for kind in draw.sample(("cat", "dog", "bird"), 2)
    ]
    return {"oneOf": kinds}


def _extended(draw: random.Random, depth: int) -> dict:
    one, other = draw.sample(NAMES, 2)
    base = {"type": "object", "properties": {one: _any(draw, depth + 1)}, "required": [one]}
    return {"allOf": [base, {"properties": {other: _any(draw, depth + 1)}}]}


def _demanding(draw: random.Random, depth: int) -> dict:
    names = draw.sample(NAMES, 2)
    demands = [{"required": [name]} for name in names]
    return {"type": "object", "properties": {name: _any(draw, depth + 1) for name in names}, "anyOf": demands}


def _recursive(draw: random.Random, depth: int) -> dict:
    node = {"$ref": "#/$defs/node"}
    inner = draw.choice(
        (
            {"next": {"anyOf": [node, {"type": "null"}]}},
            {"left": {"anyOf": [{"type": "integer", "minimum": 0}, node]}, "op": {"enum": ["+", "*"]}},
            {"children": {"type": "array", "items": node, "maxItems": 2}},
        )
    )
    properties = {"value": _text(draw, depth), **inner}
    return {
        "$ref": "#/$defs/node",
        "$defs": {"node": {"type": "object", "properties": properties, "required": list(properties)}},
    }


def _referring(draw: random.Random, depth: int) -> dict:
    person = {
        "type": "object",
        "properties": {"name": _text(draw, depth), "born": _format(draw, depth)},
        "required": ["name"],
    }
    properties = {"author": {"$ref": "#/definitions/person"}, "title": {"allOf": [{"$ref": "#/definitions/title"}]}}
    return {
        "type": "object",
        "properties": properties,
        "required": ["author"],
        "definitions": {"person": person, "title": _text(draw, depth)},
    }
