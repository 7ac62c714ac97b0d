"""Jupyter notebooks."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from llmcli.documents.formats.markup.notebook_format import FORMAT
from llmcli.documents.segments import join_segments
from llmcli.errors import BadDocument

REAL = (Path(__file__).parents[2] / "real" / "analysis.ipynb").read_text(encoding="utf-8")


def notebook(source, kind="markdown", *, ascii_only=False, indent=1):
    cells = [{"cell_type": kind, "metadata": {}, "source": source}]
    return json.dumps({"cells": cells, "nbformat": 4}, ensure_ascii=ascii_only, indent=indent)


def put(text, *translations):
    segments = FORMAT.split(text, "de")
    return join_segments(text, segments, [*translations, *[None] * (len(segments) - len(translations))])


def source_of(text):
    return json.loads(text)["cells"][0]["source"]


def test_the_texts_of_a_notebook():
    """Those of Markdown cells; the headings of earlier cells are above the later ones."""
    found = [(s.kind, s.text, s.path) for s in FORMAT.split(REAL, "de")]
    title = "Analysis of *sales*"
    assert found == [
        ("heading", title, ()),
        (
            "paragraph",
            (
                'This notebook reads `sales.csv` and shows "all" the figures of [the last year](https://example.org/a "The'
                ' report") with caf\u00e9s, as $x^2$ does.'
            ),
            (title,),
        ),
        ("item", "Load the data", (title,)),
        ("item", "Draw **one** figure", (title,)),
        ("cell", "Name", (title,)),
        ("cell", "Value", (title,)),
        ("cell", "Rain", (title,)),
        ("cell", "5 mm", (title,)),
        ("paragraph", "![A plot](attachment:plot.png)", (title,)),
        ("heading", "Results", (title,)),
        ("paragraph", "The second line is here.\nThe third line, too.", (title, "Results")),
    ]


def test_a_translation_over_several_strings():
    """Its lines are strings of their own, as those of the source; the rest of the cell stays."""
    text = notebook(["First\n", "\n", "one two three four five six seven eight\n", "nine ten\n", "\n", "Last"])
    done = put(text, None, "wort " * 12)
    assert source_of(done) == [
        "First\n", "\n", "wort wort wort wort wort wort wort wort\n", "wort wort wort wort\n", "\n", "Last",
    ]  # fmt: skip
    shorter = put(text, None, "kurz")
    assert source_of(shorter) == ["First\n", "\n", "kurz\n", "\n", "Last"]
    assert shorter.replace("kurz", 'one two three four five six seven eight\\n",\n    "nine ten') == text


def test_a_cell_of_one_string():
    """The lines of a translation stay in it."""
    text = notebook("one two three four five six seven eight\nnine ten")
    assert source_of(put(text, "wort " * 12)) == "wort wort wort wort wort wort wort wort\nwort wort wort wort"


def test_strings_that_end_within_a_line():
    """A word may begin in one string and end in the next one."""
    text = notebook(["# He", "llo wor", "", "ld\n", "\n", "more words"])
    assert [s.text for s in FORMAT.split(text, "de")] == ["Hello world", "more words"]
    assert "".join(source_of(put(text, "Hallo Welt"))) == "# Hallo Welt\n\nmore words"


@pytest.mark.parametrize("ascii_only", [True, False])
def test_characters_are_escaped_as_in_the_notebook(ascii_only):
    """Quotes and control characters are, and other characters where the notebook does it."""
    text = notebook(['A "caf\u00e9" \\* \U0001f600 here\n', "\n", "Now"], ascii_only=ascii_only)
    done = put(text, 'Ein "Caf\u00e9" \\* \U0001f600 \\ hier')
    assert source_of(done) == ['Ein "Caf\u00e9" \\* \U0001f600 \\ hier\n', "\n", "Now"]
    assert done.isascii() is ascii_only


def test_lines_between_dashes_are_no_front_matter():
    """Jupyter knows none."""
    assert [s.text for s in FORMAT.split(notebook(["---\n", "Some words\n", "---\n", "More"]), "de")] == [
        "Some words",
        "More",
    ]


def test_notebooks_of_version_3():
    """Their cells are in worksheets, and headings are cells of their own."""
    cells = [
        {"cell_type": "heading", "level": 1, "source": ["A title"]},
        {"cell_type": "markdown", "source": ["Some words"]},
        {"cell_type": "code", "input": ["words = 1"], "outputs": []},
    ]
    text = json.dumps({"nbformat": 3, "worksheets": [{"cells": cells}]})
    assert [s.text for s in FORMAT.split(text, "de")] == ["A title", "Some words"]


@pytest.mark.parametrize("text", ['{"cells": [', '{"nbformat": 4}', "[]", '{"cells": []} x', "words"])
def test_what_is_no_notebook_is_refused(text):
    """With its line, and the check says the same."""
    with pytest.raises(BadDocument) as refused:
        FORMAT.split(text, "de")
    assert refused.value.line == 1
    assert FORMAT.check(text).startswith("line 1: ")


def test_the_last_of_equal_names_counts():
    """As for Python's parser."""
    text = '{"cells": [{"cell_type": "markdown", "source": ["Old words", "x"], "source": ["New words"]}]}'
    assert [s.text for s in FORMAT.split(text, "de")] == ["New words"]


def test_half_a_character_is_left_alone():
    """A cell with a lone surrogate cannot be written as UTF-8."""
    text = '{"cells": [{"cell_type": "markdown", "source": "words \\ud800 here"}]}'
    assert FORMAT.split(text, "de") == []
