"""``llm tokens`` from the command line."""

from __future__ import annotations

import csv
import json
import os

from fake_server import FakeServer
from llm_fixtures import write

__all__ = ["write"]


def with_bos(text):
    """Count words, and a special token at the beginning of each prompt."""
    return len(text.split()) + 1


def test_a_text_from_a_pipe(llm):
    """The number of tokens, and their share of the context; nothing is evaluated."""
    run = llm("tokens", stdin=b"one two three\nfour\n", context=80)
    assert (run.code, run.out.split(), run.err) == (0, ["4", "5.0%", "stdin"], "")
    assert run.backend.requests == []


def test_special_tokens_are_not_part_of_a_text(llm):
    """A token that the model puts before each prompt does not count, also where there is no text."""
    assert llm("tokens", stdin=b"one two", tokens=with_bos).out.split()[0] == "2"
    assert llm("tokens", stdin=b"", tokens=with_bos).out.split()[0] == "0"


def test_several_files_have_a_total(llm, write):
    """A line each, as wc prints them; a file that cannot be read has a message, and the exit code is 3."""
    files = [write("a.txt", "one two"), write("b.txt", "three four five")]
    rows = [line.split(maxsplit=2) for line in llm("tokens", *files, context=100).out.splitlines()]
    assert rows == [["2", "2.0%", files[0]], ["3", "3.0%", files[1]], ["5", "5.0%", "total"]]
    run = llm("tokens", files[0], "missing.txt")
    assert (run.code, [line.split()[0] for line in run.out.splitlines()]) == (3, ["2", "2"])
    assert "missing.txt" in run.err


def test_no_total_of_nothing(llm):
    """When no file can be read, only messages are printed."""
    run = llm("tokens", "missing.txt", "lost.txt")
    assert (run.code, run.out) == (66, "")


def test_json_has_a_line_for_each_text(llm, write):
    """Without a total, so that each object is about a file."""
    files = [write("a.txt", "one two"), write("b.txt", "three")]
    found = [json.loads(line) for line in llm("tokens", "--json", *files, context=100).out.splitlines()]
    assert [(each["name"], each["tokens"], each["share"], each["exact"]) for each in found] == [
        (files[0], 2, 0.02, True),
        (files[1], 1, 0.01, True),
    ]
    assert found[0]["context"] == 100 and found[0]["usage"]["prompt_tokens"] == 0


def test_records_get_a_column(llm, write):
    """Tables keep their format; with --json each record is an object."""
    table = write("a.csv", "id,text\n7,one two\n8,\n")
    run = llm("tokens", table, "--column", "text")
    assert [(row["id"], row["tokens"]) for row in csv.DictReader(run.out.splitlines())] == [("7", "2"), ("8", "0")]
    assert run.backend.requests == []
    found = json.loads(llm("tokens", table, "--column", "text", "--json", "--limit", "1").out)
    assert (found["row"], found["tokens"], found["exact"]) == ({"id": "7", "text": "one two"}, 2, True)
    assert llm("tokens", "--format", "lines", stdin=b"a b\n\nc\n").out == "2\n0\n1\n"


def test_an_interrupted_job_can_go_on(llm, write, tmp_path):
    """-o FILE with --resume, as for other commands."""
    table, file = write("a.csv", "text\none two\n"), str(tmp_path / "out.csv")
    assert llm("tokens", table, "--column", "text", "-o", file).code == 0
    assert llm("tokens", table, "--column", "text", "-o", file, "--resume").code == 0
    assert (tmp_path / "out.csv").read_text() == "text,tokens,error\none two,2,\n"


def test_estimates_are_marked(llm, terminal):
    """~ on a terminal, "exact": false in JSON; programs get the number alone."""
    assert llm("tokens", stdin=b"one two", exact=False).out.split()[0] == "2"
    assert json.loads(llm("tokens", "--json", stdin=b"one two", exact=False).out)["exact"] is False
    screen = terminal()
    llm("tokens", stdin=b"one two", exact=False, out=screen.slave, err=screen.slave)
    shown = screen.close()
    assert "~2 " in shown and "the number of tokens is an estimate" in shown


def test_a_server_gets_no_text(llm, server: FakeServer):
    """A server that cannot count text without a chat template gets none; the number is an estimate by characters."""
    run = llm("tokens", "--base-url", server.url, "-m", "big", "--json", stdin=b"x" * 14_000)
    found = json.loads(run.out)
    assert (run.code, found["tokens"], found["exact"]) == (0, 4000, False)
    assert all(asked.method == "GET" for asked in server.asked)


def test_the_model_file_is_asked(process, tmp_path):
    """A model with real tokens: those of the text alone, also of a text that is longer than the context."""
    (tmp_path / "a.txt").write_text("The cat sat. " * 8000)
    done = process("tokens", "--json", "a.txt", env={**os.environ})
    out, err = done.communicate(timeout=60)
    found = json.loads(out)
    assert done.returncode == 0, err
    assert found["exact"] and found["tokens"] > found["context"]
