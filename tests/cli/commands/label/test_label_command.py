"""``llm label`` on a pseudo-terminal, and where there is none."""

from __future__ import annotations

import csv
import json
import signal
import stat

import pytest
from terminal import ended
from waiting import wait_until

OPTIONS = ("--set", "worker=off", "--labels", "bug,idea")
QUESTION = r"(\d+) labelled"


@pytest.fixture
def tickets(tmp_path):
    """Return a file with thirty records."""
    rows = "".join(f"{number},ticket number {number}\n" for number in range(30))
    (tmp_path / "tickets.csv").write_text(f"id,text\n{rows}")
    return tmp_path / "tickets.csv"


HELD = """
import time
from pathlib import Path
from llmcli.tasks.label import background_scoring

score = background_scoring.score_records

def held(backend, scorer, records, **how):
    while not Path("release").exists():
        time.sleep(0.01)
    with open("scored", "a") as log:
        for each in score(backend, scorer, records, **how):
            print(each.record.text, file=log, flush=True)
            yield each

background_scoring.score_records = held
"""
"""A module that holds the scores back until there is a file called release, and lists what is scored."""


def importing(path):
    """Return code that imports a module file."""
    return f"import sys; sys.path.insert(0, {str(path.parent)!r}); import {path.stem}"


def wait_for_lines(path, count):
    """Wait until a file has so many lines."""
    wait_until(lambda: path.exists() and len(path.read_text().splitlines()) >= count)


def stored(tmp_path):
    """Return the events in the file of answers."""
    lines = (tmp_path / "tickets.labelled.csv.answers.jsonl").read_text().splitlines()
    return [json.loads(line) for line in lines[1:]]


def answer(child, key, count):
    """Type a key, and wait for the next question with this number of labels."""
    child.send(key)
    child.expect(QUESTION)
    assert child.match.group(1) == str(count)


def test_a_terminal_is_needed(llm, tickets):
    """A pipe gets a usage error, which names the command that labels without a person."""
    run = llm("label", "--labels", "bug,idea", str(tickets))
    assert run.code == 2 and "terminal" in run.err and "llm classify --labels" in run.err and run.out == ""


def test_a_later_record_with_a_label_is_refused(person, tmp_path):
    """Before the first question, so that no label is asked for in vain."""
    path = tmp_path / "tickets.jsonl"
    path.write_text('{"text": "one"}\n{"text": "two", "label": "bug"}\n')
    child = person("label", *OPTIONS, str(path))
    child.expect("already has the column label")
    assert ended(child) == 2


@pytest.mark.slow
def test_answers_undo_skip_and_quit(person, tickets, tmp_path):
    """The output has all records, with the labels that were given and not taken back."""
    child = person("label", *OPTIONS, str(tickets))
    child.expect(QUESTION)
    answer(child, "1", 1)
    answer(child, "x", 1)  # no key: the question is shown again
    answer(child, "1", 2)
    answer(child, "u", 1)
    answer(child, "i", 2)
    answer(child, "s", 2)
    child.send("q")
    assert ended(child) == 0
    rows = [*csv.DictReader((tmp_path / "tickets.labelled.csv").open())]
    assert len(rows) == 30 and sorted(row["label"] for row in rows if row["label"]) == ["bug", "idea"]
    assert "label" not in tickets.read_text().splitlines()[0]


def test_a_resize_shows_the_question_again(person, tickets):
    """In the new width."""
    child = person("label", *OPTIONS, str(tickets))
    child.expect(QUESTION)
    child.setwinsize(24, 40)
    child.expect("\r\n-{39}\r\n")
    child.expect(QUESTION)
    answer(child, "b", 1)
    child.send("q")
    assert ended(child) == 0


def test_wide_characters_stay_inside_the_terminal(person, tmp_path):
    """A line of characters of two columns is broken where it would be too wide, not at twice that."""
    (tmp_path / "tickets.csv").write_text("id,text\n1," + "漢字" * 30 + "\n")
    child = person("label", *OPTIONS, str(tmp_path / "tickets.csv"))
    child.expect(QUESTION)
    lines = [line for line in child.before.splitlines() if "漢" in line]
    assert [len(line) for line in lines] == [39, 21]
    child.send("q")
    assert ended(child) == 0


def test_keys_of_several_bytes_are_no_answers(person, tickets, tmp_path):
    """An arrow ends in a letter, and a letter beyond ASCII has two bytes: neither is a key of a label."""
    child = person("label", "--set", "worker=off", "--labels", "apple,bear", "--json", str(tickets))
    child.expect(QUESTION)
    answer(child, "\x1b[A", 0)
    answer(child, "ß", 0)
    answer(child, "b", 1)
    child.send("q")
    child.expect(r'\{"output".*\}')
    found = json.loads(child.after)
    assert found["labels"] == {"apple": 0, "bear": 1} and found["calibration"] is None and found["candidates"] == 30
    assert ended(child) == 0
    assert [event["label"] for event in stored(tmp_path)] == ["bear"]


def test_ctrl_c_keeps_the_answers(person, tickets, tmp_path):
    """The command that goes on is printed, and goes on."""
    child = person("label", *OPTIONS, str(tickets))
    child.expect(QUESTION)
    answer(child, "1", 1)
    child.sendintr()
    child.expect(r"to go on:\s+llm label")
    assert ended(child) in {130, -signal.SIGINT}
    assert len(stored(tmp_path)) == 1
    again = person("label", *OPTIONS, str(tickets))
    again.expect("1 labelled")
    again.send("q")
    assert ended(again) == 0


@pytest.mark.slow
def test_kill_loses_nothing(person, tickets, tmp_path):
    """Every answer is on disk before the next question; a calibration can be made after going on."""
    child = person("label", *OPTIONS, str(tickets))
    child.expect(QUESTION)
    for count in range(1, 8):
        answer(child, "12"[count % 2], count)
    child.kill(signal.SIGKILL)
    assert ended(child) == -signal.SIGKILL
    assert len(stored(tmp_path)) == 7
    again = person("label", *OPTIONS, str(tickets), "--calibration", "tickets")
    again.expect("7 labelled")
    for count in range(8, 13):
        answer(again, "12"[count % 2], count)
    again.send("q")
    again.expect("saved the calibration tickets")
    assert ended(again) == 0


@pytest.mark.slow
def test_questions_come_before_scores_and_scores_stay(person, tickets, tmp_path, monkeypatch):
    """The first question needs none; a second run scores nothing again; rm removes what is kept for a calibration."""
    cache = tmp_path / "cache"
    monkeypatch.setenv("LLMCLI_CACHE_DIR", str(cache))
    module = tmp_path / "held.py"
    module.write_text(HELD)
    options = (*OPTIONS, str(tickets), "--calibration", "tickets")
    child = person("label", *options, code=importing(module))
    child.expect("0 labelled, 0 records evaluated")
    for count in range(1, 12):
        answer(child, "12"[count % 2], count)
    assert not (tmp_path / "scored").exists()
    (tmp_path / "release").touch()
    wait_for_lines(tmp_path / "scored", 30)
    answer(child, "1", 12)
    child.send("q")
    child.expect("saved the calibration tickets")
    assert ended(child) == 0
    (file,) = (cache / "label-states").iterdir()
    assert stat.S_IMODE(file.stat().st_mode) == 0o600 and stat.S_IMODE(file.parent.stat().st_mode) == 0o700
    again = person("label", *options, code=importing(module))
    again.expect("12 labelled")
    answer(again, "1", 13)
    again.send("q")
    again.expect("saved the calibration tickets")
    again.expect("the calibration (helps|gains nothing): the")
    again.expect("next: llm (classify|label) --labels bug,idea")
    assert ended(again) == 0
    assert len((tmp_path / "scored").read_text().splitlines()) == 30
    removed = person("calibrations", "rm", "--yes", "tickets")
    assert ended(removed) == 0
    assert list((cache / "label-states").iterdir()) == []


def test_what_ends_the_scores_ends_the_questions(person, tickets, tmp_path):
    """With the answers on disk."""
    module = tmp_path / "failing.py"
    module.write_text(HELD.replace("yield each", "raise OSError('the model is gone')"))
    child = person("label", *OPTIONS, str(tickets), code=importing(module))
    child.expect(QUESTION)
    answer(child, "1", 1)
    (tmp_path / "release").touch()
    child.expect("the model is gone")
    assert ended(child) == 70
    assert len(stored(tmp_path)) == 1
