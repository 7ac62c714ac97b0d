"""Lines and tables."""

from __future__ import annotations

import json

from hypothesis import given
from hypothesis import strategies as st

from llmcli.cli.console.table import render_table
from llmcli.cli.console.wrapping import display_width
from llmcli.cli.render.label_rows import format_label_row, round_probabilities
from llmcli.types import Result


@given(st.lists(st.floats(0.001, 1), min_size=1, max_size=6))
def test_rounded_probabilities_sum_to_one_as_printed(weights):
    """The printed values sum to 1, and each differs by less than one unit."""
    shares = {str(index): weight / sum(weights) for index, weight in enumerate(weights)}
    printed = {name: int(f"{share:.4f}".replace(".", "")) for name, share in round_probabilities(shares).items()}
    assert sum(printed.values()) == 10_000
    assert all(abs(printed[name] - shares[name] * 10_000) < 1.001 for name in shares)


def test_a_record_without_a_label_is_an_empty_line():
    """A blank record stays blank."""
    assert format_label_row(Result(0, "", None, {"label": None, "probabilities": None})) == ""


def test_a_list_on_a_terminal_is_aligned():
    """People get a header and aligned columns, also with wide characters."""
    text = render_table([{"name": "日本", "size": 1}, {"name": "b", "size": 22}], as_json=False, terminal=True)
    assert text == "NAME  SIZE\n日本  1\nb     22\n" and display_width("日本") == 4


def test_a_list_in_a_pipe_is_tabs():
    """Programs get tabs and no header."""
    assert render_table([{"name": "a", "size": None}], as_json=False, terminal=False) == "a\t\n"


def test_a_list_in_json_is_an_object_a_line():
    """--json keeps types."""
    assert json.loads(render_table([{"name": "a", "size": 1}], as_json=True, terminal=True)) == {"name": "a", "size": 1}


def test_cells_are_harmless():
    """A name can neither break the table nor control the terminal."""
    assert render_table([{"name": "a\tb\n\x1b[2J"}], as_json=False, terminal=False) == "a b\n"
