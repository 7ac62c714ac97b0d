"""Many documents do not fill the memory: those beyond a limit are read again when their turn comes."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from llm_fixtures import write
from scripted import last_message

from llmcli.cli.input import document_inputs
from llmcli.cli.input.document_inputs import ReloadableInputs

__all__ = ["write"]

SENTENCE = "The ship number {} sailed to the island in the evening wind."


def name_ship(request):
    """Return the number of the ship that a request is about."""
    return re.findall(r"number \d", last_message(request))[-1]


@pytest.fixture(autouse=True)
def _little_memory(monkeypatch):
    """Keep only the first of the documents."""
    monkeypatch.setattr(document_inputs, "MAX_KEPT_CHARACTERS", 100)


@pytest.fixture
def files(write):
    """Return four files of a sentence each."""
    return [write(f"{number}.txt", SENTENCE.format(number) + "\n") for number in range(4)]


@pytest.fixture
def reads(monkeypatch):
    """Count how often each input is read again."""
    found: list[int] = []
    original = ReloadableInputs._read_again
    monkeypatch.setattr(
        ReloadableInputs, "_read_again", lambda self, index: found.append(index) or original(self, index)
    )
    return found


def test_each_document_has_its_result(llm, files, reads):
    """The results are those of documents that are kept."""
    run = llm("summarize", "--style", "paragraph", "--json", *files, answer=name_ship)
    texts = [json.loads(line)["text"] for line in run.out.splitlines()]
    assert run.code == 0 and texts == [f"number {number}" for number in range(4)]
    assert {*reads} == {1, 2, 3}


def test_sources_of_a_check_are_read_one_at_a_time(llm, files, write, reads):
    """The nearest sentence is found in each of them."""
    answer = write("answer.md", f"{SENTENCE.format(0)}\n{SENTENCE.format(3)}\n")
    run = llm("check", "--json", answer, "--against", *files, answer=lambda _: {"Yes": -0.1, "No": -2.3})
    quotes = [each["quote"] for each in json.loads(run.out)["sentences"]]
    assert [quote["source"] for quote in quotes] == [files[0], files[3]]
    assert all(quote["first_line"] == 1 and quote["start"] == 0 for quote in quotes)
    assert {*reads} == {1, 2, 3}


def test_a_file_that_vanished_meanwhile_fails_alone(llm, files, monkeypatch, tmp_path):
    """The others have their results; the exit code says that one is missing."""
    original = ReloadableInputs.add

    def add(self, name):
        original(self, name)
        if name == files[2]:
            (tmp_path / "2.txt").unlink()

    monkeypatch.setattr(ReloadableInputs, "add", add)
    run = llm("summarize", "--style", "paragraph", *files, answer=lambda _: "A summary.")
    assert run.code == 3 and run.out.count("A summary.") == 3 and files[2] in run.err


def test_what_can_be_read_only_once_is_kept(llm, files, reads, monkeypatch, tmp_path):
    """Standard input, after as much as is kept, also beside a file with its name."""
    monkeypatch.chdir(tmp_path)
    Path("-").write_text("another text", "utf-8")
    text = SENTENCE.format(9).encode() * 5
    run = llm("summarize", "--style", "paragraph", *files, "-", stdin=text, answer=name_ship)
    assert run.code == 0 and "number 9" in run.out and 4 not in reads
