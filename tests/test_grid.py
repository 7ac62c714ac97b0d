"""Samples of grids: small, complete and always the same."""

from __future__ import annotations

import collections
import itertools

from grid import sample


def rows(*axes):
    return [frozenset(zip("abc", row, strict=False)) for row in itertools.product(*axes)]


def test_every_value_is_in_the_sample():
    """In as many rows as the longest axis has values, and evenly: no value of another axis is in most of them."""
    grid = rows("12345678", "xy", "pqr")
    kept = [grid[number] for number in sample(grid, None, collections.Counter())]
    assert len(kept) == 8 and frozenset().union(*kept) == frozenset().union(*grid)
    assert max(collections.Counter(value for row in kept for value in row).values()) <= 4


def test_a_limit_is_kept_and_tests_share_the_values():
    """What one test of a file leaves out is in the sample of the next."""
    grid, used = rows("12345678"), collections.Counter()
    samples = [sample(grid, 3, used) for _ in range(3)]
    assert [len(kept) for kept in samples] == [3, 3, 3]
    assert set().union(*samples) == set(range(8))


def test_a_single_row_stays():
    """A row that is named on the command line always runs."""
    assert sample(rows("1"), 3, collections.Counter({("a", "1"): 9})) == {0}
