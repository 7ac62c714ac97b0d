"""Numbers and dates in a text."""

from __future__ import annotations

import pytest

from llmcli.tasks.extract.value_candidates import find_dates, find_numbers


def values(candidates):
    return [each.value for each in candidates]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Total $1,234.50 and -12.5 or (3)", [1234.5, -12.5, 3]),
        ("Summe 1.234,50 EUR, 12,5 und 1.234", [1234.5, 12.5, 1234]),
        ("1,234 and 1.234", [1234, 1.234]),
        ("INV-0012 5kg 10% \u22127", [12, 5, 10, -7]),
        ("12'345.60 or 1\u00a0234", [12345.6, 1234]),
        ("1.234.567 and 1,234,567", [1234567, 1234567]),
        ("192.168.0.1", []),
        ("three rooms, Twelve doors, often", [3, 12]),
        ("9" * 40, []),
        ("", []),
    ],
)
def test_numbers_are_read_by_their_marks(text, expected):
    """Those of an address or of too many digits are none."""
    assert values(find_numbers(text)) == expected


def test_a_candidate_says_where_it_stands_and_how_it_may_be_written():
    """With the decimals of the text, and without needless ones."""
    text = "pay 1,234.00 now"
    (found,) = find_numbers(text)
    assert text[found.start : found.end] == "1,234.00" and found.forms == ("1234.00", "1234.0", "1234")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2024-03-04 or 2024/3/5", ["2024-03-04", "2024-03-05"]),
        ("3 March 2024, March 4th, 2024, 5th of May 2024", ["2024-03-03", "2024-03-04", "2024-05-05"]),
        ("3. M\u00e4rz 2024, 1er mars 2021, 3 de abril de 2020", ["2024-03-03", "2021-03-01", "2020-04-03"]),
        ("12.3.24 and 3-Mar-1999", ["2024-03-12", "1999-03-03"]),
        ("13/04/2024 03/05/2024", ["2024-04-13", "2024-05-03"]),
        ("04/13/2024 03/05/2024", ["2024-04-13", "2024-03-05"]),
        ("31/02/2024, 99.99.2000, 3 Foo 2024, May 2024", []),
        ("1.2.3.2024", []),
    ],
)
def test_dates_are_read_with_their_years(text, expected):
    """In any of several languages; impossible ones are none."""
    assert values(find_dates(text)) == expected


def test_a_date_that_may_be_two_is_both():
    """If no other date of the text decides it."""
    found = find_dates("on 03/04/2024")
    assert values(found) == ["2024-04-03", "2024-03-04"] and all(each.ambiguous for each in found)
