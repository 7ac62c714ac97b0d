"""The keywords of JSON schemas that llguidance enforces, and checks of their values.

llguidance ignores keywords that it does not know, so every name is checked here and refused by name.

Numbers get bounds, so that none is written with digits without end. llguidance counts with floating-point numbers, so a
step is chosen that reaches the bounds exactly. It allows 0 under an exclusive bound of 0 (version 1.9.1), so bounds
that exclude become the next ones that include.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from decimal import ROUND_CEILING, ROUND_FLOOR, Decimal
from typing import Any

from llmcli.errors.model_errors import BadGrammar

_BOUNDS = ("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum")
_DECIMALS = 9
"""Digits after the point of a number where a schema gives no ``multipleOf``."""
_MAX_NUMBER = 10**16
"""The largest number where a schema gives no bound."""
_INWARDS = {"minimum": ROUND_CEILING, "maximum": ROUND_FLOOR}
_MAX_INTEGER = 10**18
"""The largest bound: llguidance counts integers in 64 bits."""


def bound_numbers(fields: Mapping[str, Any], *, integers: bool) -> dict[str, Any]:
    """Return the keywords for numbers in ``fields``, and bounds where there are none.

    ``integers``: the schema allows no other numbers.
    """
    read = {name: min(max(fields[name], -_MAX_INTEGER), _MAX_INTEGER) for name in _BOUNDS if name in fields}
    step = None
    if not integers:
        _include(read, "exclusiveMinimum", "minimum", max)
        _include(read, "exclusiveMaximum", "maximum", min)
        step = None if "multipleOf" in fields else _choose_step(read)
    known = [abs(bound) for bound in read.values()]
    if "multipleOf" in fields:
        read["multipleOf"] = fields["multipleOf"]
    elif step is not None:
        read["multipleOf"] = step
    if not {"minimum", "exclusiveMinimum"} & set(read):
        read["minimum"] = -max([_MAX_NUMBER, *known])
    if not {"maximum", "exclusiveMaximum"} & set(read):
        read["maximum"] = max([_MAX_NUMBER, *known])
    return read


def _choose_step(read: dict[str, Any]) -> float | None:
    """Return the finest step that reaches the bounds in ``read``, which move inwards to it.

    It is None if nothing is left then.
    """
    for decimals in range(_DECIMALS, -1, -1):
        step = 10.0**-decimals
        moved = {
            name: float(Decimal(repr(bound)).quantize(Decimal(1).scaleb(-decimals), _INWARDS[name]))
            for name, bound in read.items()
        }
        lowest, highest = moved.get("minimum", -math.inf), moved.get("maximum", math.inf)
        if lowest <= highest and all(_is_reached(bound, step) for bound in moved.values()):
            read.update(moved)
            return step
    return None


def _is_reached(bound: float, step: float) -> bool:
    """Tell whether a bound is a multiple of ``step``, its neighbours too, in floating-point numbers."""
    near = [math.floor(bound / step) * step, math.ceil(bound / step) * step]
    return all(abs(found - bound) < step / 1000 for found in near) and (abs(bound) < step * 1e15 or step == 1)


def _include(read: dict[str, Any], exclusive: str, inclusive: str, tighter: Callable[[float, float], float]) -> None:
    """Replace an exclusive bound by the next number as an inclusive one."""
    if exclusive in read:
        bound = read.pop(exclusive)
        distance = max(1.0, abs(bound)) * 10.0**-_DECIMALS
        bound = round(bound + (distance if tighter is max else -distance), _DECIMALS)
        read[inclusive] = tighter(bound, read.get(inclusive, bound))


_MAX_REPETITIONS = 10_000
"""Lengths of texts and arrays, and repetitions in patterns."""
_MAX_DIVISOR = 10_000
"""``multipleOf`` without its decimal point: llguidance makes a state for each remainder."""
_ANNOTATIONS = frozenset({
    "title", "description", "default", "examples", "example", "deprecated", "readOnly", "writeOnly",
    "contentEncoding", "contentMediaType", "contentSchema", "discriminator", "$schema", "$id", "$anchor", "$comment",
    "$defs", "definitions",
})  # fmt: skip
_FORMATS = frozenset({"date-time", "time", "date", "duration", "email", "hostname", "ipv4", "ipv6", "uuid", "uri"})
_LOOK_AROUND = re.compile(r"(?<!\\)(?:\\\\)*(?:\(\?<?[=!]|\\[bB])")
_COUNTS = (("minLength", "maxLength"), ("minItems", "maxItems"), ("minProperties", "maxProperties"))
TYPE_BY_KEYWORD = {
    **dict.fromkeys(("minLength", "maxLength", "pattern", "format"), "string"),
    **dict.fromkeys((*_BOUNDS, "multipleOf"), "number"),
    **dict.fromkeys(("items", "prefixItems", "minItems", "maxItems", "additionalItems"), "array"),
    **dict.fromkeys(
        ("properties", "required", "additionalProperties", "patternProperties", "minProperties", "maxProperties"),
        "object",
    ),
}
_TYPES = frozenset({"object", "array", "string", "boolean", "null", "number", "integer"})
COMBINATIONS = ("allOf", "anyOf", "oneOf")
_KEYWORDS = frozenset({*TYPE_BY_KEYWORD, *COMBINATIONS, "type", "enum", "const", "$ref"})


def schema_error(words: str) -> BadGrammar:
    """Return the error of a schema that cannot be enforced."""
    return BadGrammar("schema", detail=words)


def check_keywords(given: Mapping[str, Any]) -> dict[str, Any]:
    """Return the keywords that constrain, each of the form that the standard demands. Raises ``BadGrammar``."""
    fields = {name: value for name, value in given.items() if name not in _ANNOTATIONS and not name.startswith("x-")}
    if fields.get("uniqueItems") is False:
        del fields["uniqueItems"]
    if fields.get("format") not in _FORMATS:
        fields.pop("format", None)
    for name in fields:
        if name not in _KEYWORDS:
            raise schema_error(f"{name} cannot be enforced")
    for name in COMBINATIONS:
        if name in fields and not (isinstance(fields[name], list) and fields[name]):
            raise schema_error(f"{name} is not a list of schemas")
    _check_type(fields)
    _check_numbers(fields)
    for least, most in _COUNTS:
        _check_counts(fields, least, most)
    _check_pattern(fields.get("pattern", ""))
    _check_containers(fields)
    return fields


def _check_type(fields: Mapping[str, Any]) -> None:
    kinds = fields.get("type", [])
    for kind in kinds if isinstance(kinds, list) else [kinds]:
        if not isinstance(kind, str) or kind not in _TYPES:
            raise schema_error(f"unknown type {kind!r}")
    if "type" in fields and not kinds:
        raise schema_error("type is an empty list")
    if "enum" in fields and not (isinstance(fields["enum"], list) and fields["enum"]):
        raise schema_error("enum is not a list of values")


def _check_numbers(fields: Mapping[str, Any]) -> None:
    for name in (*_BOUNDS, "multipleOf"):
        value = fields.get(name, 1)
        if not isinstance(value, int | float) or isinstance(value, bool) or not math.isfinite(value):
            raise schema_error(f"{name} is not a number")
        if abs(value) > 2**63:
            raise schema_error(f"{name} is larger than 64 bits hold")
    if fields.get("minimum", -math.inf) > fields.get("maximum", math.inf):
        raise schema_error("minimum is more than maximum")
    step = fields.get("multipleOf", 1)
    digits = format(step, "f").rstrip("0").replace(".", "").lstrip("0") if isinstance(step, float) else str(step)
    if step <= 0 or round(step, _DECIMALS) != step or int(digits) > _MAX_DIVISOR:
        raise schema_error(f"multipleOf cannot be enforced, except up to {_MAX_DIVISOR} or {_DECIMALS} decimals")


def _check_counts(fields: Mapping[str, Any], least: str, most: str) -> None:
    for name in (least, most):
        count = fields.get(name, 0)
        if not isinstance(count, int) or isinstance(count, bool) or not 0 <= count <= _MAX_REPETITIONS:
            raise schema_error(f"{name} is not a whole number from 0 to {_MAX_REPETITIONS}")
    if most in fields and fields.get(least, 0) > fields[most]:
        raise schema_error(f"{least} is more than {most}")


def _check_pattern(pattern: Any) -> None:
    if not isinstance(pattern, str):
        raise schema_error("pattern is not a text")
    if largest_repetition(pattern) > _MAX_REPETITIONS:
        raise schema_error(f"pattern repeats more than {_MAX_REPETITIONS} times")
    if _LOOK_AROUND.search(pattern):
        raise schema_error("look-around in a pattern cannot be enforced")


def largest_repetition(pattern: str) -> int:
    """Return the largest number in a repetition of a pattern."""
    return max(map(int, re.findall(r"[{,]([0-9]{1,9})", pattern)), default=0)


def _check_containers(fields: Mapping[str, Any]) -> None:
    for name in ("properties", "patternProperties"):
        if not isinstance(fields.get(name, {}), Mapping):
            raise schema_error(f"{name} is not an object")
    for pattern in fields.get("patternProperties", {}):
        _check_pattern(pattern)
    required = fields.get("required", [])
    if not isinstance(required, list) or not all(isinstance(name, str) for name in required):
        raise schema_error("required is not a list of names")
    if not isinstance(fields.get("prefixItems", []), list):
        raise schema_error("prefixItems is not a list of schemas")
