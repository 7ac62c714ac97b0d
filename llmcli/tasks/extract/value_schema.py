"""The schema of values that are copied from a text: a JSON Schema read into nodes, of which a grammar can be made."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from enum import StrEnum
from typing import Any

from llmcli.errors.model_errors import BadGrammar
from llmcli.fast_dataclass import frozen, replace

SUBJECT = "--schema"
"""What errors of a schema are about."""
MAX_LEAVES = 200
MAX_DEPTH = 8
_ANNOTATIONS = frozenset({
    "title", "description", "default", "examples", "example", "deprecated", "readOnly", "writeOnly", "$schema", "$id",
    "$comment", "$defs", "definitions", "additionalProperties", "uniqueItems", "discriminator",
})  # fmt: skip
_KEYWORDS = {
    "string": {"minLength", "maxLength", "pattern", "format"},
    "integer": {"minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf"},
    "number": {"minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf"},
    "boolean": set(),
    "null": set(),
    "array": {"items", "minItems", "maxItems"},
    "object": {"properties", "required"},
}


class LeafKind(StrEnum):
    """What a single value is, and how it is found: texts, numbers and dates in the text, the others chosen."""

    TEXT = "text"
    INTEGER = "integer"
    NUMBER = "number"
    DATE = "date"
    BOOLEAN = "boolean"
    CHOICE = "choice"


@frozen
class LeafNode:
    """A single value of ``schema``, which has no references; ``choices`` are those of an enum."""

    kind: LeafKind
    schema: Mapping[str, Any]
    nullable: bool = False
    choices: tuple[Any, ...] = ()


@frozen
class ListNode:
    """A list; ``max_items`` is None without a limit."""

    item: ValueNode
    min_items: int = 0
    max_items: int | None = None
    nullable: bool = False


@frozen
class Property:
    """A property of an object; ``description`` is "" without one."""

    name: str
    node: ValueNode
    required: bool
    description: str = ""


@frozen
class ObjectNode:
    """An object of these properties, and no others."""

    properties: tuple[Property, ...]
    nullable: bool = False


ValueNode = LeafNode | ListNode | ObjectNode


def read_value_schema(schema: Mapping[str, Any]) -> ObjectNode:
    """Return the nodes of the JSON Schema of an object.

    Supported are ``properties``, ``items``, numbers with bounds, texts with length and pattern, ``enum``, ``const``,
    null, dates, and references that do not lead back to themselves. Raises ``BadGrammar`` for anything else.
    """
    node = _SchemaNodeReader(schema).read(schema, (), 0)
    if isinstance(node, ListNode):
        raise BadGrammar(SUBJECT, detail="it is that of a list; give that of one object, and --many")
    if not isinstance(node, ObjectNode):
        raise BadGrammar(SUBJECT, detail="it is not that of an object")
    leaves = sum(1 for _ in iter_leaves(node))
    if leaves > MAX_LEAVES:
        raise BadGrammar(SUBJECT, detail=f"it has more than {MAX_LEAVES} values")
    return replace(node, nullable=False)


def iter_leaves(node: ValueNode) -> Iterator[LeafNode]:
    """Yield the single values of a schema, those of a list once."""
    if isinstance(node, LeafNode):
        yield node
    elif isinstance(node, ListNode):
        yield from iter_leaves(node.item)
    else:
        for each in node.properties:
            yield from iter_leaves(each.node)


def passage_schema(node: ValueNode, max_items: int) -> dict[str, Any]:
    """Return the JSON Schema of what one passage may give: each single value may be missing there, and is then null."""
    if isinstance(node, LeafNode):
        return {"anyOf": [dict(node.schema), {"type": "null"}]}
    if isinstance(node, ListNode):
        limit = max_items if node.max_items is None else min(node.max_items, max_items)
        item = passage_schema(node.item, max_items)
        if isinstance(node.item, LeafNode):
            item = dict(node.item.schema)
        return {"type": "array", "items": item, "maxItems": limit}
    return {
        "type": "object",
        "properties": {each.name: passage_schema(each.node, max_items) for each in node.properties},
        "required": [each.name for each in node.properties],
        "additionalProperties": False,
    }


class _SchemaNodeReader:
    def __init__(self, root: Mapping[str, Any]) -> None:
        self._root = root

    def read(self, given: Any, seen: tuple[str, ...], depth: int) -> ValueNode:
        """Return the node of a schema; ``seen``: the references that led to it."""
        if depth > MAX_DEPTH:
            raise BadGrammar(SUBJECT, detail=f"it is nested more than {MAX_DEPTH} deep")
        fields, seen = self._resolve(given, seen)
        if "enum" in fields or "const" in fields:
            return _read_choice(fields)
        for name in ("anyOf", "oneOf", "allOf"):
            if name in fields:
                return self._read_combination(fields, name, seen, depth)
        kinds = fields.get("type", "object" if "properties" in fields else None)
        kinds = [kinds] if isinstance(kinds, str) else list(kinds or ())
        nullable = "null" in kinds
        kinds = [kind for kind in kinds if kind != "null"]
        if len(kinds) != 1 or kinds[0] not in _KEYWORDS:
            raise _unsupported("a value of several types" if kinds else "a value without a type")
        _check_names(fields, _KEYWORDS[kinds[0]] | {"type"})
        if kinds[0] == "object":
            return self._read_object(fields, seen, depth, nullable=nullable)
        if kinds[0] == "array":
            item = self.read(fields.get("items", {}), seen, depth + 1)
            return ListNode(item, fields.get("minItems", 0), fields.get("maxItems"), nullable)
        return _read_leaf(fields, kinds[0], nullable=nullable)

    def _read_object(
        self, fields: Mapping[str, Any], seen: tuple[str, ...], depth: int, *, nullable: bool
    ) -> ObjectNode:
        if isinstance(fields.get("additionalProperties"), Mapping):
            raise _unsupported("additionalProperties with a schema")
        required = frozenset(fields.get("required", ()))
        properties = tuple(
            Property(name, self.read(part, seen, depth + 1), name in required, self._describe(part))
            for name, part in fields.get("properties", {}).items()
        )
        if not properties or not required <= {each.name for each in properties}:
            raise _unsupported("an object without properties" if not properties else "a required name without a schema")
        return ObjectNode(properties, nullable)

    def _read_combination(self, fields: Mapping[str, Any], name: str, seen: tuple[str, ...], depth: int) -> ValueNode:
        _check_names(fields, {name})
        parts = [part for part in fields[name] if not (isinstance(part, Mapping) and part.get("type") == "null")]
        if len(parts) != 1 or (name == "allOf" and len(fields[name]) != 1):
            raise _unsupported(name)
        node = self.read(parts[0], seen, depth + 1)
        return replace(node, nullable=True) if len(fields[name]) > 1 else node

    def _resolve(self, given: Any, seen: tuple[str, ...]) -> tuple[Mapping[str, Any], tuple[str, ...]]:
        """Follow references inside the schema."""
        while isinstance(given, Mapping) and "$ref" in given:
            _check_names(given, {"$ref"})
            reference = given["$ref"]
            if reference in seen:
                raise BadGrammar(SUBJECT, detail=f"{reference} leads back to itself")
            seen = (*seen, reference)
            given = self._find(reference)
        if not isinstance(given, Mapping):
            raise _unsupported("a value of any type")
        return given, seen

    def _find(self, reference: Any) -> Any:
        found: Any = self._root
        parts = str(reference).split("/")
        if parts[0] != "#":
            raise BadGrammar(SUBJECT, detail=f"it refers to {reference!r}, which it does not contain")
        for part in parts[1:]:
            name = part.replace("~1", "/").replace("~0", "~")
            if not isinstance(found, Mapping) or name not in found:
                raise BadGrammar(SUBJECT, detail=f"it refers to {reference!r}, which it does not contain")
            found = found[name]
        return found

    def _describe(self, given: Any) -> str:
        """Return the description of a part: its own, or that of what it refers to."""
        text = given.get("description", "") if isinstance(given, Mapping) else ""
        if not text and isinstance(given, Mapping) and "$ref" in given:
            return self._describe(self._find(given["$ref"]))
        return " ".join(str(text).split())


def _read_leaf(fields: Mapping[str, Any], kind: str, *, nullable: bool) -> LeafNode:
    schema = {name: value for name, value in fields.items() if name not in _ANNOTATIONS} | {"type": kind}
    is_date = kind == "string" and fields.get("format") == "date"
    found = LeafKind.DATE if is_date else LeafKind.TEXT if kind == "string" else LeafKind(kind)
    return LeafNode(found, schema, nullable)


def _read_choice(fields: Mapping[str, Any]) -> LeafNode:
    _check_names(fields, {"enum", "const", "type"})
    values = fields.get("enum", [fields.get("const")])
    if any(isinstance(value, list | Mapping | float) for value in values):
        raise _unsupported("an enum of lists, objects or numbers with decimals")
    choices = tuple(value for value in values if value is not None)
    if not choices:
        raise _unsupported("an enum without values")
    return LeafNode(LeafKind.CHOICE, {"enum": list(choices)}, None in values, choices)


def _check_names(fields: Mapping[str, Any], allowed: set[str]) -> None:
    for name in fields:
        if name not in allowed and name not in _ANNOTATIONS and not name.startswith("x-"):
            raise _unsupported(name)


def _unsupported(what: str) -> BadGrammar:
    return BadGrammar(SUBJECT, detail=f"{what} can only be extracted with --free")
