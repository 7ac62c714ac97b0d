"""Bounds of the numbers in a JSON schema, so that none is written with digits without end.

llguidance counts with floating-point numbers, so a step is chosen that reaches the bounds exactly. It allows 0 under an
exclusive bound of 0 (version 1.9.1), so bounds that exclude become the next ones that include.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

BOUNDS = ("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum")
DECIMALS = 9
"""Digits after the point of a number where a schema gives no ``multipleOf``."""
_MIN_DECIMALS = 3
_MAX_NUMBER = 10**16
"""The largest number where a schema gives no bound."""
_MAX_INTEGER = 10**18
"""The largest bound: llguidance counts integers in 64 bits."""


def bound_numbers(fields: Mapping[str, Any], *, integers: bool) -> dict[str, Any]:
    """Return the keywords for numbers in ``fields``, and bounds where there are none.

    ``integers``: the schema allows no other numbers.
    """
    read = {name: min(max(fields[name], -_MAX_INTEGER), _MAX_INTEGER) for name in BOUNDS if name in fields}
    steps = [] if integers else [10.0**-decimals for decimals in range(DECIMALS, _MIN_DECIMALS - 1, -1)]
    step = next((step for step in steps if all(_is_reached(bound, step) for bound in read.values())), None)
    if not integers:
        _include(read, "exclusiveMinimum", "minimum", max)
        _include(read, "exclusiveMaximum", "maximum", min)
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


def _is_reached(bound: float, step: float) -> bool:
    """Tell whether a bound is a multiple of ``step``, its neighbours too, in floating-point numbers."""
    near = [math.floor(bound / step) * step, math.ceil(bound / step) * step]
    return all(abs(found - bound) < step / 1000 for found in near) and abs(bound) < step * 1e15


def _include(read: dict[str, Any], exclusive: str, inclusive: str, tighter: Callable[[float, float], float]) -> None:
    """Replace an exclusive bound by the next number as an inclusive one."""
    if exclusive in read:
        bound = read.pop(exclusive)
        distance = max(1.0, abs(bound)) * 10.0**-DECIMALS
        bound = round(bound + (distance if tighter is max else -distance), DECIMALS)
        read[inclusive] = tighter(bound, read.get(inclusive, bound))
