"""One test for all rows of a table."""

from __future__ import annotations

import inspect

import pytest
from row_table import all_rows


def test_all_rows_run_and_each_that_failed_is_named():
    """Whether an assertion, an error or a missing exception; fixtures and tables of other parameters combine."""

    @all_rows("divisor", [0, 1, 2])
    @all_rows(("number", "half"), [(4, 2), (6, 3)])
    def test_division(number, half, divisor, tmp_path):
        assert number / divisor == half and tmp_path == "there"

    assert list(inspect.signature(test_division).parameters) == ["tmp_path"]
    with pytest.raises(BaseExceptionGroup, match="2 of 3 rows failed") as caught:
        test_division(tmp_path="there")
    zero, one = caught.value.exceptions
    assert (zero.message, one.message) == ("row 0", "row 1")
    (division,) = zero.exceptions
    assert [each.message for each in division.exceptions] == ["row (4, 2)", "row (6, 3)"]
    assert caught.group_contains(ZeroDivisionError) and caught.group_contains(AssertionError)


def test_a_table_without_failures_passes():
    """Each row ran; a failure that pytest reports counts too."""
    seen = []

    @all_rows("letter", "abc")
    def test_letters(letter):
        seen.append(letter)

    test_letters()
    assert seen == ["a", "b", "c"]
    with pytest.raises(BaseExceptionGroup, match="1 of 1 rows failed"):
        all_rows("reason", ["no"])(pytest.fail)()
