"""``--calibrate``, ``--calibration``, ``--eval``, ``--plot`` of classify and sentiment, and ``llm calibrations``."""

from __future__ import annotations

import json
import os
from pathlib import Path
from xml.etree import ElementTree as ET

import numpy as np
import pytest
from fake_server import last_message as last_content
from fake_server import stream_answer
from scripted import LayerStates, last_message

LABELS = ("--labels", "bug,idea")
PNG = b"\x89PNG\r\n\x1a\n"


@pytest.fixture
def labelled(write):
    """Return a file whose labels are the opposite of what the model says, for most rows."""
    texts = "".join(f"a bug {number},idea\nan idea {number},bug\n" for number in range(15))
    return write("labelled.csv", f"text,label\n{texts}a bug x,bug\nan idea x,idea\n")


@pytest.fixture
def calibrated(llm, label_scores, labelled):
    """Make the calibration "tickets", and return the run."""
    run = llm("classify", *LABELS, "--calibrate", labelled, "--calibration", "tickets", answer=label_scores)
    assert run.code == 0, run.err
    return run


def test_a_calibration_corrects_the_model(llm, label_scores, calibrated):
    """Its figures are printed; later runs use it by its name."""
    assert "accuracy " in calibrated.out and "true \\ chosen" in calibrated.out
    assert (
        "without calibration" in calibrated.out
        and "The calibration helps: the probabilities are nearer" in calibrated.out
    )
    assert calibrated.out.splitlines()[-1] == "next: llm classify --labels bug,idea --calibration tickets FILE"
    run = llm("classify", *LABELS, "--calibration", "tickets", stdin=b"a bug\nan idea\n", answer=label_scores)
    assert [line.split("\t")[0] for line in run.out.splitlines()] == ["idea", "bug"]


def test_a_damaged_calibration_hides_no_other(llm, calibrated):
    """The list names it, says why it cannot be read, and shows the others; one without permission as well."""
    path = Path(os.environ["LLMCLI_DATA_DIR"], "calibrations", "tickets.npz")
    whole = path.read_bytes()
    path.with_name("cut.npz").write_bytes(whole[:-40])
    path.with_name("flipped.npz").write_bytes(whole[:300] + bytes([whole[300] ^ 255]) + whole[301:])
    run = llm("calibrations", "list")
    names = [line.split("\t")[0] for line in run.out.splitlines()]
    assert (run.code, names) == (78, ["cut", "flipped", "tickets"]) and "\tclassify\tbug,idea\t" in run.out
    assert run.err.count("cannot be read") == 2 and "llm calibrations rm cut" in run.err
    assert llm("calibrations", "show", "cut").code == 78
    path.with_name("closed.npz").mkdir()
    assert llm("calibrations", "show", "closed").code == 77
    assert llm("calibrations", "list").code == 77  # of the first that cannot be read


def test_records_are_labelled_at_once(llm, label_scores, labelled, write):
    """With input, --calibrate is used for it; without a name nothing is saved."""
    run = llm("classify", *LABELS, "--calibrate", labelled, write("in.txt", "a bug\n"), answer=label_scores)
    assert run.out.startswith("idea\t")
    assert llm("calibrations", "list").out == ""


def test_labelled_rows_of_standard_input(llm, label_scores, labelled, write):
    """``-`` is standard input for --calibrate, --eval and --examples, too."""
    rows, texts = Path(labelled).read_bytes(), write("in.txt", "a bug\n")
    for option, shown in (("--calibrate", "32 of standard input, each predicted"), ("--eval", "32 of standard input")):
        run = llm("classify", *LABELS, option, "-", stdin=rows, answer=label_scores)
        assert run.code == 0 and shown in run.out, option
    assert llm("classify", *LABELS, "--calibrate", "-", texts, stdin=rows, answer=label_scores).out.startswith("idea\t")
    run = llm("classify", *LABELS, "--examples", "-", texts, stdin=rows, answer=label_scores)
    assert run.code == 0 and "a bug" in str(run.backend.requests[0].messages)
    empty = llm("classify", *LABELS, "--eval", "-", stdin=b"", answer=label_scores)
    assert (empty.code, empty.out) == (2, "") and "standard input has no labelled rows" in empty.err


@pytest.mark.parametrize(
    "argv",
    [
        ("classify", "--labels", "@-"),
        ("classify", *LABELS, "--template", "@-"),
        ("classify", *LABELS, "--examples", "-"),
        ("classify", *LABELS, "--calibrate", "-", "-"),
        ("classify", *LABELS, "--examples", "-", "--eval", "-"),
    ],
)
def test_standard_input_has_one_reader(llm, label_scores, labelled, argv):
    """The second one would find it empty, and have an empty result without an error."""
    stdin = b"bug: broken\nidea: new\n" if "@-" in argv else Path(labelled).read_bytes()
    run = llm(*argv, stdin=stdin, answer=label_scores)
    assert (run.code, run.out) == (2, "") and "standard input can be read only once" in run.err


def test_figures_as_json(llm, label_scores, labelled):
    """One object."""
    run = llm("classify", *LABELS, "--calibrate", labelled, "--json", answer=label_scores)
    found = json.loads(run.out)
    assert found["calibration"] is None and found["rows"] == 32 and found["features"] == ["scores"]
    assert found["figures"]["accuracy"]["value"] == pytest.approx(30 / 32)
    assert found["learning_curve"]["rows"] == 32 and found["learning_curve"]["worthwhile"] % 50 == 0
    assert found["gain"]["is_gain"] and found["gain"]["before"]["accuracy"]["value"] == pytest.approx(2 / 32)
    assert (
        found["figures"]["brier"]["low"] <= found["figures"]["brier"]["value"] < found["gain"]["before"]["brier"]["low"]
    )
    assert found["next"] == f"llm classify --labels bug,idea --calibrate {labelled} --calibration NAME"


@pytest.fixture
def agreed(write):
    """Return rows of which nine in ten have the label that the model gives, each with the probability 0.9."""
    rows = [f"a bug {n},bug\nan idea {n},idea\n" for n in range(9)]
    return write("agreed.csv", "text,label\n" + "".join(rows) + "a bug x,idea\nan idea x,bug\n")


def test_a_calibration_that_gains_nothing_does_not_answer(llm, label_scores, agreed, tmp_path):
    """The report says so, and so does each run that names it."""
    made = llm("classify", *LABELS, "--calibrate", agreed, "--calibration", "c", answer=label_scores)
    words = " ".join(made.out.split())
    assert "The calibration gains nothing: the probabilities are farther from the truth" in words
    assert "llm answers without it." in words
    assert made.out.splitlines()[-1] == "next: llm label --labels bug,idea FILE"
    argv = ("classify", *LABELS, "--calibration", "c", "--summary", str(tmp_path / "summary.json"))
    plain = llm(*argv, "-v", stdin=b"a bug\n", answer=label_scores)
    assert plain.out == "bug\tbug=0.9000\tidea=0.1000\n" and "the calibration gains nothing" in plain.err
    assert json.loads((tmp_path / "summary.json").read_text())["calibration_answers"] is False
    (row,) = [json.loads(line) for line in llm("calibrations", "list", "--json").out.splitlines()]
    figures = json.loads(llm("calibrations", "show", "c", "--json").out)["figures"]
    assert row["accuracy"] == round(figures["accuracy"]["value"], 3)
    assert row["ece"] == round(figures["ece"]["value"], 3) > 0


def test_records_are_labelled_without_a_calibration_that_gains_nothing(llm, label_scores, agreed, write):
    """Where --calibrate prints no report either, one line says it; the target precision is that of what answers."""
    argv = ("classify", *LABELS, "--calibrate", agreed, "--target-precision", "0.85", write("in.txt", "a bug\n"))
    run = llm(*argv, answer=label_scores)
    assert run.out.startswith("bug\tbug=0.9000") and "the calibration gains nothing" in run.err
    assert "threshold 0.900: 18 of 20 labels right" in run.err


@pytest.mark.parametrize("with_input", [False, True], ids=["report", "records"])
@pytest.mark.parametrize("command", ["classify", "sentiment", "filter"])
def test_figures_in_a_pipe_are_those_of_a_terminal(llm, terminal, write, statement_scores, command, with_input):
    """Standard error has the same lines; -q silences them, --json makes objects of them, and the answer is the same."""
    values = {"sentiment": ("positive", "negative"), "filter": ("yes", "no"), "classify": ("bug", "idea")}[command]
    words = {"filter": ("a disk", "a cat")}.get(command, values)
    rows = "".join(f"{word} {n},{value}\n" for n in range(15) for word, value in zip(words, values, strict=True))

    def answer(request):
        if command == "filter":
            return statement_scores(request)
        text = last_message(request).rpartition("Text:")[2]
        return {label: 0.0 if label in text else -1.0 for label in request.candidates}

    own = {"filter": ["it is about a disk"], "sentiment": [], "classify": [*LABELS]}[command]
    argv = [command, *own, "--calibrate", write("rows.csv", f"text,label\n{rows}"), "--calibration", "c"]
    argv += ["--target-precision", "0.9", *([write("in.txt", f"{words[0]}\n")] if with_input else [])]
    piped, quiet = (llm(*argv, *more, answer=answer) for more in ((), ("-q",)))
    lines = [line.removeprefix("llm: ") for line in piped.err.splitlines()]
    starts = ["saved the calibration c in ", *(["the calibration "] if with_input else []), "threshold "]
    assert len(lines) == len(starts) and all(map(str.startswith, lines, starts))
    assert piped.code == quiet.code == 0 and (quiet.out, quiet.err) == (piped.out, "")
    screen = terminal(columns=300)
    assert llm(*argv, answer=answer, err=screen.slave).code == 0
    shown = screen.close()
    assert all(f"llm: {line}" in shown for line in lines)
    objects = llm(*argv, "--json", answer=answer).err.splitlines()
    assert [json.loads(line)["note"] for line in objects] == lines


@pytest.mark.parametrize(
    ("options", "difference"),
    [
        (("classify", "--labels", "bug,wish"), "label set"),
        (("classify", "--labels", "bug,idea", "--examples", "EXAMPLES"), "set of --examples"),
        (("sentiment",), "another command"),
    ],
)
@pytest.mark.usefixtures("calibrated")
def test_another_label_set_is_refused(llm, label_scores, write, options, difference):
    """With one line that names what differs, a next step and code 78; nothing is scored."""
    examples = write("examples.csv", "text,label\nit broke,bug\n")
    options = [examples if option == "EXAMPLES" else option for option in options]
    run = llm(*options, "--calibration", "tickets", stdin=b"a bug\n", answer=label_scores)
    assert (run.code, run.out) == (78, "") and difference in run.err.splitlines()[0]
    assert run.err.startswith("llm: the calibration tickets was made with another")


@pytest.mark.usefixtures("calibrated")
def test_a_job_is_not_continued_with_another_calibration(llm, label_scores, write, tmp_path):
    """It is part of the job's manifest."""
    path, out = write("in.csv", "text\na bug\nboom\n"), str(tmp_path / "out.csv")
    first = llm("classify", *LABELS, path, "-o", out, "--resume", "--on-error", "fail", answer=label_scores)
    assert first.code != 0
    run = llm("classify", *LABELS, path, "-o", out, "--resume", "--calibration", "tickets", answer=label_scores)
    assert run.code == 2 and "--calibration" in run.err


def test_an_evaluation(llm, label_scores, calibrated, write):
    """With a calibration and without one."""
    rows = write("check.csv", "text,label\n" + "".join(f"a bug {n}!,idea\nan idea {n}!,idea\n" for n in range(4)))
    plain = llm("classify", *LABELS, "--eval", rows, "--json", answer=label_scores)
    used = llm("classify", *LABELS, "--eval", rows, "--calibration", "tickets", "--json", answer=label_scores)
    assert json.loads(plain.out)["figures"]["confusion"] == [[0, 0], [4, 4]]
    assert json.loads(used.out)["figures"]["confusion"] == [[0, 0], [4, 4]]
    text = llm("classify", *LABELS, "--eval", rows, answer=label_scores).out
    assert "accuracy           0.500" in text and "idea             4     4" in text
    assert "(0.125 to 0.875)  more" in text and "share of right labels" in text


def test_a_target_precision_uses_the_saved_calibration(llm, label_scores, calibrated):
    """Its held-out probabilities set the threshold."""
    run = llm(
        *("classify", *LABELS, "--calibration", "tickets", "--target-precision", "0.99", "--json"),
        stdin=b"a bug\n",
        answer=label_scores,
    )
    assert run.code == 0 and "abstain" in json.loads(run.out)


def test_plots(llm, label_scores, labelled, tmp_path):
    """SVG is well-formed, PNG is one; other names are refused before anything is scored."""
    svg, png = tmp_path / "plot.svg", tmp_path / "plot.PNG"
    for path in (svg, png):
        run = llm("classify", *LABELS, "--calibrate", labelled, "--plot", str(path), answer=label_scores)
        assert run.code == 0, run.err
    texts = [each.text or "" for each in ET.parse(svg).iter("{http://www.w3.org/2000/svg}text")]
    for words in ("Are the probabilities honest?", "labelled rows", "probability that llm gives its label", "100%"):
        assert any(words in text for text in texts)
    assert png.read_bytes().startswith(PNG)
    run = llm("classify", *LABELS, "--calibrate", labelled, "--plot", "plot.gif", answer=label_scores)
    assert run.code == 2 and ".svg or .png" in run.err and not run.backend


def test_a_plot_of_certain_and_right_labels_has_distinct_ticks(llm, write, tmp_path):
    """Its axes span ten points at least, although all rows have the same place."""
    rows = write("check.csv", "text,label\n" + "".join(f"a bug {n},bug\nan idea {n},idea\n" for n in range(4)))
    plot = tmp_path / "plot.svg"

    def certain(request):
        text = last_message(request).rpartition("Text:")[2]
        return {label: 0.0 if label in text else -60.0 for label in request.candidates}

    assert llm("classify", *LABELS, "--eval", rows, "--plot", str(plot), answer=certain).code == 0
    texts = [each.text or "" for each in ET.parse(plot).iter("{http://www.w3.org/2000/svg}text")]
    ticks = [text for text in texts if text.rstrip("%").isdecimal()]
    assert ticks == ["90%", "92%", "94%", "96%", "98%", "100%"] * 2


@pytest.mark.usefixtures("calibrated")
def test_a_saved_calibration_is_drawn(llm, tmp_path):
    """Without running the model again; the title names it."""
    run = llm("calibrations", "show", "tickets", "--plot", str(tmp_path / "plot.svg"))
    assert run.code == 0 and "accuracy" in run.out and run.backend is None
    assert "Calibration tickets of llm classify, " in (tmp_path / "plot.svg").read_text()
    assert llm("calibrations", "show", "tickets", "--plot", "plot.gif").code == 2


def test_a_png_without_its_library(llm, label_scores, labelled, monkeypatch):
    """The optional part is named."""
    monkeypatch.setattr("importlib.util.find_spec", lambda _name: None)
    run = llm("classify", *LABELS, "--calibrate", labelled, "--plot", "plot.png", answer=label_scores)
    assert run.code == 69 and "llmcli[plot]" in run.err


@pytest.mark.parametrize(
    ("options", "what"),
    [
        (("--plot", "p.svg"), "--calibrate or --eval"),
        (("--summary", "-"), "--summary needs the name of a file"),
        (("--eval", "LABELLED", "in.txt"), "--eval"),
        (("--eval", "LABELLED", "--calibrate", "LABELLED"), "also in --calibrate"),
        (("--calibrate", "LABELLED", "--calibration", "../x"), "no name for a calibration"),
        (("--multi", "--examples", "LABELLED"), "--multi"),
        (("--multi", "--calibrate", "LABELLED", "--plot", "p.svg"), "--multi"),
        (("--calibrate", "LABELLED", "-o", "out.csv"), "-o is for records"),
        (("--calibrate", "LABELLED", "--limit", "5"), "--limit is for records"),
        (("--eval", "LABELLED", "--summary", "s.json"), "--summary is for records"),
    ],
)
def test_calibration_options_that_make_no_sense(llm, label_scores, labelled, options, what):
    """Exit code 2."""
    given = [labelled if option == "LABELLED" else option for option in options]
    run = llm("classify", *LABELS, *given, stdin=b"x\n", answer=label_scores)
    assert (run.code, run.out) == (2, "") and what in run.err


@pytest.mark.parametrize("option", ["--calibrate", "--eval", "--examples"])
@pytest.mark.parametrize(
    ("rows", "more", "expected"),
    [
        (
            ("r.csv", "text,kind\na,bug\n"),
            (),
            (2, "has no column label\nTry: --label-column NAME, one of text, kind\n"),
        ),
        (
            ("r.csv", "text,label\na,b\n"),
            ("--column", "b"),
            (2, "r.csv has no column b\nTry: --column NAME, one of text"),
        ),
        (("r.txt", "a bug\nan idea\n"), (), (2, "r.txt has no column label\n")),
        (("r.jsonl", '{"text": "a"}\n'), (), (65, "has no field label\nName the field with the label: --label-column")),
        (("r.jsonl", '{"text": "a", "label": "bug"}\n{"text"'), (), (65, "Correct or delete the line.\n")),
    ],
)
def test_labelled_rows_that_cannot_be_read(llm, label_scores, write, option, rows, more, expected):
    """The next step names the option that helps; --format is about another input."""
    files = [] if option == "--eval" else [write("in.csv", "text\na bug\n")]
    run = llm("classify", *LABELS, option, write(*rows), *more, *files, answer=label_scores)
    assert (run.code, run.out, run.backend) == (expected[0], "", None)
    assert expected[1] in run.err and "--format" not in run.err


@pytest.mark.parametrize("option", ["--calibrate", "--eval"])
def test_piped_records_are_not_ignored(llm, label_scores, labelled, option):
    """A report reads none, so the next step is ``-`` or ``--no-stdin``; an empty pipe is no input."""
    run = llm("classify", *LABELS, option, labelled, stdin=b"a bug\n", answer=label_scores)
    assert (run.code, run.out, run.backend) == (2, "", None) and "standard input would not be read" in run.err
    assert ("add -;" if option == "--calibrate" else "Leave out --eval") in run.err
    report = llm("classify", *LABELS, option, labelled, "--no-stdin", stdin=b"a bug\n", answer=label_scores)
    assert report.code == 0 and report.out == llm("classify", *LABELS, option, labelled, answer=label_scores).out


def test_piped_records_beside_a_calibration_are_labelled(llm, label_scores, labelled):
    """If ``-`` names them."""
    run = llm("classify", *LABELS, "--calibrate", labelled, "-", stdin=b"a bug\n", answer=label_scores)
    assert run.code == 0 and run.out.startswith("idea\t")


def test_text_in_a_pipe_is_seen_and_stays(process, labelled):
    """Bytes of a pipe count as those of a file do, and none are read."""
    read, write_end = os.pipe()
    os.write(write_end, b"a bug\n")
    with process("classify", *LABELS, "--calibrate", labelled, stdin=read) as run:
        assert b"standard input would not be read" in run.communicate()[1]
    assert run.returncode == 2 and os.read(read, 10) == b"a bug\n"
    for fd in (read, write_end):
        os.close(fd)


def test_a_file_that_is_read_is_not_overwritten(llm, label_scores, labelled, write):
    """Neither the input nor labelled rows, by a summary, a plot or the output."""
    texts = write("in.txt", "a bug\n")
    before = [Path(each).read_bytes() for each in (texts, labelled)]
    fit = ("--calibrate", labelled, texts)
    for options in (
        (texts, "--summary", texts),
        (*fit, "--summary", texts),
        (*fit, "-o", labelled),
        (*fit, "--summary", labelled),
        ("--examples", labelled, texts, "--summary", labelled),
        (*fit, "-o", "out.csv", "--summary", "out.csv"),
    ):
        run = llm("classify", *LABELS, *options, answer=label_scores)
        assert (run.code, run.out) == (2, "") and " is both " in run.err
    run = llm("filter", "a bug", texts, "--summary", texts)
    assert run.code == 2 and f"{texts} is both an input and --summary" in run.err
    assert [Path(each).read_bytes() for each in (texts, labelled)] == before


def test_too_few_labelled_rows(llm, label_scores, write):
    """The file is named, with what is missing."""
    few = write("few.csv", "text,label\na bug,bug\nan idea,idea\n")
    same = write("same.csv", "text,label\n" + "".join(f"a bug {n},bug\n" for n in range(12)))
    for path, what in ((few, "at least 10"), (same, "all are bug")):
        run = llm("classify", *LABELS, "--calibrate", path, answer=label_scores)
        assert run.code == 65 and what in run.err and Path(path).name in run.err


def test_sentiment_too(llm, write):
    """With the labels of its prompt, and a score of the calibrated probabilities."""
    rows = "".join(f"good {n},positive\nbad {n},negative\n" for n in range(10))

    def answer(request):
        good = "good" in request.messages[-1].content
        return {"positive": -0.5 if good else -0.6, "neutral": -1.5, "negative": -0.6 if good else -0.5}

    labelled = write("l.csv", f"text,label\n{rows}")
    assert llm("sentiment", "--calibrate", labelled, "--calibration", "mood", answer=answer).code == 0
    run = llm("sentiment", "--calibration", "mood", "--json", stdin=b"good\n", answer=answer)
    found = json.loads(run.out)
    assert found["label"] == "positive" and found["score"] > 0.5 and found["probabilities"]["neutral"] == 0


def test_calibrations_are_listed_shown_and_removed(llm, calibrated):
    """As the other groups do."""
    (row,) = [json.loads(line) for line in llm("calibrations", "list", "--json").out.splitlines()]
    assert (row["name"], row["verb"], row["labels"], row["rows"]) == ("tickets", "classify", "bug,idea", 32)
    assert "accuracy " in llm("calibrations", "show", "tickets").out
    assert json.loads(llm("calibrations", "show", "tickets", "--json").out)["calibration"] == "tickets"
    missing = llm("calibrations", "show", "tickts")
    assert missing.code == 66 and "tickets" in missing.err
    assert llm("calibrations", "rm", "tickets").code == 2  # no terminal to ask
    assert llm("calibrations", "rm", "--yes", "tickets", "none").code == 66  # all or none of them
    assert json.loads(llm("calibrations", "rm", "--yes", "tickets", "tickets", "--json").out) == {
        "removed": ["tickets"]
    }
    assert llm("calibrations", "list").out == ""
    assert llm("calibrations", "rm", "--yes", "tickets").code == 66


def text_of(request):
    """Return the text that is to be labelled."""
    return last_message(request).partition("Text: ")[2].removesuffix("\nLabel:")


@pytest.fixture
def staged():
    """Return the answers of a model whose states tell a bug from an idea, unless the text says "perhaps"; its scores do there.

    States of every layer are three numbers: the label, and noise that the text determines.
    """

    def answer(request):
        text = text_of(request)
        random = np.random.default_rng(sum(map(ord, text)))
        sign = 1.0 if "bug" in text else -1.0
        told = random.normal(0, 0.4) if "perhaps" in text else sign + random.normal(0, 0.7)
        states = np.array([told, *random.normal(0, 1.0, 2)], "<f4").tobytes()
        score = sign * (0.8 if "perhaps" in text else 0.05) + random.normal(0, 1.0)
        return LayerStates(lambda _layer: states, {"bug": score, "idea": -score})

    return answer


def test_a_cascade_asks_about_unsure_texts_again(llm, staged, write):
    """The calibration says when; most records are read once, by states alone, and the scores decide about the others."""
    names = [
        f"a {label} {number}{' perhaps' if number % 5 == 0 else ''}"
        for number in range(50)
        for label in ("bug", "idea")
    ]
    labelled = write("staged.csv", "text,label\n" + "".join(f"{text},{text.split()[1]}\n" for text in names))
    fitted = llm(
        "classify", *LABELS, "--calibrate", labelled, "--calibration", "staged", "--json", answer=staged, layers=30
    )
    cascade = json.loads(fitted.out)["cascade"]
    assert cascade["features"][0] == "scores" and 0 < cascade["margin"] < 1
    shown = llm("calibrations", "show", "staged")
    assert f"if the first label leads by less than {cascade['margin']:.2f}" in shown.out

    texts = [
        f"a {label} {number}{' perhaps' if number % 5 == 0 else ''}"
        for number in range(50, 90)
        for label in ("bug", "idea")
    ]
    path = write("in.txt", "".join(f"{text}\n" for text in texts))
    run = llm("classify", *LABELS, "--calibration", "staged", "--json", path, answer=staged, layers=30)
    rows = [json.loads(line) for line in run.out.splitlines()]
    again = [request for request in run.backend.requests if request.candidates]
    assert run.code == 0
    assert len(run.backend.requests) == 80 + len(again) and 4 <= len(again) <= 24
    layers = {bool(request.candidates): request.state_layers for request in run.backend.requests}
    assert layers == {False: (18,), True: (18, 22)}
    chosen = {text_of(request) for request in again}
    right = [row["label"] == text.split()[1] for row, text in zip(rows, texts, strict=True) if text in chosen]
    assert sum(right) > 0.6 * len(right)


@pytest.mark.parametrize("option", ["--eval", "--calibrate"])
@pytest.mark.parametrize("multi", [False, True])
def test_a_report_on_a_server_s_labels_says_how_it_scored_them(llm, server, labelled, option, multi):
    """``warnings`` in --json are the line of a terminal, and of -v."""
    server.usual = stream_answer(lambda body: "bug" if "a bug" in last_content(body) else "idea")
    argv = ("classify", *LABELS, *(["--multi"] if multi else []), option, labelled)
    run = llm(*argv, "--json", "--base-url", server.url)
    assert run.code == 0, run.err
    (said,) = json.loads(run.out)["warnings"]
    assert "the model's own answers are used, sampled and counted" in said
    assert f"llm: {said}\n" in llm(*argv, "-v", "--base-url", server.url).err


def test_a_report_on_labels_of_this_machine_has_no_warnings(llm, label_scores, labelled):
    """An empty list, as in results; a stored calibration has none."""
    for report in (("--eval", labelled), ("--calibrate", labelled, "--calibration", "x")):
        run = llm("classify", *LABELS, *report, "--json", answer=label_scores)
        assert json.loads(run.out)["warnings"] == []
    assert "warnings" not in json.loads(llm("calibrations", "show", "x", "--json").out)
