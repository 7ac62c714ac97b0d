"""``llm classify``: labels, thresholds, examples, several labels, summaries."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path

import pytest
from scripted import all_messages, last_message

LABELS = ("--labels", "bug,idea")


def rows(text):
    return list(csv.DictReader(io.StringIO(text, newline="")))


def test_each_line_gets_a_label(llm, label_scores):
    """And the probability of each label, in the user's order; a blank line stays blank."""
    run = llm("classify", *LABELS, stdin=b"a bug\n\nan idea\n", answer=label_scores)
    assert (run.code, run.err) == (0, "")
    assert run.out == "bug\tbug=0.9000\tidea=0.1000\n\nidea\tbug=0.1000\tidea=0.9000\n"


def test_a_table_gets_columns(llm, label_scores, write):
    """Label, probabilities and margin, after the columns of the input."""
    run = llm("classify", *LABELS, write("in.csv", "id,text\n7,a bug\n8,\n"), answer=label_scores)
    (first, blank) = rows(run.out)
    assert first == {
        "id": "7",
        "text": "a bug",
        "label": "bug",
        "p_bug": "0.9",
        "p_idea": "0.1",
        "margin": "0.8",
        "error": "",
    }
    assert blank["label"] == blank["p_bug"] == blank["margin"] == ""


def test_the_prior_is_taken_out(llm, write):
    """What the model says about content-free texts does not count."""

    def biased(request):
        return {"bug": -0.1, "idea": -3.0 if "idea" not in last_message(request).rpartition("Text:")[2] else -2.0}

    path = write("in.txt", "an idea\n")
    assert llm("classify", *LABELS, path, answer=biased).out.startswith("idea\t")


def test_the_prior_is_measured_once(llm, label_scores, write):
    """The cache keeps it for the same model, prompt and labels."""
    path = write("in.txt", "a bug\n")
    first = len(llm("classify", *LABELS, path, answer=label_scores).backend.requests)
    again = len(llm("classify", *LABELS, path, answer=label_scores).backend.requests)
    other = len(llm("classify", "--labels", "bug,wish", path, answer=label_scores).backend.requests)
    assert again == 1 and first == other > 1


def test_a_threshold_abstains(llm, label_scores, write):
    """Below it there is no label; a table says so."""
    path = write("in.csv", "text\na bug\nnothing\n")
    run = llm("classify", *LABELS, "--threshold", "0.8", path, answer=label_scores)
    assert [(row["label"], row["abstain"]) for row in rows(run.out)] == [("bug", "false"), ("", "true")]
    lines = llm("classify", *LABELS, "--threshold", "0.8", stdin=b"nothing\n", answer=label_scores)
    assert lines.out == "\tbug=0.5000\tidea=0.5000\n"


def test_a_target_precision_sets_the_threshold(llm, label_scores, write):
    """On labelled rows that were predicted without themselves: texts like those that were wrong abstain."""
    good = "".join(f"a bug {number},bug\nan idea {number},idea\n" for number in range(20))
    bad = "".join(f"unclear {number},idea\nunclear {number} too,bug\n" for number in range(5))
    labelled = write("labelled.csv", f"text,label\n{good}{bad}")
    path = write("in.csv", "text\na bug\nunclear\n")
    summary = path + ".json"
    options = ("--target-precision", "0.95", "--calibrate", labelled, "--summary", summary)
    run = llm("classify", *LABELS, *options, path, answer=label_scores)
    assert run.code == 0 and [row["label"] for row in rows(run.out)] == ["bug", ""]
    found = json.loads(Path(summary).read_text(encoding="utf-8"))["target_precision"]
    assert (found["answered"], found["correct"], found["rows"], found["reached"]) == (40, 40, 50, True)
    assert found["threshold"] > 0.7 and found["low"] == pytest.approx(0.912, abs=0.001)


def test_several_labels(llm, statement_scores):
    """--multi asks about each label by itself."""
    run = llm("classify", "--multi", *LABELS, stdin=b"a bug and an idea\nnone\n", answer=statement_scores)
    first, second = run.out.splitlines()
    assert first == "bug, idea\tbug=0.9000\tidea=0.9000" and second == "\tbug=0.1000\tidea=0.1000"
    (found,) = [
        json.loads(line)
        for line in llm("classify", "--multi", *LABELS, "--json", stdin=b"a bug\n", answer=statement_scores).out.split(
            "\n"
        )
        if line
    ]
    assert found["labels"] == ["bug"] and set(found["probabilities"]) == {"bug", "idea"}


def test_a_file_of_labels(llm, label_scores, write):
    """Descriptions and examples reach the model."""
    labels = write("labels.yaml", "bug: Something is broken.\nidea: {examples: [Please add a clock.]}\n")
    run = llm("classify", "--labels", f"@{labels}", stdin=b"a bug\n", answer=label_scores)
    asked = all_messages(run.backend.requests[-1])
    assert run.out.startswith("bug\t") and "Something is broken." in asked and "Please add a clock." in asked


@pytest.mark.parametrize("text", ["labels: [\n", "a: b\na: c\n", "just words\n"])
def test_a_file_that_holds_no_labels_says_what_it_should_hold(llm, write, text):
    """There is no --format for it."""
    run = llm("classify", "--labels", f"@{write('labels.yaml', text)}", stdin=b"a bug\n")
    assert (run.code, run.out, run.backend) == (65, "", None)
    assert "--format" not in run.err and ("list of labels" in run.err)


def test_a_file_may_have_the_labels_yes_and_no(llm, label_scores, write):
    """The columns were p_True and p_False, and the model was asked for these words."""
    for text in ("yes: It is spam.\nno: It is not.\n", "- yes\n- no\n"):
        labels = write("labels.yaml", text)
        run = llm("classify", "--labels", f"@{labels}", write("in.csv", "text\nx\n"), answer=label_scores)
        assert run.out.startswith("text,label,p_yes,p_no,")


def test_the_nearest_examples_are_shown(llm, label_scores, write):
    """Eight of them: the one with the most words in common stands last, next to the text."""
    dark = "".join(f"screen {number} is dark,bug\n" for number in range(8))
    examples = write("e.csv", f"text,label\nadd a clock please,idea\n{dark}")
    run = llm("classify", *LABELS, "--examples", examples, stdin=b"please add a bug\n", answer=label_scores)
    shown = [message.content for message in run.backend.requests[-1].messages]
    assert run.code == 0 and "add a clock please" in shown[-3] and shown[-2] == "idea"
    assert "".join(shown).count("is dark") == 7


@pytest.mark.parametrize(
    ("options", "what"),
    [
        (("--labels", "a"), "two labels"),
        (("--labels", "a,a"), "twice"),
        (("--labels", "@"), "names no file"),
        ((*LABELS, "--target-precision", "0.9"), "needs a calibration"),
        ((*LABELS, "--multi", "--examples", "x.csv"), "--multi"),
        ((*LABELS, "--threshold", "2"), "--threshold"),
        ((), "--labels"),
    ],
)
def test_options_that_make_no_sense(llm, label_scores, options, what):
    """Exit code 2, and nothing is sent."""
    run = llm("classify", *options, stdin=b"text\n", answer=label_scores)
    assert (run.code, run.out) == (2, "") and what in run.err and not (run.backend and run.backend.requests)


def test_labelled_rows_with_another_label(llm, label_scores, write):
    """The file, the line and the labels are named."""
    path = write("l.csv", "text,label\na bug,bog\n")
    run = llm("classify", *LABELS, "--examples", path, stdin=b"x\n", answer=label_scores)
    assert run.code == 2 and "l.csv, line 2" in run.err and "'bog'" in run.err and "bug, idea" in run.err


def test_a_failing_record(llm, label_scores, write):
    """It is an error record, and the exit code is 3."""
    run = llm("classify", *LABELS, write("in.csv", "text\na bug\nboom\n"), answer=label_scores)
    assert run.code == 3 and rows(run.out)[1]["error"] and rows(run.out)[0]["label"] == "bug"


def test_the_summary_on_a_terminal(llm, label_scores, write, terminal):
    """A few lines with bars on standard error after the results; none for a single record, with -q and in pipes."""
    path = write("in.txt", "a bug\nmore bug\nan idea\n\n")
    screen, quiet = terminal(), terminal()
    assert llm("classify", *LABELS, path, answer=label_scores, err=screen.slave).code == 0
    assert llm("classify", *LABELS, path, "-q", answer=label_scores, err=quiet.slave).code == 0
    shown = screen.close()
    assert "4 records, 1 blank" in shown and "━" in shown and quiet.close() == ""
    assert "bug     2   50%  ━" not in shown and "bug   2   50%  ━" in shown


def test_the_summary_fits_a_narrow_terminal(llm, label_scores, write, terminal):
    """The head is wrapped at words, and the bars are shorter."""
    screen = terminal(columns=30)
    llm("classify", *LABELS, write("t.txt", "a bug\na bug\npraise\n\n"), err=screen.slave, answer=label_scores)
    screen.close()
    _, *lines = bytes(screen.raw).decode().rpartition("llm: ")[2].splitlines()
    assert lines[0].startswith("  bug") and "━" in lines[0] and max(map(len, lines)) <= 30


def test_the_summary_file(llm, label_scores, write, tmp_path):
    """Counts and mean probabilities as JSON."""
    out = tmp_path / "summary.json"
    path = write("in.txt", "a bug\nan idea\nboom\n\n")
    run = llm("classify", *LABELS, path, "--summary", str(out), answer=label_scores)
    found = json.loads(out.read_text())
    assert run.code == 3
    assert (found["records"], found["scored"], found["blank"], found["failed"]) == (4, 2, 1, 1)
    assert found["labels"] == {"bug": 1, "idea": 1}
    assert found["mean_probability"] == {"bug": 0.5, "idea": 0.5}
