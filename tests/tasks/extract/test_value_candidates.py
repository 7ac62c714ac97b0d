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
        ("INV-0012 5kg 10% \u22127", [5, 10, -7]),
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


@pytest.mark.parametrize("sentence", ["{}", "The order {} is late.", "Order {}, ({})"])
@pytest.mark.parametrize(
    "word",
    [
        "A-10432",
        "v2.3.1",
        "v2.3",
        "INV2024-05-01X",
        "A\u201110432",
        "A\u201010432",
        "A\u201310432",
        "A\u221210432",
        "ORD_10432",
        "10432_A",
        "_A10432_",
        "A10432",
        "10432X",
        "10432-A",
        "10432-XL",
        "2024-Q1",
        "COVID-19",
        "A/10432",
        "RE/2024/10432",
        "10432/A",
        "A.10432",
        "10432.pdf",
        "report_2024.pdf",
        "https://example.org/10432?id=5",
        "jane5@example.org",
        "10432@example.org",
        "A\u00ad10432",
        "A\u206010432",
        "A-\u200b10432",
        "10\u200b432",
        "5k",
        "$5m",
        "3M",
        "4K",
        "0x10",
        "1e5",
        "1990s",
        "H2O",
        "twenty-three",
        "two-thirds",
        "all-in-one",
        "one's",
        "978-3-16-148410-0",
        "2024-10432",
        "INV-0012",
        "A\\_10432",
        "12B",
        "(A)-10432",
        "A-5-10",
        "5-10-A",
        "#A10432",
        "A\ufe6310432",
        "\uff29\uff2e\uff36-10432",
        "\u0410-10432",
        "\u00df10432",
        "10432\u00df",
        "mp3",
        "10432-a",
        "www.a.org/5",
        "Type-2",
        "10432A-1",
        "\u2116A-1",
        "A+10432",
        "INV-\n10432",
    ],
)
def test_a_piece_of_a_longer_word_is_no_number(word, sentence):
    """Whatever joins it: a letter, any hyphen, an underscore, a point, or a character that no reader sees."""
    text = sentence.format(word, word)
    assert not find_numbers(text) and not find_dates(text)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("$10432", 10432),
        ("10432.", 10432),
        ("(10432)", 10432),
        ("10432\u20ac", 10432),
        ("5kg", 5),
        ("3rd", 3),
        ("10432,", 10432),
        ("#10432", 10432),
        ("No.5", 5),
        ("Nr.5", 5),
        ("EUR10", 10),
        ("CHF1'234", 1234),
        ("Rs.500", 500),
        ("50EUR", 50),
        ("10-year", 10),
        ("5-Zimmer-Wohnung", 5),
        ("_10432_", 10432),
        ("__5__", 5),
        ("**5**", 5),
        ("\u51715\u4e2a", 5),
        ("5\uac1c", 5),
        ("10%", 10),
        ("5\u00b0C", 5),
        ("20MB", 20),
        ("5m\u00b2", 5),
        ("5m2", 5),
        ("\u20ac5", 5),
        ("-5", -5),
        ("\u22125", -5),
        ("5/month", 5),
        ("word--5", 5),
        ("three-year", 3),
        ("\u21165", 5),
        ("\u00a75", 5),
        ("5:", 5),
        ('"10432"', 10432),
        ("[10432]", 10432),
        ("<b>5</b>", 5),
        ("id=5", 5),
        ("Total:5", 5),
        ("5th", 5),
        ("1er", 1),
        ("5\u043a\u0433", 5),
        ("5-\u0439", 5),
        ("230V", 230),
        ("10PM", 10),
        ("5;", 5),
        ("5!", 5),
        ("1,234.50", 1234.5),
        ("1.234,50\u20ac", 1234.5),
        ("5\u2013", 5),
        ("\u20145\u2014", 5),
        ("rooms\u201412 doors", 12),
        ("|5|", 5),
        ("10432\u200b", 10432),
        ("5.Mai", 5),
        ("`5`", 5),
        ("l'8 marzo", 8),
        ("Three.", 3),
        ("50+", 50),
        ("$-5", -5),
        ("US$5", 5),
        ("5kg.", 5),
        ("5kg-bag", 5),
        ("(5kg)", 5),
        ("5\u00a0kg", 5),
        ("12,50", 12.5),
        ("2x", 2),
        ("5 EUR", 5),
    ],
)
def test_a_number_keeps_its_marks_units_and_currencies(text, value):
    """They make no longer word."""
    assert values(find_numbers(text)) == values(find_numbers(f"The order {text} is late.")) == [value]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("5-10", [5, 10]),
        ("10-20kg", [10, 20]),
        ("10kg-20kg", [10, 20]),
        ("1920x1080", [1920, 1080]),
        ("won 3-1, 3/4", [3, 1, 3, 4]),
        ("1990\u20131995", [1990, 1995]),
        ("2+2", [2, 2]),
    ],
)
def test_both_ends_of_a_range_are_numbers(text, expected):
    """So are the numbers of a score, a fraction and a size."""
    assert values(find_numbers(text)) == expected


@pytest.mark.parametrize(
    "text",
    [
        "(2024-05-01)",
        "2024-05-01.",
        "2024-05-01T10:00:00Z",
        "2024-05-01Z",
        "_2024-05-01_",
        "Date:2024-05-01",
        "2024-05-01/2024-05-03",
        "1 May 2024.",
        "am 1.5.2024.Danach",
        "1-May-2024",
        "2024-05-01\u200b",
    ],
)
def test_a_date_stands_for_itself(text):
    """Marks around it, a time, or another date after it change nothing."""
    assert values(find_dates(text)) == ["2024-05-01"]


@pytest.mark.parametrize(
    "text",
    [
        "INV2024-05-01X",
        "A-2024-05-01",
        "log_2024-05-01",
        "log-2024-05-01.txt",
        "2024-05-01.txt",
        "2024-05-01_x",
        "2024-05-01-10432",
        "v2024.05.01",
        "A\u20112024-05-01",
        "https://a.org/2024/05/01/x",
        "A3 May 2024",
        "3 May 2024X",
        "X-May 3, 2024",
        "A\u200b2024-05-01",
        "REV1.5.24",
        "A/2024-05-01",
    ],
)
def test_a_piece_of_a_longer_word_is_no_date(text):
    """Such as the name of a file, or a number of an invoice."""
    assert not find_dates(text)
