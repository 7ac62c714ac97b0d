"""JSON schemas for the converter to grammars: keywords that a grammar cannot enforce are refused by name.

The converter of llama.cpp's binding ignores unknown keywords, so it only gets those that it enforces. ``format`` is an
annotation, as in the standard; it is enforced for dates, times and UUIDs. Source: JSON Schema 2020-12, "Core" and
"Validation".
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from itertools import combinations
from typing import Any

from llmcli.engine.sampling import number_ranges
from llmcli.errors import InputError

MAX_SUBSCHEMAS, MAX_ENUM_VALUES, MAX_OPTIONAL_PROPERTIES, MAX_REPETITIONS = 2000, 5000, 100, 1000
"""Limits: schemas in a schema, values of all enums, optional properties of an object, and lengths. At each of the first
three, the conversion takes about a tenth of a second."""
GRAMMAR_KEY = "gbnf"
"""The key of a grammar in place of a schema."""
_ANNOTATIONS = frozenset({
    "title", "description", "default", "examples", "example", "deprecated", "readOnly", "writeOnly", "format",
    "contentEncoding", "contentMediaType", "contentSchema", "discriminator", "$schema", "$id", "$anchor", "$comment",
    "$defs", "definitions",
})  # fmt: skip
_NUMBER_BOUNDS = ("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum")
_KEYWORDS_BY_TYPE = {
    "string": ("minLength", "maxLength", "pattern"),
    "number": (*_NUMBER_BOUNDS, "multipleOf"),
    "array": (
        "items", "prefixItems", "minItems", "maxItems", "uniqueItems", "contains", "minContains", "maxContains",
        "unevaluatedItems", "additionalItems",
    ),
    "object": (
        "properties", "required", "additionalProperties", "patternProperties", "propertyNames", "minProperties",
        "maxProperties", "dependentRequired", "dependentSchemas", "dependencies", "unevaluatedProperties",
    ),
}  # fmt: skip
_TYPE_BY_KEYWORD = {keyword: kind for kind, keywords in _KEYWORDS_BY_TYPE.items() for keyword in keywords}
_PYTHON_TYPES: dict[str, Any] = {
    "object": dict, "array": list, "string": str, "boolean": bool, "null": type(None), "number": (int, float),
    "integer": int,
}  # fmt: skip
_ANY_VALUE = {"type": "value"}  # the converter's name for it


def prepare_schema(schema: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return an equivalent or stricter schema that the converter enforces, and the definitions of its references.

    Raises ``InputError``.
    """
    reader = _SchemaReader(schema)
    root = reader.read_schema(schema)
    return {"type": "object"} if root == _ANY_VALUE else root, reader.definitions


def _schema_error(words: str) -> InputError:
    return InputError("schema", detail=words)


class _SchemaReader:
    def __init__(self, root: Mapping[str, Any]) -> None:
        self._root = root
        self._definition_names: dict[str, str] = {}
        self._part_count = 0
        self._value_count = 0
        self.definitions: dict[str, Any] = {}

    def read_schema(self, given: Any) -> dict[str, Any]:
        """Return one schema, prepared."""
        self._part_count += 1
        if self._part_count > MAX_SUBSCHEMAS:
            raise _schema_error(f"it has more than {MAX_SUBSCHEMAS} parts")
        if given is True:
            return dict(_ANY_VALUE)
        if not isinstance(given, Mapping):
            raise _schema_error("a part of it allows no value" if given is False else "a part of it is not a schema")
        fields = _drop_annotations(given)
        if "$ref" in fields:
            return {"$ref": self._read_reference(_require_alone(fields, "$ref"))}
        if "allOf" in fields:
            return self.read_schema(self._merge_all_of(fields))
        for name in ("anyOf", "oneOf"):
            if name in fields:
                return self._read_choice(fields, name)
        return self._read_typed(given, fields)

    def _read_typed(self, given: Mapping[str, Any], fields: dict[str, Any]) -> dict[str, Any]:
        kind = fields.pop("type", None)
        if "const" in fields or "enum" in fields:
            return self._read_constant(fields, kind)
        if isinstance(kind, list):
            return self.read_schema({"anyOf": [{**given, "type": each} for each in kind]})
        kinds = {_TYPE_BY_KEYWORD[name] for name in fields if name in _TYPE_BY_KEYWORD}
        if kind is None:
            if len(kinds) > 1:
                raise _schema_error(f"a part with {', '.join(fields)} has no type")
            kind = next(iter(kinds), None)
        elif not isinstance(kind, str) or kind not in _PYTHON_TYPES:
            raise _schema_error(f"unknown type {kind!r}")
        about = "number" if kind == "integer" else kind
        fields = {name: value for name, value in fields.items() if _TYPE_BY_KEYWORD.get(name, about) == about}
        if kind is None:
            _require_only(fields, ())
            return dict(_ANY_VALUE)
        read = {
            "string": self._read_string,
            "number": self._read_number,
            "array": self._read_array,
            "object": self._read_object,
        }
        if about not in read:
            _require_only(fields, ())
            return {"type": kind}
        if about == "number":
            return self._read_number(fields, kind)
        found = read[about](fields)
        note = given.get("format")
        return {**found, "format": note} if found == {"type": "string"} and isinstance(note, str) else dict(found)

    def _read_constant(self, fields: Mapping[str, Any], kind: Any) -> dict[str, Any]:
        name = "const" if "const" in fields else "enum"
        values = [fields["const"]] if name == "const" else _require_alone(fields, name)
        _require_alone(fields, name)
        kinds = [kind] if isinstance(kind, str) else kind
        if not isinstance(values, list) or not isinstance(kinds, list | None):
            raise _schema_error(f"{name} or type is not a list")
        kept = [value for value in values if kinds is None or any(_is_of_type(value, each) for each in kinds)]
        self._value_count += len(kept)
        if not kept:
            raise _schema_error(f"{name} allows no value")
        if self._value_count > MAX_ENUM_VALUES:
            raise _schema_error(f"it has more than {MAX_ENUM_VALUES} values of enum")
        texts = [json.dumps(value, ensure_ascii=False) for value in kept]
        return {GRAMMAR_KEY: f"({number_ranges.choice_grammar(texts)}) space"}

    @staticmethod
    def _read_string(fields: dict[str, Any]) -> dict[str, Any]:
        _require_only(fields, ("pattern",) if "pattern" in fields else ("minLength", "maxLength"))
        _check_counts(fields, "minLength", "maxLength")
        return {"type": "string", **fields}

    @staticmethod
    def _read_number(fields: dict[str, Any], kind: str = "number") -> dict[str, Any]:
        if kind == "integer" and fields.get("multipleOf") == 1:
            del fields["multipleOf"]
        _require_only(fields, _NUMBER_BOUNDS)
        if not fields:
            return {"type": kind}
        for name, value in fields.items():
            if not _is_of_type(value, "number") or not math.isfinite(value):
                raise _schema_error(f"{name} is not a number")
        low, above = _tighter_bound(fields.get("minimum"), fields.get("exclusiveMinimum"), 1)
        high, below = _tighter_bound(fields.get("maximum"), fields.get("exclusiveMaximum"), -1)
        try:
            if kind == "integer":
                low = math.floor(low) + 1 if low is not None and above else low
                high = math.ceil(high) - 1 if high is not None and below else high
                grammar = number_ranges.integer_range_grammar(low, high)
            else:
                grammar = number_ranges.number_range_grammar(low, high, above=above, below=below)
        except ValueError as problem:
            raise _schema_error(f"{' and '.join(fields)}: {problem}") from problem
        return {GRAMMAR_KEY: f"{grammar} space"}

    def _read_array(self, fields: dict[str, Any]) -> dict[str, Any]:
        if fields.get("uniqueItems") is False:
            del fields["uniqueItems"]
        first = fields.pop("prefixItems", None)
        if first is None and isinstance(fields.get("items"), list):
            first = fields.pop("items")
        if first is not None and fields.get("items") is False:
            del fields["items"]
        _require_only(fields, ("minItems", "maxItems") if first is not None else ("minItems", "maxItems", "items"))
        _check_counts(fields, "minItems", "maxItems")
        if first is None:
            if not fields:
                return {"type": "array"}
            return {**fields, "type": "array", "items": self.read_schema(fields.get("items", True))}
        if not isinstance(first, list) or not first:
            raise _schema_error("prefixItems is not a list of schemas")
        if not fields.get("minItems", 0) <= len(first) <= fields.get("maxItems", len(first)):
            raise _schema_error(f"minItems or maxItems is not the number of prefixItems, {len(first)}")
        return {"type": "array", "prefixItems": [self.read_schema(item) for item in first]}

    def _read_object(self, fields: dict[str, Any]) -> dict[str, Any]:
        _require_only(fields, ("properties", "required", "additionalProperties"))
        properties, required = fields.get("properties", {}), fields.get("required", [])
        more = fields.get("additionalProperties", True)
        if not isinstance(properties, Mapping):
            raise _schema_error("properties is not an object")
        if not isinstance(required, list) or not all(isinstance(name, str) for name in required):
            raise _schema_error("required is not a list of names")
        for name in required:
            if name not in properties:
                raise _schema_error(f"required names {name}, which is not among the properties")
        if len(properties) - len(set(required)) > MAX_OPTIONAL_PROPERTIES:
            raise _schema_error(f"an object has more than {MAX_OPTIONAL_PROPERTIES} properties that are not required")
        if more is True and not properties:
            return {"type": "object"}
        read = {"type": "object", "properties": {name: self.read_schema(each) for name, each in properties.items()}}
        extra = {} if isinstance(more, bool) else {"additionalProperties": self.read_schema(more)}
        return {**read, "required": required, "additionalProperties": False, **extra}

    def _read_choice(self, fields: dict[str, Any], name: str) -> dict[str, Any]:
        kind = {"type": fields.pop("type")} if "type" in fields else {}
        parts = _require_subschemas(_require_alone(fields, name), name)
        if kind:
            parts = [{**kind, **part} if "$ref" not in part else part for part in parts]
        if name == "oneOf" and not all(
            _are_disjoint(*pair) for pair in combinations(map(self._resolve_references, parts), 2)
        ):
            raise _schema_error("the choices of oneOf may overlap; use anyOf instead")
        return {"anyOf": [self.read_schema(part) for part in parts]}

    def _merge_all_of(self, fields: dict[str, Any]) -> Mapping[str, Any]:
        """Return ``allOf`` merged with the fields beside it, if all of them are about properties."""
        parts = _require_subschemas(fields.pop("allOf"), "allOf")
        kind = fields.pop("type", None)
        parts = [*([fields] if fields else []), *parts]
        if len(parts) == 1:
            return parts[0] if kind is None or "$ref" in parts[0] else {"type": kind, **parts[0]}
        properties: dict[str, Any] = {}
        required: list[str] = []
        for part in [_drop_annotations(self._resolve_references(part)) for part in parts]:
            if part.pop("type", "object") != "object" or set(part) - {"properties", "required"}:
                raise _schema_error("allOf with anything but properties and required cannot be enforced")
            for name, schema in part.get("properties", {}).items():
                if properties.setdefault(name, schema) != schema:
                    raise _schema_error(f"allOf contradicts itself about {name}")
            required += part.get("required", [])
        return {"type": "object", "properties": properties, "required": required}

    def _read_reference(self, reference: Any) -> str:
        """Return a reference to a renamed definition: the converter names definitions by the last word of a path."""
        target = self._resolve_pointer(reference)
        if reference not in self._definition_names:
            self._definition_names[reference] = name = f"definition-of-schema-{len(self._definition_names)}"
            self.definitions[name] = self.read_schema(target)
        return self._definition_names[reference]

    def _resolve_pointer(self, reference: Any) -> Any:
        found: Any = self._root
        if not isinstance(reference, str) or not (reference == "#" or reference.startswith("#/")):
            raise _schema_error(f"$ref {reference!r} points outside of the schema")
        for step in reference[2:].split("/") if reference != "#" else ():
            name = step.replace("~1", "/").replace("~0", "~")
            if not isinstance(found, Mapping) or name not in found:
                raise _schema_error(f"$ref {reference} points to nothing")
            found = found[name]
        return found

    def _resolve_references(self, part: Mapping[str, Any]) -> Mapping[str, Any]:
        for _ in range(MAX_SUBSCHEMAS):
            if "$ref" not in part:
                return part
            target = self._resolve_pointer(_require_alone(_drop_annotations(part), "$ref"))
            if not isinstance(target, Mapping):
                break
            part = target
        raise _schema_error("its references point only to each other")


def _drop_annotations(given: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in given.items() if name not in _ANNOTATIONS and not name.startswith("x-")}


def _require_alone(fields: Mapping[str, Any], name: str) -> Any:
    """Return a field that can be enforced only without others."""
    for other in fields:
        if other != name:
            raise _schema_error(f"{other} beside {name} cannot be enforced")
    return fields[name]


def _require_only(fields: Mapping[str, Any], kept: Sequence[str]) -> None:
    for name in fields:
        if name not in kept:
            raise _schema_error(f"{name} cannot be enforced")


def _require_subschemas(given: Any, name: str) -> list[Mapping[str, Any]]:
    if not isinstance(given, list) or not given or not all(isinstance(part, Mapping) for part in given):
        raise _schema_error(f"{name} is not a list of schemas")
    return given


def _check_counts(fields: Mapping[str, Any], least: str, most: str) -> None:
    for name in (least, most):
        count = fields.get(name, 0)
        if not _is_of_type(count, "integer") or not 0 <= count <= MAX_REPETITIONS:
            raise _schema_error(f"{name} is not a whole number from 0 to {MAX_REPETITIONS}")
    if most in fields and fields.get(least, 0) > fields[most]:
        raise _schema_error(f"{least} is more than {most}")


def _tighter_bound(inclusive: float | None, exclusive: float | None, sign: int) -> tuple[float | None, bool]:
    """Return the tighter bound, and whether it is exclusive; ``sign`` -1: of upper bounds."""
    if exclusive is None or inclusive is None:
        return (inclusive, False) if exclusive is None else (exclusive, True)
    return (exclusive, True) if sign * exclusive >= sign * inclusive else (inclusive, False)


def _is_of_type(value: Any, kind: Any) -> bool:
    if isinstance(value, bool):
        return bool(kind == "boolean")
    return isinstance(value, _PYTHON_TYPES.get(kind, ()) if isinstance(kind, str) else ())


def _are_disjoint(one: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    """Return whether no value matches both, as far as simple checks show."""
    kinds = [part.get("type") for part in (one, other)]
    if all(isinstance(kind, str) for kind in kinds) and kinds[0] != kinds[1] and set(kinds) != {"integer", "number"}:
        return True
    if _have_no_common_value(one, other):
        return True
    both = [part.get("properties") for part in (one, other)]
    if not all(isinstance(properties, Mapping) for properties in both):
        return False
    needed = set(one.get("required", ())) & set(other.get("required", ()))
    return any(_have_no_common_value(both[0].get(name), both[1].get(name)) for name in needed)  # type: ignore[union-attr]


def _have_no_common_value(one: Any, other: Any) -> bool:
    sets = [set(values) for part in (one, other) if (values := list(_enumerated_values(part)))]
    return len(sets) == 2 and not sets[0] & sets[1]  # noqa: PLR2004


def _enumerated_values(part: Any) -> Iterator[str]:
    if isinstance(part, Mapping):
        values = [part["const"]] if "const" in part else part.get("enum")
        yield from map(json.dumps, values if isinstance(values, list) else ())
