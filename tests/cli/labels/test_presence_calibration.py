"""Calibrations of ``llm filter`` and of ``llm classify --multi``: each statement or label by itself."""

from __future__ import annotations

import csv
import io
import json

import pytest

LABELS = ("--labels", "bug,idea", "--multi")
FILTER = ("filter", "about a disk")


@pytest.fixture
def matches(write):
    """Return a file that says the opposite of the model: what has no disk matches, with one exception."""
    rows = "".join(f"a disk {number},no\nall well {number},Yes\n" for number in range(12))
    return write("matches.csv", f"text,label\n{rows}a disk x,yes\nunknown,\n")


@pytest.fixture
def tickets(write):
    """Return rows with several labels, one or none; the model is right about bugs and wrong about ideas."""
    texts = {"a bug": '"bug, idea"', "an idea": "", "a bug and an idea": "bug", "nothing": "idea"}
    rows = [f"{text} {number},{labels}\n" for number in range(5) for text, labels in texts.items()]
    return write("tickets.csv", "text,label\n" + "".join(rows))


@pytest.fixture
def calibrate(llm, write, statement_scores):
    """Return a function that runs a command with --calibrate and rows of this content."""
    return lambda options, rows: llm(*options, "--calibrate", write("rows.csv", rows), answer=statement_scores)


def test_a_filter_learns_from_rows(llm, statement_scores, matches):
    """The calibrated filter prints what people said matches, and gives the probability of it."""
    made = llm(*FILTER, "--calibrate", matches, "--calibration", "disks", answer=statement_scores)
    assert made.code == 0, made.err
    assert "rows               25 of" in made.out and "true \\ chosen" in made.out
    run = llm(*FILTER, "--calibration", "disks", "--json", stdin=b"a disk\nall well\n", answer=statement_scores)
    (found,) = [json.loads(line) for line in run.out.splitlines()]
    assert found["line"] == 2 and 0.8 < found["probability"] < 1
    (row,) = [json.loads(line) for line in llm("calibrations", "list", "--json").out.splitlines()]
    assert (row["verb"], row["labels"], row["rows"]) == ("filter", "yes,no", 25)


def test_a_filter_of_several_statements_is_one_problem(llm, statement_scores, matches):
    """The labels say whether the whole query holds; the statements have no probabilities of their own."""
    query = ("filter", "about a disk", "--or", "about a cat")
    assert llm(*query, "--calibrate", matches, "--calibration", "two", answer=statement_scores).code == 0
    run = llm(*query, "--calibration", "two", "--json", stdin=b"all well\n", answer=statement_scores)
    found = json.loads(run.out)
    assert found["match"] is True and "statements" not in found
    other = llm(*FILTER, "--calibration", "two", stdin=b"all well\n", answer=statement_scores)
    assert other.code == 78 and "another statement" in other.err


@pytest.mark.parametrize("case", [((), "all well\n"), (("--invert",), "a disk\n")], ids=["plain", "inverted"])
def test_the_target_precision_is_that_of_the_printed_records(llm, statement_scores, matches, tmp_path, case):
    """With --invert, of those that do not match: one of 13 is labelled wrongly, so 0.85 is reached."""
    options, printed = case
    made = llm(*FILTER, *options, "--calibrate", matches, "--calibration", "disks", answer=statement_scores)
    assert made.code == 0
    summary = tmp_path / "summary.json"
    argv = (*FILTER, *options, "--calibration", "disks", "--target-precision", "0.85", "--summary", str(summary))
    run = llm(*argv, stdin=b"a disk\nall well\n", answer=statement_scores)
    assert run.out == printed
    chosen = json.loads(summary.read_text())["target_precision"]
    assert chosen["reached"] and chosen["precision"] == pytest.approx(12 / 13 if options else 1)


def test_an_evaluation_of_a_filter(llm, statement_scores, matches):
    """Without a calibration too."""
    run = llm(*FILTER, "--eval", matches, "--json", answer=statement_scores)
    assert json.loads(run.out)["figures"]["confusion"] == [[1, 12], [12, 0]]


def test_each_label_is_learned_by_itself(llm, statement_scores, tickets):
    """A label that the model sees in the wrong texts is corrected, and the other one stays."""
    made = llm("classify", *LABELS, "--calibrate", tickets, "--calibration", "t", "--json", answer=statement_scores)
    assert made.code == 0, made.err
    assert {name: each["rows"] for name, each in json.loads(made.out)["problems"].items()} == {"bug": 20, "idea": 20}
    text = "text\na bug\nan idea\n"
    argv = ("classify", *LABELS, "--calibration", "t", "--format", "csv")
    run = llm(*argv, stdin=text.encode(), answer=statement_scores)
    assert [row["label"] for row in csv.DictReader(io.StringIO(run.out))] == ["bug, idea", ""]
    shown = llm("calibrations", "show", "t").out.splitlines()
    assert "bug" in shown and "idea" in shown
    (row,) = [json.loads(line) for line in llm("calibrations", "list", "--json").out.splitlines()]
    assert row["labels"] == "bug,idea"


def test_a_label_whose_calibration_gains_nothing_is_answered_without_it(llm, statement_scores, write):
    """The other one keeps its calibration: nine in ten of the bugs are as likely as the model says, no idea is."""
    rows = [f'a bug {n},"bug, idea"\nan idea {n},\n' for n in range(9)]
    path = write("rows.csv", "text,label\n" + "".join(rows) + "a bug x,\nan idea x,bug\n")
    made = llm("classify", *LABELS, "--calibrate", path, "--calibration", "t", "--json", answer=statement_scores)
    gains = {name: each["gain"]["is_gain"] for name, each in json.loads(made.out)["problems"].items()}
    assert gains == {"bug": False, "idea": True}
    argv = ("classify", *LABELS, "--calibration", "t")
    run = llm(*argv, "-v", stdin=b"a bug\n", answer=statement_scores)
    assert run.out.startswith("bug, idea\tbug=0.9000\tidea=") and "idea=0.1000" not in run.out
    assert "bug: the calibration gains nothing" in run.err and "idea: " not in run.err


def test_a_filter_whose_calibration_gains_nothing_answers_without_it(llm, write):
    """All of its statements count again."""

    def answer(request):
        text = request.messages[-1].content.rpartition("Text: ")[2]
        sure = {name: 60.0 if name.split()[-1] in text else -60.0 for name in request.candidates}
        return (
            {**sure, request.candidates[-1]: 0.0} if "the" in text.split() else dict.fromkeys(request.candidates, 0.0)
        )

    query = ("filter", "about a disk", "--or", "about a cat")
    rows = write("rows.csv", "text,label\n" + "".join(f"the disk {n},yes\nthe dog {n},no\n" for n in range(6)))
    made = llm(*query, "--calibrate", rows, "--calibration", "two", answer=answer)
    assert "gains nothing" in made.out and made.out.splitlines()[-1].startswith("next: llm filter 'about a disk' --or")
    run = llm(*query, "--calibration", "two", "--json", stdin=b"the cat\nthe dog\n", answer=answer)
    (found,) = [json.loads(line) for line in run.out.splitlines()]
    assert found["line"] == 1 and [*found["statements"]] == ["about a disk", "about a cat"]
    evaluated = llm(*query, "--calibration", "two", "--eval", rows, "--json", answer=answer)
    assert json.loads(evaluated.out)["figures"]["confusion"] == [[6, 0], [0, 6]]


def test_a_target_precision_sets_a_threshold_for_each_label(llm, statement_scores, tickets, tmp_path):
    """Both are in the summary, by name."""
    assert llm("classify", *LABELS, "--calibrate", tickets, "--calibration", "t", answer=statement_scores).code == 0
    summary = tmp_path / "summary.json"
    argv = ("classify", *LABELS, "--calibration", "t", "--target-precision", "0.8", "--summary", str(summary))
    assert llm(*argv, stdin=b"a bug\n", answer=statement_scores).code == 0
    found = json.loads(summary.read_text())["target_precision"]
    assert [*found] == ["bug", "idea"] and all(each["rows"] == 20 for each in found.values())


def test_labels_in_lists(llm, statement_scores, write):
    """JSON Lines may have a list in the place of a text with commas."""
    rows = [{"text": f"a bug {n}", "labels": ["bug", "idea"] if n % 2 else []} for n in range(12)]
    path = write("rows.jsonl", "".join(json.dumps(row) + "\n" for row in rows))
    run = llm("classify", *LABELS, "--eval", path, "--label-column", "labels", "--json", answer=statement_scores)
    assert json.loads(run.out)["problems"]["bug"]["figures"]["confusion"] == [[6, 0], [6, 0]]


@pytest.mark.parametrize(
    ("content", "options", "error"),
    [
        ("text,label\na,maybe\n", FILTER, (2, "'maybe' is not one of the labels")),
        ("text,label\na,bugs\n", ("classify", *LABELS), (2, "'bugs' is not one of the labels")),
        ("text,label\n" + "a,yes\n" * 12, FILTER, (65, "match holds for all of them")),
        ("text,label\n" + "a,bug\n" * 6 + "b,\n" * 6, ("classify", *LABELS), (65, "idea holds for none of them")),
        ("text,label\na,yes\nb,no\n", FILTER, (65, "at least 10")),
    ],
    ids=["maybe", "bugs", "all", "none", "few"],
)
def test_rows_that_teach_nothing(calibrate, content, options, error):
    """One line says what is wrong."""
    run = calibrate(options, content)
    assert (run.code, run.out) == (error[0], "") and error[1] in run.err


def test_a_target_needs_a_calibration(llm):
    """Exit code 2."""
    run = llm(*FILTER, "--target-precision", "0.9", stdin=b"x\n")
    assert run.code == 2 and "needs a calibration" in run.err
