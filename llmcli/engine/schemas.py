"""JSON schemas made ready for the converter to grammars: what a grammar cannot keep is refused by name, never ignored.

The converter of llama.cpp's binding passes over what it does not know, so it gets nothing but what it keeps. ``format``
is a note, as in the standard; of dates, times and UUIDs it is kept. Source: JSON Schema 2020-12, "Core" and "Validation".
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from itertools import combinations
from typing import Any

from llmcli.engine import numerals
from llmcli.errors import InputError

MOST_PARTS, MOST_VALUES, MOST_OPTIONAL, MOST_COUNT = 2000, 5000, 100, 1000
"""Schemas in a schema, values of all enums, optional properties of an object: about a tenth of a second; lengths."""
GRAMMAR = "gbnf"
"""Under this name stands a grammar, in place of a schema."""
_NOTES = frozenset({
    "title", "description", "default", "examples", "example", "deprecated", "readOnly", "writeOnly", "format",
    "contentEncoding", "contentMediaType", "contentSchema", "discriminator", "$schema", "$id", "$anchor", "$comment",
    "$defs", "definitions",
})  # fmt: skip
_BOUNDS = ("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum")
_OF = {
    "string": ("minLength", "maxLength", "pattern"),
    "number": (*_BOUNDS, "multipleOf"),
    "array": (
        "items", "prefixItems", "minItems", "maxItems", "uniqueItems", "contains", "minContains", "maxContains",
        "unevaluatedItems", "additionalItems",
    ),
    "object": (
        "properties", "required", "additionalProperties", "patternProperties", "propertyNames", "minProperties",
        "maxProperties", "dependentRequired", "dependentSchemas", "dependencies", "unevaluatedProperties",
    ),
}  # fmt: skip
_KIND = {keyword: kind for kind, keywords in _OF.items() for keyword in keywords}
_TYPES: dict[str, Any] = {
    "object": dict, "array": list, "string": str, "boolean": bool, "null": type(None), "number": (int, float),
    "integer": int,
}  # fmt: skip
_ANY = {"type": "value"}  # the converter's name for it


def prepared(schema: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return a schema that says the same, or allows less, and that the converter keeps, and what its references mean.

    Raises ``InputError``.
    """
    reader = _Reader(schema)
    root = reader.read(schema)
    return {"type": "object"} if root == _ANY else root, reader.definitions


def _refused(words: str) -> InputError:
    return InputError("schema", detail=words)


class _Reader:
    def __init__(self, root: Mapping[str, Any]) -> None:
        self._root = root
        self._names: dict[str, str] = {}
        self._parts = 0
        self._values = 0
        self.definitions: dict[str, Any] = {}

    def read(self, given: Any) -> dict[str, Any]:
        """Return one schema, made ready."""
        self._parts += 1
        if self._parts > MOST_PARTS:
            raise _refused(f"it has more than {MOST_PARTS} parts")
        if given is True:
            return dict(_ANY)
        if not isinstance(given, Mapping):
            raise _refused("a part of it allows nothing" if given is False else "a part of it is no schema")
        fields = _without_notes(given)
        if "$ref" in fields:
            return {"$ref": self._reference(_alone(fields, "$ref"))}
        if "allOf" in fields:
            return self.read(self._merged(fields))
        for name in ("anyOf", "oneOf"):
            if name in fields:
                return self._choice(fields, name)
        return self._plain(given, fields)

    def _plain(self, given: Mapping[str, Any], fields: dict[str, Any]) -> dict[str, Any]:
        kind = fields.pop("type", None)
        if "const" in fields or "enum" in fields:
            return self._constant(fields, kind)
        if isinstance(kind, list):
            return self.read({"anyOf": [{**given, "type": each} for each in kind]})
        kinds = {_KIND[name] for name in fields if name in _KIND}
        if kind is None:
            if len(kinds) > 1:
                raise _refused(f"a part with {', '.join(fields)} has no type")
            kind = next(iter(kinds), None)
        elif not isinstance(kind, str) or kind not in _TYPES:
            raise _refused(f"there is no type {kind!r}")
        about = "number" if kind == "integer" else kind
        fields = {name: value for name, value in fields.items() if _KIND.get(name, about) == about}
        if kind is None:
            _only(fields, ())
            return dict(_ANY)
        read = {"string": self._string, "number": self._number, "array": self._array, "object": self._object}
        if about not in read:
            _only(fields, ())
            return {"type": kind}
        if about == "number":
            return self._number(fields, kind)
        found = read[about](fields)
        note = given.get("format")
        return {**found, "format": note} if found == {"type": "string"} and isinstance(note, str) else dict(found)

    def _constant(self, fields: Mapping[str, Any], kind: Any) -> dict[str, Any]:
        name = "const" if "const" in fields else "enum"
        values = [fields["const"]] if name == "const" else _alone(fields, name)
        _alone(fields, name)
        kinds = [kind] if isinstance(kind, str) else kind
        if not isinstance(values, list) or not isinstance(kinds, list | None):
            raise _refused(f"{name} or type is no list")
        kept = [value for value in values if kinds is None or any(_is(value, each) for each in kinds)]
        self._values += len(kept)
        if not kept:
            raise _refused(f"{name} allows no value")
        if self._values > MOST_VALUES:
            raise _refused(f"it has more than {MOST_VALUES} values of enum")
        texts = [json.dumps(value, ensure_ascii=False) for value in kept]
        return {GRAMMAR: f"({numerals.choice(texts)}) space"}

    @staticmethod
    def _string(fields: dict[str, Any]) -> dict[str, Any]:
        _only(fields, ("pattern",) if "pattern" in fields else ("minLength", "maxLength"))
        _check_counts(fields, "minLength", "maxLength")
        return {"type": "string", **fields}

    @staticmethod
    def _number(fields: dict[str, Any], kind: str = "number") -> dict[str, Any]:
        if kind == "integer" and fields.get("multipleOf") == 1:
            del fields["multipleOf"]
        _only(fields, _BOUNDS)
        if not fields:
            return {"type": kind}
        for name, value in fields.items():
            if not _is(value, "number") or not math.isfinite(value):
                raise _refused(f"{name} is not a number")
        low, above = _tighter(fields.get("minimum"), fields.get("exclusiveMinimum"), 1)
        high, below = _tighter(fields.get("maximum"), fields.get("exclusiveMaximum"), -1)
        try:
            if kind == "integer":
                low = math.floor(low) + 1 if low is not None and above else low
                high = math.ceil(high) - 1 if high is not None and below else high
                grammar = numerals.integers(low, high)
            else:
                grammar = numerals.numbers(low, high, above=above, below=below)
        except ValueError as problem:
            raise _refused(f"{' and '.join(fields)}: {problem}") from problem
        return {GRAMMAR: f"{grammar} space"}

    def _array(self, fields: dict[str, Any]) -> dict[str, Any]:
        if fields.get("uniqueItems") is False:
            del fields["uniqueItems"]
        first = fields.pop("prefixItems", None)
        if first is None and isinstance(fields.get("items"), list):
            first = fields.pop("items")
        if first is not None and fields.get("items") is False:
            del fields["items"]
        _only(fields, ("minItems", "maxItems") if first is not None else ("minItems", "maxItems", "items"))
        _check_counts(fields, "minItems", "maxItems")
        if first is None:
            if not fields:
                return {"type": "array"}
            return {**fields, "type": "array", "items": self.read(fields.get("items", True))}
        if not isinstance(first, list) or not first:
            raise _refused("prefixItems is not a list of schemas")
        if not fields.get("minItems", 0) <= len(first) <= fields.get("maxItems", len(first)):
            raise _refused(f"minItems or maxItems is not the number of prefixItems, {len(first)}")
        return {"type": "array", "prefixItems": [self.read(item) for item in first]}

    def _object(self, fields: dict[str, Any]) -> dict[str, Any]:
        _only(fields, ("properties", "required", "additionalProperties"))
        properties, required = fields.get("properties", {}), fields.get("required", [])
        more = fields.get("additionalProperties", True)
        if not isinstance(properties, Mapping):
            raise _refused("properties is no object")
        if not isinstance(required, list) or not all(isinstance(name, str) for name in required):
            raise _refused("required is not a list of names")
        for name in required:
            if name not in properties:
                raise _refused(f"required names {name}, which is not among the properties")
        if len(properties) - len(set(required)) > MOST_OPTIONAL:
            raise _refused(f"an object has more than {MOST_OPTIONAL} properties that are not required")
        if more is True and not properties:
            return {"type": "object"}
        read = {"type": "object", "properties": {name: self.read(each) for name, each in properties.items()}}
        extra = {} if isinstance(more, bool) else {"additionalProperties": self.read(more)}
        return {**read, "required": required, "additionalProperties": False, **extra}

    def _choice(self, fields: dict[str, Any], name: str) -> dict[str, Any]:
        kind = {"type": fields.pop("type")} if "type" in fields else {}
        parts = _parts(_alone(fields, name), name)
        if kind:
            parts = [{**kind, **part} if "$ref" not in part else part for part in parts]
        if name == "oneOf" and not all(_apart(*pair) for pair in combinations(map(self._resolved, parts), 2)):
            raise _refused("the choices of oneOf overlap, as far as can be seen; anyOf can be kept")
        return {"anyOf": [self.read(part) for part in parts]}

    def _merged(self, fields: dict[str, Any]) -> Mapping[str, Any]:
        """Return what ``allOf`` and what stands beside it say together, where all of it is about properties."""
        parts = _parts(fields.pop("allOf"), "allOf")
        kind = fields.pop("type", None)
        parts = [*([fields] if fields else []), *parts]
        if len(parts) == 1:
            return parts[0] if kind is None or "$ref" in parts[0] else {"type": kind, **parts[0]}
        properties: dict[str, Any] = {}
        required: list[str] = []
        for part in [_without_notes(self._resolved(part)) for part in parts]:
            if part.pop("type", "object") != "object" or set(part) - {"properties", "required"}:
                raise _refused("allOf of anything but properties and required cannot be kept")
            for name, schema in part.get("properties", {}).items():
                if properties.setdefault(name, schema) != schema:
                    raise _refused(f"allOf says two things of {name}")
            required += part.get("required", [])
        return {"type": "object", "properties": properties, "required": required}

    def _reference(self, reference: Any) -> str:
        """Return a reference to a definition of our own: the converter takes the last word of a path for its name."""
        target = self._target(reference)
        if reference not in self._names:
            self._names[reference] = name = f"definition-of-schema-{len(self._names)}"
            self.definitions[name] = self.read(target)
        return self._names[reference]

    def _target(self, reference: Any) -> Any:
        found: Any = self._root
        if not isinstance(reference, str) or not (reference == "#" or reference.startswith("#/")):
            raise _refused(f"$ref {reference!r} points out of it")
        for step in reference[2:].split("/") if reference != "#" else ():
            name = step.replace("~1", "/").replace("~0", "~")
            if not isinstance(found, Mapping) or name not in found:
                raise _refused(f"$ref {reference} points to nothing")
            found = found[name]
        return found

    def _resolved(self, part: Mapping[str, Any]) -> Mapping[str, Any]:
        for _ in range(MOST_PARTS):
            if "$ref" not in part:
                return part
            target = self._target(_alone(_without_notes(part), "$ref"))
            if not isinstance(target, Mapping):
                break
            part = target
        raise _refused("its references lead nowhere")


def _without_notes(given: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in given.items() if name not in _NOTES and not name.startswith("x-")}


def _alone(fields: Mapping[str, Any], name: str) -> Any:
    """Return a field beside which nothing else can be kept."""
    for other in fields:
        if other != name:
            raise _refused(f"{other} beside {name} cannot be kept")
    return fields[name]


def _only(fields: Mapping[str, Any], kept: Sequence[str]) -> None:
    for name in fields:
        if name not in kept:
            raise _refused(f"{name} cannot be kept")


def _parts(given: Any, name: str) -> list[Mapping[str, Any]]:
    if not isinstance(given, list) or not given or not all(isinstance(part, Mapping) for part in given):
        raise _refused(f"{name} is not a list of schemas")
    return given


def _check_counts(fields: Mapping[str, Any], least: str, most: str) -> None:
    for name in (least, most):
        count = fields.get(name, 0)
        if not _is(count, "integer") or not 0 <= count <= MOST_COUNT:
            raise _refused(f"{name} is not a whole number from 0 to {MOST_COUNT}")
    if most in fields and fields.get(least, 0) > fields[most]:
        raise _refused(f"{least} is more than {most}")


def _tighter(inclusive: float | None, exclusive: float | None, sign: int) -> tuple[float | None, bool]:
    """Return the bound that leaves less, and whether it is out of the range itself; ``sign`` -1: of upper bounds."""
    if exclusive is None or inclusive is None:
        return (inclusive, False) if exclusive is None else (exclusive, True)
    return (exclusive, True) if sign * exclusive >= sign * inclusive else (inclusive, False)


def _is(value: Any, kind: Any) -> bool:
    if isinstance(value, bool):
        return bool(kind == "boolean")
    return isinstance(value, _TYPES.get(kind, ()) if isinstance(kind, str) else ())


def _apart(one: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    """Return whether no value fits both, as far as that is seen at once."""
    kinds = [part.get("type") for part in (one, other)]
    if all(isinstance(kind, str) for kind in kinds) and kinds[0] != kinds[1] and set(kinds) != {"integer", "number"}:
        return True
    if _no_common_value(one, other):
        return True
    both = [part.get("properties") for part in (one, other)]
    if not all(isinstance(properties, Mapping) for properties in both):
        return False
    needed = set(one.get("required", ())) & set(other.get("required", ()))
    return any(_no_common_value(both[0].get(name), both[1].get(name)) for name in needed)  # type: ignore[union-attr]


def _no_common_value(one: Any, other: Any) -> bool:
    sets = [set(values) for part in (one, other) if (values := list(_values(part)))]
    return len(sets) == 2 and not sets[0] & sets[1]  # noqa: PLR2004


def _values(part: Any) -> Iterator[str]:
    if isinstance(part, Mapping):
        values = [part["const"]] if "const" in part else part.get("enum")
        yield from map(json.dumps, values if isinstance(values, list) else ())
