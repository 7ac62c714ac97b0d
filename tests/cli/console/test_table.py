"""Lines and tables."""

from __future__ import annotations

import json

from llmcli.cli.console.table import render_table
from llmcli.cli.console.wrapping import display_width


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
