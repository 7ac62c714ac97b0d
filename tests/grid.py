"""Grids: parametrised tests of which a sample of the rows runs by default, and all rows with the marker ``stress``."""

from __future__ import annotations

import collections
from collections.abc import Callable, Iterable, Sequence

import pytest

covering = pytest.mark.grid(None)
"""A decorator for the same with pytest's own decorators: every value of every parameter, in as few rows as possible."""
Row = frozenset[tuple[str, str]]
"""What distinguishes a row: the names of its parameters, and how their values are written."""


def grid(names, values, *, rows: int | None = None, **how) -> Callable:
    """Like pytest's ``parametrize``, but a sample of the rows runs by default; ``rows`` is its largest size.

    Rows of other decorators and of fixtures multiply these, and the sample is one of the product. It has every value of
    every parameter, or, if that takes more than ``rows``, the values that the tests above it in the file have least.
    """

    def decorate(test):
        return pytest.mark.grid(rows)(pytest.mark.parametrize(names, values, **how)(test))

    return decorate


def mark_rows(items: Iterable[pytest.Item]) -> None:
    """Mark the rows of grids that are outside the samples."""
    files: dict[object, dict[str, list[pytest.Item]]] = collections.defaultdict(dict)
    for item in items:
        if hasattr(item, "callspec") and item.get_closest_marker("grid"):
            files[item.path].setdefault(item.originalname, []).append(item)
    for tests in files.values():
        used: collections.Counter[tuple[str, str]] = collections.Counter()
        for name in sorted(tests):
            rows = sorted(tests[name], key=lambda item: item.nodeid)
            limit = rows[0].get_closest_marker("grid").args[0]
            values = [frozenset((key, repr(value)) for key, value in row.callspec.params.items()) for row in rows]
            kept = sample(values, limit, used)
            for number in set(range(len(rows))) - kept:
                rows[number].add_marker("stress")


def sample(rows: Sequence[Row], limit: int | None, used: collections.Counter[tuple[str, str]]) -> set[int]:
    """Return the numbers of rows that together have every value; count their values in ``used``."""
    missing = {value for row in rows for value in row}
    kept: set[int] = set()
    while missing and (limit is None or len(kept) < limit):
        best = max(
            (number for number in range(len(rows)) if number not in kept),
            key=lambda number: (len(rows[number] & missing), -sum(used[value] for value in rows[number])),
        )
        kept.add(best)
        missing -= rows[best]
        used.update(rows[best])
    return kept
