"""Tables and sentences at the width of a terminal."""

from __future__ import annotations

import json

import pytest
from row_table import all_rows

from llmcli.cli.console import table, wrapping
from llmcli.cli.console.table import render_table

PATH = "/home/somebody/models/a-very-long-directory/another-one/model.gguf"


@all_rows("size", [1, 2, 5, 8, 13, 30, 200])
@all_rows("text", ["", "one", "a few words of a sentence", PATH, f"see {PATH}, please", "日本語の文章 です", "x" * 50])
def test_wrapping_loses_nothing(text, size):
    """Every character except white space stays, in order, and no line is too wide."""
    lines = wrapping.wrap_words(text, size)
    assert "".join(lines).replace(" ", "") == text.replace(" ", "")
    assert all(wrapping.display_width(line) <= max(size, 2) for line in lines)


def test_words_that_fit_stay_whole():
    """Lines are broken between words."""
    assert wrapping.wrap_words("strong in translation for its size", 12) == ["strong in", "translation", "for its size"]


def test_long_words_are_broken_at_their_joints():
    """A path is broken after a slash or a hyphen if there is one, or kept whole on request."""
    assert wrapping.wrap_words("owner/some-repository-GGUF:Q4_K_M", 20) == ["owner/some-", "repository-GGUF:Q4_", "K_M"]
    assert wrapping.wrap_words(f"it is {PATH} now", 20, break_words=False) == ["it is", PATH, "now"]


@pytest.mark.parametrize(
    ("text", "size", "shown"),
    [
        ("short", 5, "short"),
        ("two words", 6, "two…"),
        ("two words", 4, "two…"),
        ("longword", 5, "long…"),
        ("日本語", 5, "日本…"),
    ],
)
def test_a_preview_is_cut_between_words(text, size, shown):
    """An ellipsis marks omitted text, and only the first word may be cut."""
    assert wrapping.truncate(text, size) == shown and wrapping.display_width(shown) <= size


def lines(rows, columns, **how):
    return render_table(rows, as_json=False, terminal=True, columns=columns, **how).splitlines()


ROWS = [
    {"name": "a-model", "size": "about 2.5 GB", "about": "strong in translation and writing for its size"},
    {"name": "b", "size": "1 GB", "about": "short"},
]


def test_a_wide_table_is_wrapped_at_words():
    """The widest column shrinks, nothing is cut, and a row takes as many lines as its cells need."""
    assert lines(ROWS, 40) == [
        "NAME     SIZE          ABOUT",
        "a-model  about 2.5 GB  strong in",
        "                       translation and",
        "                       writing for its",
        "                       size",
        "b        1 GB          short",
    ]


@pytest.mark.parametrize("columns", [30, 34, 50, 79])
def test_no_word_is_broken_while_words_fit(columns):
    """All words of a table stay whole."""
    shown = lines(ROWS, columns)
    assert max(map(len, shown)) <= columns
    assert {word for row in ROWS for cell in row.values() for word in cell.split()} <= set(" ".join(shown).split())


def test_a_table_that_fits_does_not_change():
    """Rows have one line each."""
    assert len(lines(ROWS, 200)) == 3


def test_words_are_broken_if_a_table_would_not_fit():
    """A long name does not push the other columns off the screen."""
    rows = [{"name": PATH, "check": "verified"}]
    shown = lines(rows, 40)
    assert max(map(len, shown)) <= 40 and len(shown) > 2
    assert "".join(line[:30].strip() for line in shown[1:]) == PATH


def test_rows_become_records_where_words_have_no_room():
    """Many columns of a few letters each could not be read; empty cells have no line."""
    row = {
        "name": "qwen3-0.6b",
        "size": "701.2 MB",
        "used": "",
        "fits": "yes",
        "why": "follows instructions in many languages",
    }
    record = [
        "name  qwen3-0.6b",
        "size  701.2 MB",
        "fits  yes",
        "why   follows instructions in many",
        "      languages",
    ]
    assert lines([row, row], 36) == [*record, "", *record]
    assert lines([row], 80)[0].split() == ["NAME", "SIZE", "USED", "FITS", "WHY"]


def test_a_column_of_previews_is_cut():
    """A list of chats has a line for each."""
    shown = lines([{"name": "work", "first": "a first message of many words"}], 20, preview="first")
    assert shown == ["NAME  FIRST", "work  a first…"]


def test_values_are_wrapped_beside_their_names():
    """Words stay whole, even if they are too long, so that a path can be copied."""
    shown = table.render_record(
        {"path": PATH, "about": "strong in translation"}, as_json=False, terminal=True, columns=20
    )
    assert shown == f"path   {PATH}\nabout  strong in\n       translation\n"


@pytest.mark.parametrize(
    "argv",
    [
        ("models", "list"),
        ("models", "recommend"),
        ("models", "default", "--list"),
        ("prompts", "list"),
        ("config", "show"),
        ("generate", "--list"),
        ("generate", "email", "--list"),
    ],
)
def test_commands_show_whole_words_in_80_columns(llm, terminal, argv):
    """A terminal shows the same text as a pipe, wrapped at words."""
    screen = terminal()
    assert llm(*argv, out=screen.slave, env={"LLMCLI_MODEL": None}).code == 0
    shown = screen.close()
    assert "…" not in shown
    raw = bytes(screen.raw).decode()
    assert max(map(wrapping.display_width, raw.splitlines())) <= 80, "the terminal itself would break words"
    last = llm(*argv, env={"LLMCLI_MODEL": None}).out.splitlines()[-1].split("\t")
    words = {"models": 0, "prompts": 2, "config": 3, "generate": -1}[argv[0]]
    assert set(last[words].split()) <= set(shown.split())


def test_the_reason_of_a_recommendation_is_complete(llm, terminal):
    """The column of reasons, and the sentence above it, have every word that a pipe gets."""
    screen = terminal()
    llm("models", "recommend", out=screen.slave, env={"LLMCLI_MODEL": None})
    shown = set(screen.close().split())
    for row in llm("models", "recommend", "--json", env={"LLMCLI_MODEL": None}).out.splitlines():
        assert set(json.loads(row)["why"].split()) <= shown


def test_only_long_lines_are_wrapped():
    """Others keep their spaces, and all keep their indentation."""
    text = "short   line\n  one two three four\n\nend"
    assert wrapping.wrap_long_lines(text, 12) == ["short   line", "  one two", "  three four", "", "end"]


def test_words_and_commands_of_a_message_stay_whole():
    """What is wider than the terminal can still be copied; several commands are several."""
    text = "llm: no model called qwen-with-a-name\nDid you mean qwen3-4b? Try: llm models list (or, for more: llm models search qwen)"
    assert wrapping.wrap_long_lines(text, 24) == [
        "llm: no model called",
        "qwen-with-a-name",
        "Did you mean qwen3-4b?",
        "Try: llm models list",
        "(or, for more:",
        "llm models search qwen)",
    ]
    text = "better here: llm models pull llama-3.2-3b && llm models default llama-3.2-3b"
    assert wrapping.wrap_long_lines(text, 40) == [
        "better here:",
        "llm models pull llama-3.2-3b &&",
        "llm models default llama-3.2-3b",
    ]
    assert wrapping.wrap_long_lines(f"cannot read {PATH} today", 20) == ["cannot read", PATH, "today"]


@pytest.mark.parametrize("columns", [40, 80])
def test_messages_are_wrapped_at_words_on_a_terminal(llm, terminal, columns):
    """Errors with their advice, and questions; in a pipe each message is one line."""
    argv = ("ask", "Q", "--session", "a name that no session can have, since it is a sentence / with a slash")
    screen = terminal(columns=columns)
    llm(*argv, err=screen.slave)
    happened, advice = llm(*argv).err.splitlines()
    shown = screen.close().splitlines()
    assert max(map(len, shown)) < columns and len(shown) > 2
    assert " ".join(shown).split() == f"{happened} {advice}".split()


def test_objects_stay_on_one_line_on_a_terminal(llm, terminal):
    """Programs may read them there."""
    screen = terminal(columns=40)
    llm("ask", "Q", "--session", "a/name", "--json", err=screen.slave)
    screen.close()
    assert json.loads(bytes(screen.raw))["error"]["code"] == 2
