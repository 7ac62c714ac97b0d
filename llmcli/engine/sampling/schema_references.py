"""References inside a JSON schema: where they point, and which lead back to themselves."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any

from llmcli.errors.model_errors import BadGrammar

_MAX_ALIASES = 2000
_MAX_CONTAINERS, _MAX_HEIGHT = 50_000, 300
"""Objects and lists of a schema; levels of them, references followed. llguidance recurses: 3000 overflow its stack."""
_MIN_LEVELS, _MAX_LEVELS, _NODE_TOKENS = 4, 16, 32
"""Levels of recursion, and tokens of a node: a binary tree of so many levels should fit the answer."""
_MAX_UNROLLED_PARTS, _MAX_UNROLLED_DEPTH = 4000, 150


class ReferenceTable:
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


def check_height(root: Mapping[str, Any], definitions: Mapping[str, Any]) -> None:
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
