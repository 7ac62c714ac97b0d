"""``llm sentiment``: scores, scales, units of a text, aspects."""

from __future__ import annotations

import csv
import io
import json
import math

import pytest
from scripted import last_message

from llmcli.errors import Unsupported
from llmcli.tasks.sentiment import polarity_score, rate

NEUTRAL = dict.fromkeys(("positive", "neutral", "negative"), math.log(1 / 3))


def opinion(request):
    """Return scores by words of the text; the aspects of a text that asks for them."""
    text = last_message(request).rpartition("\n\n")[2].removeprefix("Text: ")
    if request.grammar is not None:
        return "food | good | positive\nfood | good | positive\nstaff | bad" if "food" in text else "NONE"
    if "good" in text:
        return {"positive": math.log(0.7), "neutral": math.log(0.2), "negative": math.log(0.1)}
    if "bad" in text:
        return {"positive": math.log(0.1), "neutral": math.log(0.2), "negative": math.log(0.7)}
    return NEUTRAL


def table(text):
    return list(csv.DictReader(io.StringIO(text)))


def test_the_score_is_the_mean_polarity():
    """From -1 to 1."""
    assert polarity_score({"positive": 1.0, "neutral": 0.0, "negative": 0.0}) == 1
    assert polarity_score({"positive": 0.2, "neutral": 0.3, "negative": 0.5}) == pytest.approx(-0.3)


@pytest.mark.parametrize(
    ("score", "points", "expected"), [(-1, 5, 1), (0, 5, 3), (1, 5, 5), (0.59, 5, 4), (0.61, 5, 5)]
)
def test_a_scale_has_equal_steps(score, points, expected):
    """1 is the most negative; the middle of an odd scale is neutral."""
    assert rate(score, points) == expected


def test_columns(llm):
    """Score and rating follow the margin."""
    run = llm("sentiment", "--scale", "5", "--format", "csv", stdin=b"text\ngood\nbad\nx\n", answer=opinion)
    found = table(run.out)
    assert [(row["label"], row["score"], row["rating"]) for row in found[:2]] == [
        ("positive", "0.9819", "5"),
        ("negative", "-0.9819", "1"),
    ]
    assert found[2]["score"] in {"0.0", "-0.0"}


@pytest.mark.parametrize(
    ("unit", "texts"),
    [
        ("line", ["One is good.", "Two", "is bad. Three.", "", "Four."]),
        ("sentence", ["One is good.", "Two is bad.", "Three.", "Four."]),
        ("paragraph", ["One is good. Two is bad. Three.", "Four."]),
        ("document", ["One is good. Two is bad. Three.  Four."]),
    ],
)
def test_units(llm, unit, texts):
    """Each unit of a plain text gets a label of its own."""
    text = b"One is good.\nTwo\nis bad. Three.\n\nFour.\n"
    run = llm("sentiment", "--by", unit, "--output-format", "jsonl", stdin=text, answer=opinion)
    assert [json.loads(line)["text"].replace("\n", " ") for line in run.out.splitlines()] == texts
    lines = llm("sentiment", "--by", unit, stdin=text, answer=opinion).out
    assert lines.count("\n") == len(texts)


def test_units_of_a_table(llm, write):
    """A table has rows."""
    run = llm("sentiment", "--by", "sentence", "--column", "text", stdin=b"text\nx\n", answer=opinion)
    assert run.code == 2 and "--by" in run.err
    path = write("in.csv", "id,text\n1,x\n")
    run = llm("sentiment", "--by", "sentence", path, answer=opinion)
    assert (run.code, run.out) == (2, "") and "--by is for plain text" in run.err


def test_aspects(llm):
    """They are listed beside the label, each once, without a line that was cut; the table holds JSON."""
    run = llm("sentiment", "--aspects", "--json", stdin=b"good food\n\nplain\n", answer=opinion)
    found = [json.loads(line) for line in run.out.splitlines()]
    assert found[0]["label"] == "positive"
    assert found[0]["aspects"] == [{"aspect": "food", "opinion": "good", "polarity": "positive"}]
    assert found[2]["aspects"] == [] and found[1]["label"] is None
    row = table(llm("sentiment", "--aspects", "--format", "csv", stdin=b"text\ngood food\n", answer=opinion).out)[0]
    assert json.loads(row["aspects"])[0]["aspect"] == "food"
    line = llm("sentiment", "--aspects", stdin=b"good food\n", answer=opinion).out
    assert line.endswith("\tfood: good (positive)\n")


def test_an_endless_input_stays_flat(llm, tmp_path):
    """Blank and repeated records of an endless input come out while it is read, until the reader closes."""
    import os
    import threading

    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    read, written = os.pipe()
    stopped = threading.Event()

    def feed():
        try:
            with pipe.open("wb") as stream:
                while not stopped.is_set():
                    stream.write(b"\n" * 1000 + b"good\n")
        except BrokenPipeError:
            stopped.set()

    def drain():
        with os.fdopen(read, "rb") as stream:
            for _ in range(5_000):
                stream.readline()

    threads = [threading.Thread(target=feed), threading.Thread(target=drain)]
    for thread in threads:
        thread.start()
    run = llm("sentiment", str(pipe), answer=opinion, out=written)
    stopped.set()
    os.close(written)
    assert run.code == 141 and len(run.backend.requests) < 500


def test_a_server_without_grammars_gives_aspects_too(llm):
    """Those that stand in the text, in its own words."""

    def answer(request):
        if request.grammar is not None:
            return Unsupported("a grammar")
        if request.candidates:
            return NEUTRAL
        return "- Food | GOOD | Positive\nstaff|rude|negative\ncamera | excellent | positive\nHere they are."

    run = llm("sentiment", "--aspects", "--json", stdin=b"The food was good, the staff rude.\n", answer=answer)
    found = json.loads(run.out)
    assert found["aspects"] == [
        {"aspect": "food", "opinion": "good", "polarity": "positive"},
        {"aspect": "staff", "opinion": "rude", "polarity": "negative"},
    ]
    assert run.code == 0 and found["label"] == "positive"
    assert found["warnings"] == ["aspects that do not stand in the text: 1"]


def test_aspects_are_phrases(llm):
    """What is as long as a sentence is dropped from a free answer, and a warning says how many were."""

    def answer(request):
        if request.grammar is not None:
            return Unsupported("a grammar")
        if request.candidates:
            return NEUTRAL
        return (
            "the food that we had was good | rude | positive\n"
            "food | that we had was good and the staff rude | positive\n"
            "staff | rude. | negative"
        )

    text = b"The food that we had was good and the staff rude.\n"
    found = json.loads(llm("sentiment", "--aspects", "--json", stdin=text, answer=answer).out)
    assert found["aspects"] == [{"aspect": "staff", "opinion": "rude", "polarity": "negative"}]
    assert found["warnings"] == ["aspects that are no phrases: 2"]
