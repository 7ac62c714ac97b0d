"""Bounds of the numbers in a JSON schema, so that none is written with digits without end.

llguidance counts with floating-point numbers, so a step is chosen that reaches the bounds exactly. It allows 0 under an
exclusive bound of 0 (version 1.9.1), so bounds that exclude become the next ones that include.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from decimal import ROUND_CEILING, ROUND_FLOOR, Decimal
from typing import Any

BOUNDS = ("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum")
DECIMALS = 9
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
    read = {name: min(max(fields[name], -_MAX_INTEGER), _MAX_INTEGER) for name in BOUNDS if name in fields}
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
    """Return the finest step that reaches the bounds in ``read``, which move inwards to it; None if nothing is left then."""
    for decimals in range(DECIMALS, -1, -1):
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
        distance = max(1.0, abs(bound)) * 10.0**-DECIMALS
        bound = round(bound + (distance if tighter is max else -distance), DECIMALS)
        read[inclusive] = tighter(bound, read.get(inclusive, bound))
