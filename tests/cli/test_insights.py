"""``llm summarize --insights`` from the command line."""

from __future__ import annotations

import json

import pytest
from llm_fixtures import write

__all__ = ["write"]

TABLE = "shop,price\n" + "North,10\nSouth,20\nSouth,30\n" * 3


def test_no_model_is_loaded(llm, write):
    """The figures come from SQL, also where no model is configured."""
    run = llm("summarize", "--insights", write("sales.csv", TABLE), env={"LLMCLI_MODEL": None})
    assert (run.code, run.err, run.backend) == (0, "", None)
    assert "- price: mean 20, median 20, from 10 to 30; total 180 of 9 values.\n" in run.out and "SELECT" not in run.out


def test_queries_are_shown_on_request(llm, write):
    """Below the sentences; they are always in the JSON."""
    run = llm("summarize", "--insights", "-v", write("sales.csv", TABLE))
    assert run.code == 0 and "total 180 of 9 values.\n  `SELECT " in run.out


def test_json_has_queries_and_rows(llm, write):
    """One object for each document, with its name."""
    files = [write("sales.csv", TABLE), write("more.csv", TABLE)]
    run = llm("summarize", "--insights", "--json", *files)
    first, second = map(json.loads, run.out.splitlines())
    assert (first["name"], second["tables"][0]["name"]) == (files[0], "more")
    shares = next(each for each in first["insights"] if each["kind"] == "shares")
    assert shares["rows"] == [["South", 6, 66.7], ["North", 3, 33.3]] and shares["sql"].startswith("SELECT ")
    assert (first["model"], first["usage"]["prompt_tokens"]) == ("", 0)


@pytest.mark.parametrize(
    "argv", [("--style", "bullets"), ("--words", "9"), ("--focus", "price"), ("--cite",), ("--column", "price")]
)
def test_options_of_other_summaries_are_refused(llm, write, argv):
    """They have no effect here."""
    assert llm("summarize", "--insights", *argv, write("sales.csv", TABLE)).code == 2


def test_a_document_without_a_table_is_refused(llm, write):
    """65, or 3 beside others."""
    prose, table = write("a.txt", "It is so."), write("sales.csv", TABLE)
    assert llm("summarize", "--insights", prose).code == 65
    assert llm("summarize", "--insights", prose, table).code == 3
