"""The dates that are found in a text."""

from __future__ import annotations

import pytest

from llmcli.tasks.written_dates import find_written_dates


@pytest.mark.parametrize(
    ("text", "readings"),
    [
        ("on 3 February 2026", ["2026-02-03"]),
        ("on the 3rd of February", ["--02-03"]),
        ("on March 3rd, and on April 4.", ["--03-03", "--04-04"]),
        ("am 3. Februar", ["--02-03"]),
        ("le 1er mars", ["--03-01"]),
        ("el 3 de marzo de 2026", ["2026-03-03"]),
        ("in June 2024", ["2024-06"]),
        ("03/04/2024", ["2024-04-03", "2024-03-04"]),
        ("they march 3 miles, and may 5 people set 3 tables", []),
        ("May 40", []),
        ("February 30", []),
        ("opens on the third of February", ["--02-03"]),
        ("on the Twenty-First of May, 2026", ["2026-05-21"]),
        ("on February the third, and March thirty-first", ["--02-03", "--03-31"]),
        ("am dritten Februar und am einundzwanzigsten M\u00e4rz 2026", ["--02-03", "2026-03-21"]),
        ("le premier mars et le vingt et un avril", ["--03-01", "--04-21"]),
        ("el tres de febrero de 2026", ["2026-02-03"]),
        ("il tre febbraio", ["--02-03"]),
        ("the first may be the second, and the third one", []),
        ("the third of February 30", ["--02-03"]),
        ("03/04", ["--04-03", "--03-04"]),
        ("on 03/25 and 25/03", ["--03-25", "--03-25"]),
        ("since 03/2026", ["2026-03"]),
        ("3/4 of it, 24/7, 9/11, 10/12, 00/07, version 03/04/05/06", []),
        ("am 3.4. und am 03.04.", ["--04-03", "--04-03"]),
        ("Ubuntu 22.04.", []),
        ("version 3 Marble", []),
        ("", []),
    ],
)
def test_dates_with_and_without_a_year(text, readings):
    """Words that are no months there, and days that do not exist, are none."""
    assert [reading for each in find_written_dates(text) for reading in each.readings] == readings


def test_the_place_of_a_date():
    """Is that of all its words."""
    text = "It opens on March 3rd."
    (found,) = find_written_dates(text)
    assert text[found.start : found.end] == "March 3rd"
