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


REMARKS = [
    {"state": "ok", "what": "output", "name": "summary.txt", "note": ""},
    {
        "state": "unchecked",
        "what": "input",
        "name": "/home/anna/reports/" + "x" * 40,
        "note": "not kept; give it: --text - < FILE",
    },
]


def test_a_remark_stands_below_its_row_where_it_has_no_room():
    """It begins where the last column does, in lines of words; a table that fits stays one."""
    text = render_table(REMARKS, as_json=False, terminal=True, columns=80, remark="note")
    lines = text.splitlines()
    assert lines[0] == "STATE      WHAT    NAME" and lines[1] == "ok         output  summary.txt"
    assert lines[3] == " " * 19 + "not kept; give it: --text - < FILE" and len(lines) == 4
    assert all(display_width(line) <= 80 for line in lines)
    wide = render_table(REMARKS, as_json=False, terminal=True, columns=200, remark="note").splitlines()
    assert wide[0].endswith("NOTE") and wide[2].endswith("< FILE") and len(wide) == 3
    piped = render_table(REMARKS, as_json=False, terminal=False, remark="note").splitlines()
    assert [line.count("\t") for line in piped] == [3, 3]
