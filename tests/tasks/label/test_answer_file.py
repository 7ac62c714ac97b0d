"""The answers on disk."""

from __future__ import annotations

import os

import pytest

from llmcli.errors import BadDocument, CannotCreate, UsageError
from llmcli.tasks.label.answer_file import AnswerFile

IDENTITY = {"input": "abc", "labels": ["bug", "idea"]}


@pytest.fixture
def reopen(tmp_path):
    """Return a function that opens the answers, after closing those that it opened before."""
    opened = []

    def start(**changes):
        while opened:
            opened.pop().close()
        opened.append(AnswerFile(tmp_path / "answers.jsonl", {**IDENTITY, **changes}))
        return opened[-1]

    yield start
    for each in opened:
        each.close()


def test_answers_are_there_again(reopen):
    """Labels, skipped rows and what was taken back."""
    first = reopen()
    first.add(4, "bug")
    first.add(2, None)
    first.add(7, "idea")
    assert first.undo() == 7
    again = reopen()
    assert again.labels == {4: "bug"} and again.skipped == {2}
    assert [again.undo(), again.undo(), again.undo()] == [2, 4, None]


def test_an_answer_is_synced_before_the_next_question(reopen, monkeypatch, tmp_path):
    """The bytes are written when the file is synced."""
    sizes = []
    monkeypatch.setattr(os, "fsync", lambda fd: sizes.append(os.fstat(fd).st_size))
    answers = reopen()
    answers.add(1, "bug")
    assert len(sizes) == 2 and sizes[-1] == (tmp_path / "answers.jsonl").stat().st_size


@pytest.mark.parametrize("cut", [2, 5, 20])
def test_a_line_that_was_cut_off_is_removed(reopen, tmp_path, cut):
    """The answers before it stay, and new ones follow them. A line that lacks only its end is whole."""
    answers = reopen()
    answers.add(1, "bug")
    answers.add(2, "idea")
    path = tmp_path / "answers.jsonl"
    path.write_bytes(path.read_bytes()[:-cut])
    again = reopen()
    assert again.labels == {1: "bug"}
    again.add(3, "idea")
    assert reopen().labels == {1: "bug", 3: "idea"}


def test_answers_for_another_input_are_refused(reopen):
    """They would be attached to other rows."""
    reopen().add(1, "bug")
    with pytest.raises(UsageError, match="other rows or labels"):
        reopen(input="other")
    assert reopen().labels == {1: "bug"}


def test_a_damaged_file_is_refused(reopen, tmp_path):
    """It is not overwritten."""
    (tmp_path / "answers.jsonl").write_text("no json\n")
    with pytest.raises(BadDocument, match="no JSON"):
        reopen()
    assert (tmp_path / "answers.jsonl").read_text() == "no json\n"


def test_two_at_a_time_are_refused(reopen, tmp_path):
    """The second one would ask the same."""
    reopen()
    with pytest.raises(UsageError, match="in use"):
        AnswerFile(tmp_path / "answers.jsonl", IDENTITY)


def test_a_missing_directory_is_an_error(tmp_path):
    """The answers cannot be kept."""
    with pytest.raises(CannotCreate):
        AnswerFile(tmp_path / "none" / "answers.jsonl", IDENTITY)
