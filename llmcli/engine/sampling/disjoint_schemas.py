"""Whether two JSON schemas have no value in common: then ``oneOf`` is the same as ``anyOf``."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any


def are_disjoint(one: Any, other: Any) -> bool:
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
    return any(_have_no_common_value(both[0].get(name), both[1].get(name)) for name in needed)  # type: ignore[union-attr]


def _have_no_common_value(one: Any, other: Any) -> bool:
    sets = [set(values) for part in (one, other) if (values := list(_enumerated_values(part)))]
    return len(sets) == 2 and not sets[0] & sets[1]  # noqa: PLR2004


def _enumerated_values(part: Any) -> Iterator[str]:
    if isinstance(part, Mapping):
        values = [part["const"]] if "const" in part else part.get("enum")
        yield from map(json.dumps, values if isinstance(values, list) else ())
