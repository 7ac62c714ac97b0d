"""JSON schemas prepared for llguidance: bounded, and without keywords that it cannot enforce.

What a schema leaves open gets a bound, so that a small model cannot write characters, digits or items without end, nor
values inside each other. Annotations are dropped; ``format`` is one unless llguidance enforces it. Source: JSON Schema
2020-12, "Core" and "Validation".
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from itertools import combinations
from typing import Any

from llmcli.engine.sampling.schema_keywords import (
    COMBINATIONS,
    TYPE_BY_KEYWORD,
    bound_numbers,
    check_keywords,
    largest_repetition,
    schema_error,
)
from llmcli.errors.model_errors import BadGrammar

_MAX_SUBSCHEMAS, _MAX_ENUM_VALUES, _MAX_OPTIONAL_PROPERTIES = 2000, 5000, 100
"""Schemas in a schema, values of all enums, optional properties of an object."""
_MAX_ONE_OF = 200
"""Choices of ``oneOf``, which are compared in pairs."""
_MAX_DEPTH = 100
"""Levels of schemas inside each other."""
_MAX_TEXT_CHARACTERS, _MIN_TEXT_CHARACTERS = 8192, 256
_ANY_KEY = r"^(.|\n){0,64}$"
_MAX_ITEMS, _MIN_ITEMS = 256, 16
_DEFAULT_TOKENS = 8192
"""Tokens of an answer without a limit."""
_FREE_VALUE_DEPTH = 4
"""Levels of arrays and objects in a value that the schema does not describe."""


def prepare_schema(schema: Mapping[str, Any], max_tokens: int | None = None) -> dict[str, Any]:
    """Return an equivalent or stricter schema that llguidance enforces. Raises ``BadGrammar``.

    ``max_tokens`` of the answer (None: 8192) give the bounds where the schema has none: of texts a character for each
    token, 256 to 8192, with a pattern 256; of arrays an item for each 16 tokens, 16 to 256; of recursion the levels of
    a binary tree with nodes of 32 tokens, 4 to 16.
    """
    reader = _SchemaReader(schema, max_tokens)
    root = reader.read(schema if check_keywords(schema) else {"type": "object"}, closed=True, level=0, depth=0)
    if root is False:
        raise schema_error("it allows no value")
    _check_height(root, reader.definitions)
    return {**root, "$defs": reader.definitions} if reader.definitions else root


class _SchemaReader:
    """Reads one schema. ``closed``: objects allow no properties but their own; not where schemas are intersected."""

    def __init__(self, root: Mapping[str, Any], max_tokens: int | None) -> None:
        tokens = _DEFAULT_TOKENS if max_tokens is None else max_tokens
        self._references = _ReferenceTable(root, tokens)
        self._part_count = self._value_count = 0
        self._max_characters = int(min(_MAX_TEXT_CHARACTERS, max(_MIN_TEXT_CHARACTERS, tokens)))
        self._max_items = int(min(_MAX_ITEMS, max(_MIN_ITEMS, tokens / 16)))
        self._names: dict[tuple[str, bool, int], Any] = {}
        self.definitions: dict[str, Any] = {}

    def read(self, given: Any, *, closed: bool, level: int, depth: int) -> Any:
        """Return a schema, prepared; False where it allows no value. ``level``: of recursion."""
        self._count_part(level, depth)
        fields = check_keywords(given) if isinstance(given, Mapping) else {}
        if given is False:
            return False
        if given is not True and not isinstance(given, Mapping):
            raise schema_error("a part of it is not a schema")
        if not fields:
            return self._free_value(_FREE_VALUE_DEPTH) if closed else {}
        if "allOf" in fields and (merged := self._merge_all_of(fields)) is not None:
            return self.read(merged, closed=closed, level=level, depth=depth + 1)
        combined = [name for name in ("$ref", *COMBINATIONS) if name in fields]
        only_own = all(name != "$ref" and not any(map(_describes_parts, fields[name])) for name in combined)
        read = self._read_own(fields, closed=closed and only_own, level=level, depth=depth + 1)
        # objects that are intersected with others must allow the properties of these
        closed = closed and len(combined) == 1 and combined != ["allOf"]
        closed = closed and not set(fields) - {*combined, "type", "enum", "const"}
        for name in combined:
            part = self._read_combination(fields[name], name, closed=closed, level=level, depth=depth + 1)
            read = False if read is False or part is False else _intersect(read, part)
        return read

    def _count_part(self, level: int, depth: int) -> None:
        self._part_count += not level
        if depth > _MAX_DEPTH:
            raise schema_error(f"it is nested more than {_MAX_DEPTH} deep")
        if self._part_count > _MAX_SUBSCHEMAS:
            raise schema_error(f"it has more than {_MAX_SUBSCHEMAS} parts")

    # ---- references and combinations ---------------------------------------------------------------------------------

    def _read_combination(self, given: Any, name: str, *, closed: bool, level: int, depth: int) -> Any:
        if name == "$ref":
            return self._read_reference(given, closed=closed, level=level, depth=depth)
        parts = [self.read(part, closed=closed, level=level, depth=depth) for part in given]
        if name == "allOf":
            return False if False in parts else {"allOf": parts}
        if name == "oneOf":
            if len(given) > _MAX_ONE_OF:
                raise schema_error(f"oneOf has more than {_MAX_ONE_OF} choices; use anyOf instead")
            targets = [self._references.resolve_aliases(part) for part in given]
            if not all(_are_disjoint(*pair) for pair in combinations(targets, 2)):
                raise schema_error("the choices of oneOf may overlap; use anyOf instead")
        parts = [part for part in parts if part is not False]
        return {"anyOf": parts} if parts else False

    def _merge_all_of(self, fields: Mapping[str, Any]) -> Any:
        """Return one schema for ``allOf`` and the fields beside it where these are about properties only, else None."""
        beside = {name: value for name, value in fields.items() if name != "allOf"}
        if not beside and len(fields["allOf"]) == 1:
            return fields["allOf"][0]
        properties: dict[str, Any] = {}
        required: list[str] = []
        for part in (beside, *map(self._references.resolve_aliases, fields["allOf"])):
            read = check_keywords(part) if isinstance(part, Mapping) else {"not": part}
            if read.pop("type", "object") != "object" or set(read) - {"properties", "required"}:
                return None
            for name, schema in read.get("properties", {}).items():
                properties[name] = {"allOf": [properties[name], schema]} if name in properties else schema
            required += read.get("required", [])
        return {"type": "object", "properties": properties, "required": required}

    def _read_reference(self, reference: Any, *, closed: bool, level: int, depth: int) -> Any:
        """Return a reference to a definition of our own: those that lead back to themselves are unrolled."""
        target = self._references.resolve(reference)
        if self._references.is_recursive(reference):
            level += 1
            if level > self._references.max_level:
                return False
        key = (reference, closed, level)
        if key not in self._names:
            self._names[key] = {"$ref": f"#/$defs/{len(self._names)}"}
            name = str(len(self._names) - 1)
            read = self.read(target, closed=closed, level=level, depth=depth)
            if read is False:
                self._names[key] = False
            else:
                self.definitions[name] = read
        found = self._names[key]
        return dict(found) if found else False

    # ---- values ------------------------------------------------------------------------------------------------------

    def _read_own(self, fields: dict[str, Any], *, closed: bool, level: int, depth: int) -> Any:
        """Return the keywords that are about the value itself."""
        if "enum" in fields or "const" in fields:
            return self._read_constant(fields)
        given = fields.get("type", sorted({TYPE_BY_KEYWORD[name] for name in fields if name in TYPE_BY_KEYWORD}))
        kinds = {given} if isinstance(given, str) else set(given)
        read: dict[str, Any] = {"type": sorted(kinds)} if kinds else {}
        if kinds & {"number", "integer"}:
            read.update(bound_numbers(fields, integers="number" not in kinds))
        for kind, reader in (("array", self._read_array), ("object", self._read_object)):
            if kind in kinds:
                part = reader(fields, closed=closed, level=level, depth=depth)
                if part is False:
                    kinds -= {kind}
                    read["type"] = sorted(kinds)
                else:
                    read.update(part)
        if not kinds and "type" in read:
            return False
        if "string" in kinds:
            names = ("minLength", "maxLength", "pattern", "format")
            read["maxLength"] = self._max_text_characters(fields)
            read.update({name: fields[name] for name in names if name in fields})
        return read

    def _read_constant(self, fields: Mapping[str, Any]) -> dict[str, Any]:
        self._value_count += len(fields.get("enum", [None]))
        if self._value_count > _MAX_ENUM_VALUES:
            raise schema_error(f"it has more than {_MAX_ENUM_VALUES} values of enum")
        read = {name: value for name, value in fields.items() if name not in {"$ref", *COMBINATIONS}}
        for name in read:
            if TYPE_BY_KEYWORD.get(name) in {"array", "object"}:
                raise schema_error(f"{name} beside enum or const cannot be enforced")
        return read

    def _max_text_characters(self, fields: Mapping[str, Any]) -> int:
        least: int = max(fields.get("minLength", 0), largest_repetition(fields.get("pattern", "")))
        # what has a pattern is short; and its digits may take a token each
        return max(_MIN_TEXT_CHARACTERS if "pattern" in fields else self._max_characters, 2 * least)

    def _read_array(self, fields: Mapping[str, Any], *, closed: bool, level: int, depth: int) -> Any:
        least = fields.get("minItems", 0)
        read = {"minItems": least, "maxItems": fields.get("maxItems", max(self._max_items, 2 * least))}
        first, items = fields.get("prefixItems"), fields.get("items", "prefixItems" not in fields)
        if isinstance(items, list):
            first, items = items, fields.get("additionalItems", False)
        if first is not None:
            read["prefixItems"] = [self.read(item, closed=closed, level=level, depth=depth) for item in first]
            if False in read["prefixItems"]:
                possible = read["prefixItems"].index(False)
                read["prefixItems"], items = read["prefixItems"][:possible], False
        read["items"] = self.read(items, closed=closed, level=level, depth=depth)
        if read["items"] is False:
            read["maxItems"] = min(read["maxItems"], len(read.get("prefixItems", ())))
        return read if read["minItems"] <= read["maxItems"] else False

    def _read_object(self, fields: Mapping[str, Any], *, closed: bool, level: int, depth: int) -> Any:
        def read_part(part: Any) -> Any:
            return self.read(part, closed=closed, level=level, depth=depth)

        required = list(dict.fromkeys(fields.get("required", ())))
        properties = {name: read_part(part) for name, part in fields.get("properties", {}).items()}
        patterns = {name: read_part(part) for name, part in fields.get("patternProperties", {}).items()}
        more = fields.get("additionalProperties", True)
        if closed and not patterns:
            properties.update({name: read_part(more) for name in required if name not in properties})
        if len(properties) - len(required) > _MAX_OPTIONAL_PROPERTIES:
            raise schema_error(f"an object has more than {_MAX_OPTIONAL_PROPERTIES} properties that are not required")
        if any(properties.get(name) is False for name in required):
            return False
        read: dict[str, Any] = {
            "required": required,
            "properties": properties,
            **_read_property_counts(fields, required),
        }
        if patterns:
            read["patternProperties"] = patterns
        if more is False or (more is True and closed and (properties or patterns)):
            read["additionalProperties"] = False
        elif closed and not (properties or patterns):  # a map: the length of its keys can be bounded too
            read["patternProperties"] = {_ANY_KEY: read_part(more)}
            read["additionalProperties"] = False
        else:
            read["additionalProperties"] = read_part(more)
        if closed and set(properties) <= set(required):  # elsewhere llguidance cannot count them
            read.setdefault("maxProperties", len(required) + self._max_items)
        return read

    def _free_value(self, depth: int) -> dict[str, Any]:
        """Return a reference to a schema of any value, of at most ``depth`` levels."""
        name = f"any-{depth}"
        if name not in self.definitions:
            kinds = ["boolean", "null", "number", "string", *(["array", "object"] if depth else [])]
            inner = self._free_value(depth - 1) if depth else False
            self.definitions[name] = {
                "type": kinds, "maxLength": self._max_characters, **bound_numbers({}, integers=False),
                **({"items": inner, "maxItems": self._max_items, "maxProperties": self._max_items,
                    "patternProperties": {_ANY_KEY: inner},
                    "additionalProperties": False} if depth else {}),
            }  # fmt: skip
        return {"$ref": f"#/$defs/{name}"}


def _describes_parts(part: Any) -> bool:
    """Tell whether a schema may say something about the properties or items of a value."""
    inner = {"properties", "patternProperties", "additionalProperties", "items", "prefixItems", "$ref", *COMBINATIONS}
    return not isinstance(part, Mapping) or bool(inner & set(part))


def _intersect(read: dict[str, Any], part: dict[str, Any]) -> dict[str, Any]:
    """Return the schema of what fits both; keywords of one must not replace those of the other."""
    if not set(read) & set(part):
        return {**read, **part}
    return {**read, "allOf": [*read.get("allOf", []), part]}


def _read_property_counts(fields: Mapping[str, Any], required: list[str]) -> dict[str, Any]:
    """Return the bounds of the number of properties. llguidance may repeat a name, so that two of them may be one."""
    counts = {name: fields[name] for name in ("minProperties", "maxProperties") if name in fields}
    if counts.get("minProperties", 0) <= len(required):
        counts.pop("minProperties", None)
    if counts.get("minProperties", 0) > 1:
        raise schema_error("minProperties cannot be enforced, except up to 1 or to the number of required names")
    return counts


def _are_disjoint(one: Any, other: Any) -> bool:
    """Return whether no value fits both schemas, as far as simple checks show."""
    if not (isinstance(one, Mapping) and isinstance(other, Mapping)):
        return False
    kinds = [part.get("type") for part in (one, other)]
    if all(isinstance(kind, str) for kind in kinds) and kinds[0] != kinds[1] and set(kinds) != {"integer", "number"}:
        return True
    if _have_no_common_value(one, other):
        return True
    both = [part.get("properties") for part in (one, other)]
    if not all(isinstance(properties, Mapping) for properties in both):
        return False
    needed = set(one.get("required", ())) & set(other.get("required", ()))
    return any(_have_no_common_value(both[0].get(name), both[1].get(name)) for name in needed)  # type: ignore[union-attr]  # both are mappings


def _have_no_common_value(one: Any, other: Any) -> bool:
    sets = [set(values) for part in (one, other) if (values := list(_enumerated_values(part)))]
    return len(sets) == 2 and not sets[0] & sets[1]  # noqa: PLR2004 (both have values)


def _enumerated_values(part: Any) -> Iterator[str]:
    if isinstance(part, Mapping):
        values = [part["const"]] if "const" in part else part.get("enum")
        yield from map(json.dumps, values if isinstance(values, list) else ())


_MAX_ALIASES = 2000
_MAX_CONTAINERS, _MAX_HEIGHT = 50_000, 300
"""Objects and lists of a schema; levels of them, references followed. llguidance recurses: 3000 overflow its stack."""
_MIN_LEVELS, _MAX_LEVELS, _NODE_TOKENS = 4, 16, 32
"""Levels of recursion, and tokens of a node: a binary tree of so many levels should fit the answer."""
_MAX_UNROLLED_PARTS, _MAX_UNROLLED_DEPTH = 4000, 150


class _ReferenceTable:
    """The references of one schema. ``max_level``: how often recursive ones are followed into each other."""

    def __init__(self, root: Mapping[str, Any], max_tokens: float) -> None:
        """``max_tokens``: of the answer."""
        self._root = root
        self._direct: dict[str, frozenset[str]] = {}
        self._recursive: dict[str, bool] = {}
        parts, depth = _measure(root)
        levels = min(_MAX_LEVELS, max(_MIN_LEVELS, math.floor(math.log2(max(1, max_tokens / _NODE_TOKENS)))))
        self.max_level = max(1, min(levels, _MAX_UNROLLED_PARTS // parts, _MAX_UNROLLED_DEPTH // depth))

    def resolve(self, reference: Any) -> Any:
        """Return the schema that a reference points to. Raises ``BadGrammar``."""
        found: Any = self._root
        if not isinstance(reference, str) or not (reference == "#" or reference.startswith("#/")):
            raise BadGrammar("schema", detail=f"$ref {reference!r} points outside of the schema")
        for step in reference[2:].split("/") if reference != "#" else ():
            name = step.replace("~1", "/").replace("~0", "~")
            if isinstance(found, list) and name.isdigit() and int(name) < len(found):
                found = found[int(name)]
            elif isinstance(found, Mapping) and name in found:
                found = found[name]
            else:
                raise BadGrammar("schema", detail=f"$ref {reference} points to nothing")
        return found

    def resolve_aliases(self, part: Any) -> Any:
        """Return the schema that a part is, where it is nothing but a reference. Raises ``BadGrammar``."""
        for _ in range(_MAX_ALIASES):
            if not isinstance(part, Mapping) or "$ref" not in part:
                return part
            part = self.resolve(part["$ref"])
        raise BadGrammar("schema", detail="its references point only to each other")

    def is_recursive(self, reference: str) -> bool:
        """Tell whether a reference can be reached from the schema that it points to."""
        if reference not in self._recursive:
            found: set[str] = set()
            waiting = [reference]
            while waiting:
                new = self._direct_references(waiting.pop()) - found
                found |= new
                waiting += new
            self._recursive[reference] = reference in found
        return self._recursive[reference]

    def _direct_references(self, reference: str) -> frozenset[str]:
        if reference not in self._direct:
            self._direct[reference] = frozenset(_iter_references(self.resolve(reference)))
        return self._direct[reference]


def _iter_references(part: Any) -> Iterator[str]:
    waiting, seen = [part], set()
    while waiting:
        each = waiting.pop()
        if id(each) in seen:
            continue
        seen.add(id(each))
        if isinstance(each, Mapping):
            if isinstance(each.get("$ref"), str):
                yield each["$ref"]
            waiting += (value for name, value in each.items() if name not in {"$defs", "definitions"})
        elif isinstance(each, list):
            waiting += each


def _measure(root: Any) -> tuple[int, int]:
    """Return the number of objects and lists in a schema, and how deep they are nested."""
    count, deepest, waiting = 0, 1, [(root, 1)]
    while waiting:
        each, depth = waiting.pop()
        count, deepest = count + 1, max(deepest, depth)
        if count > _MAX_CONTAINERS or depth > _MAX_HEIGHT:  # one from YAML may even contain itself
            raise BadGrammar("schema", detail="it is nested more than 100 deep, or too large")
        inner = each.values() if isinstance(each, Mapping) else each
        waiting += ((value, depth + 1) for value in inner if isinstance(value, Mapping | list))
    return count, deepest


def _check_height(root: Mapping[str, Any], definitions: Mapping[str, Any]) -> None:
    """Raise ``BadGrammar`` for a schema that is too deep when references are followed.

    Each definition refers only to earlier ones.
    """
    heights: dict[str, int] = {}
    for name, part in (*definitions.items(), ("", root)):
        height, waiting = 1, [(part, 1)]
        while waiting:
            each, depth = waiting.pop()
            target = each.get("$ref") if isinstance(each, Mapping) else None
            if isinstance(target, str):
                depth += heights.get(target.rpartition("/")[2], 0)
            height = max(height, depth)
            inner = each.values() if isinstance(each, Mapping) else each
            waiting += ((value, depth + 1) for value in inner if isinstance(value, Mapping | list))
        heights[name] = height
        if height > _MAX_HEIGHT:
            raise BadGrammar("schema", detail="it is nested more than 100 deep, references followed")
