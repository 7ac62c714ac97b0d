"""Names of a text that stand in no source."""

from __future__ import annotations

import pytest

from llmcli.tasks.generate.source_names import SourceNames

NAMES = SourceNames(
    ["The warehouse in Bergen opens on 3 February 2026. Anna Larsen leads the work, with Django and CO2 sensors."]
)


@pytest.mark.parametrize(
    ("text", "unknown"),
    [
        ("The warehouse in Bergen is led by Anna Larsen.", []),
        ("It is led by John Smith in Oslo.", ["John Smith", "Oslo"]),
        ("It is led by Anna Smith.", ["Smith"]),
        ("John Smith leads the work.", ["John Smith"]),
        ("Oslo's warehouse is closed.", ["Oslo"]),
        ("Oslo is far. Oslo opened the doors.", ["Oslo"]),
        ("Kari and Ola lead it.", ["Kari", "Ola"]),
        ("However, the work goes on. They said the doors open. Heating is cheap. Energy costs rise.", []),
        ("Water is cheap, and the water is clean.", []),
        ("It has NH3 sensors and CO2 sensors of GmbH.", ["NH3", "GmbH"]),
        ("It opens in February, and not on May 4 or in June.", ["June"]),
        ("- Key Points of Interest", []),
        ("Install numpy, then read the data with pandas or django.", ["numpy", "pandas"]),
        ("It supports tidly and works with lazily read files or `python-pyladb`.", ["tidly", "python-pyladb"]),
        (
            "Write `import hashlib` or `return true`, use numpy/scipy, the code [sofi] and/or dates.",
            ["sofi", "hashlib", "numpy", "scipy"],
        ),
        ('It is the word "todel," and the word "dog". Bzb 2.0 is here. Chapter 2 goes on.', ["todel", "Bzb"]),
        ("It works: 1) Polling the pump; 2) Handling the doors.", []),
        ("A list of tools like googlecalendar may be short.", ["googlecalendar"]),
        ("Theano, a library of equations, runs. Inverting, pronounced so, helps.", ["Theano"]),
        ("It runs on kubernetes and supports plugins, metadata, recursion and meticulous checks.", ["kubernetes"]),
        ("Das Lager in Bergen wird von der Firma mit dem Bagger und der Schaufel am Morgen gebaut.", []),
        ("The Port of Oslo Is Big", ["Oslo"]),
        ("The Costs of Oslo", ["Oslo"]),
        ("Oslo and Its Port", ["Oslo"]),
        ("The Costs of Bergen, Anna Larsen and Django", []),
        ("A Toolkit for Thermostats, Webhooks and Their Costs", []),
        ("Kosten Der Lagerhalle", []),
        ("Oslo abre en mayo.", ["Oslo"]),
        ("Oslo ouvre en mai.", ["Oslo"]),
        ("Oslo apre a maggio.", ["Oslo"]),
        ("Bergen abre en mayo. Establece el precio. Escribe argumentos. Puede ser.", []),
        ("Cliquez pour ouvrir.", []),
        (
            "It is sold by A.B.F.A. (American Steel) and the U.S. Senate.",
            ["A.B.F.A", "American Steel", "U.S", "Senate"],
        ),
        ("It is led by Mr. Smith and J. K. Rowling.", ["Smith", "Rowling"]),
        ("It is led by A. Larsen and Dr. Larsen.", []),
        ("Q1) What does it cost?", ["Q1"]),
        ("It has 40 m², 12 km² and 16GB.", []),
        ('The tip "Don\'t be afraid" of the US policy helps us.', ["US"]),
        ("Growth in London and Paris", ["London", "Paris"]),
        ("London's Rise", ["London"]),
        ("Oslo", ["Oslo"]),
        ("Bergen", []),
        ("- Hansen: orders shelves", ["Hansen"]),
        ("**Oslo**: a new office", ["Oslo"]),
        ("- Larsen: leads it\n- Costs: high\nBenefits: a new roof\nNote: it is new.", []),
        ("The hall (白洪三大) is led by Anna Larsen.", ["白洪三大"]),
        (
            "Das Lager in der Stadt wird von Herrn Weber und Frau Dr. Schmidt mit dem Bagger gebaut.",
            ["Weber", "Schmidt"],
        ),
        ("Das Lager in der Stadt wird von Frau Larsen mit dem Bagger gebaut.", []),
        (
            "Das neue Lager in der Stadt öffnet im August, und das Team in Trondheim hilft der Firma von Lisa.",
            ["August", "Trondheim", "Lisa"],
        ),
        ("", []),
    ],
)
def test_names_that_stand_in_no_source(text, unknown):
    """Also as the first word of a sentence, if what follows shows that it is a name; words of dates are none."""
    assert NAMES.find_unknown(text) == unknown


def test_identifiers_are_names_in_any_case():
    """In backquotes, before parentheses, or with an underscore; not in addresses, quoted phrases and examples of code."""
    names = SourceNames(["Call `sorted`, or load_file with os.path."])
    text = "It has `sorted()`, `heapq.merge`, load_file, add_task() and file_name; `two words`, `os.path`."
    assert names.find_unknown(text) == ["heapq.merge", "add_task", "file_name"]
    assert (
        names.find_unknown("See https://x.org/a_b?c_d=e_f, and _this phrase_.\n```\nmy_list = new_list()\n```\n") == []
    )


def test_initials_are_compared_as_one_name():
    """The letters by themselves may stand in the sources."""
    names = SourceNames(["Flags are a, b and f. The U.S. and the UK have more."])
    assert names.find_unknown("It is sold by A.B.F. in the U.S. and the U.K. as well.") == ["A.B.F"]


def test_a_text_without_capitals_has_no_such_names():
    """In a Chinese text, its words are no names."""
    assert NAMES.find_unknown("仓库在二月开放。它有一千四百个托盘的空间。") == []


def test_a_title_with_a_short_source():
    """A title and a source of few words are told apart from other languages as well as possible."""
    assert SourceNames(["The port of Bergen is big."]).find_unknown("The Port of Oslo Is Big") == ["Oslo"]
