"""Each verb from the command line to stdout, on a scripted backend."""

from __future__ import annotations

import contextlib
import json
import os
import re
import tempfile
from pathlib import Path

import pytest
from scripted import Reply, all_messages, last_message

from llmcli.errors import NotUtf8
from llmcli.types import FinishReason

KEYS = {"model", "weights", "prompt", "finish_reason", "usage", "timings", "warnings"}


def test_ask_writes_the_answer_with_one_newline(llm):
    """An answer ends with exactly one newline, whatever the model's ending, and stderr stays empty."""
    run = llm("ask", "Why?", answer=lambda _: "Because.\n\n")
    assert (run.code, run.out, run.err) == (0, "Because.\n", "")


def test_ask_reads_its_question_from_stdin(llm):
    """Without an argument, standard input is the question."""
    run = llm("ask", stdin="Où?".encode(), answer=last_message)
    assert run.code == 0 and "Où?" in run.out


def test_ask_takes_stdin_as_a_document_beside_a_question(llm):
    """With an argument, the question is about standard input."""
    run = llm("ask", "What is it?", stdin=b"a secret word", answer=last_message)
    assert "a secret word" in run.out and "What is it?" in run.out


def test_no_stdin_does_not_read_stdin(llm):
    """--no-stdin leaves a loop's standard input to the loop."""
    assert "secret" not in llm("ask", "Q", "--no-stdin", stdin=b"secret", answer=last_message).out


def test_the_environment_can_switch_stdin_off(llm):
    """LLMCLI_STDIN=off is --no-stdin."""
    assert "secret" not in llm("ask", "Q", stdin=b"secret", answer=last_message, env={"LLMCLI_STDIN": "off"}).out


def test_a_named_file_means_that_stdin_is_not_read(llm, tmp_path):
    """If a file is named, standard input is not read unless - names it too."""
    (tmp_path / "a.txt").write_text("from the file")
    run = llm("ask", "Q", "-f", str(tmp_path / "a.txt"), stdin=b"secret", answer=last_message)
    assert "from the file" in run.out and "secret" not in run.out


def test_a_piped_question_is_about_the_file(llm, tmp_path):
    """Without an argument standard input is the question, as the error for a missing one says; -f is the document."""
    (tmp_path / "a.txt").write_text("The document.")
    run = llm("ask", "-f", str(tmp_path / "a.txt"), stdin=b"What does it say?\n", answer=all_messages)
    assert run.code == 0 and "The document." in run.out and "What does it say?" in run.out
    for more in ((), ("--no-stdin",)):
        run = llm("ask", "-f", str(tmp_path / "a.txt"), *more)
        assert (run.code, run.out) == (2, "") and "pipe one in" in run.err


def test_without_a_question_a_piped_document_is_no_question(llm):
    """``-f -`` makes standard input the document."""
    run = llm("ask", "-f", "-", stdin=b"text")
    assert run.code == 2 and "no question" in run.err


def test_a_dash_names_stdin_among_files(llm, tmp_path):
    """- is standard input, beside files too."""
    (tmp_path / "a.txt").write_text("from the file")
    run = llm("ask", "Q", "-f", str(tmp_path / "a.txt"), "-f", "-", stdin=b"secret", answer=last_message)
    assert "from the file" in run.out and "secret" in run.out


def test_json_is_one_object_a_line_with_the_contract_s_keys(llm):
    """--json gives text, model, prompt, finish reason, usage, timings and warnings."""
    run = llm("ask", "Q", "--json", answer=lambda _: "ja, ça va\nzwei")
    (line,) = run.out.splitlines()
    found = json.loads(line)
    assert found["text"] == "ja, ça va\nzwei" and set(found) == KEYS | {"text"}
    assert set(found["usage"]) == {"prompt_tokens", "cached_tokens", "completion_tokens"}


def test_summaries_of_several_files_have_headers(llm, tmp_path):
    """Several documents get headers like those of head(1), in the order of the command line."""
    names = []
    for name in ("one", "two"):
        (tmp_path / name).write_text(f"Text {name}.")
        names.append(str(tmp_path / name))
    run = llm("summarize", *names, answer=lambda r: "S1" if "Text one" in last_message(r) else "S2")
    assert run.out == f"==> {names[0]} <==\nS1\n\n==> {names[1]} <==\nS2\n"


@pytest.mark.parametrize("argv", [(), ("--json",)])
def test_a_summary_does_not_begin_with_its_request(llm, argv):
    """What is shown while it is written has none of it, as the text of the object."""
    answer = "What is this text about? The roof leaks. It is repaired on Monday."
    run = llm("summarize", "--style", "paragraph", *argv, stdin=b"Notes of a meeting.", answer=lambda _: answer)
    assert (run.code, run.err) == (0, "")
    assert (
        json.loads(run.out)["text"] if argv else run.out.rstrip("\n")
    ) == "The roof leaks. It is repaired on Monday."


def test_json_of_several_files_names_each(llm, tmp_path):
    """Each object names its document."""
    for name in ("one", "two"):
        (tmp_path / name).write_text("Text.")
    run = llm("summarize", "--json", str(tmp_path / "one"), str(tmp_path / "two"), answer=lambda _: "S")
    assert [json.loads(line)["name"] for line in run.out.splitlines()] == [
        str(tmp_path / "one"),
        str(tmp_path / "two"),
    ]


@pytest.mark.parametrize("text", ["", "one\n\n\ntwo", "a\r\n\r\nb\r\n", "no newline"])
def test_translate_keeps_the_form_of_a_document(llm, text):
    """Blank lines, line endings and the end of a document stay: an echo returns the same bytes."""
    run = llm("translate", "--to", "fr", stdin=text.encode(), answer=_echo)
    assert (run.code, run.out.encode().replace(b"\r\n", b"\n")) == (0, text.encode().replace(b"\r\n", b"\n"))


def _echo(request):
    content = last_message(request)
    for text in ("no newline", "one", "two", "a", "b"):
        if f"\n{text}\n" in f"\n{content}\n":
            return text
    return content


def test_sentiment_writes_a_line_for_each_line(llm):
    """A record is a line; a blank one stays blank."""
    run = llm("sentiment", stdin=b"good\n\nbad\n", answer=_scores)
    lines = run.out.split("\n")
    assert run.code == 0 and len(lines) == 4
    assert lines[0].startswith("positive\t") and lines[1] == "" and lines[2].startswith("negative\t")


@pytest.mark.parametrize(
    ("lines", "code", "kept"),
    [
        ("bad day\n\nbad day\n", 65, True),
        ("\nbad day\n", 65, True),
        ("good\n\nbad day\n", 3, False),
        ("\n\n", 0, False),
    ],
)
def test_a_blank_line_is_neither_delivered_nor_failed(llm, tmp_path, lines, code, kept):
    """If all other lines failed, nothing was delivered, so the file of -o does not change."""
    (tmp_path / "out").write_text("before")
    run = llm(
        "sentiment",
        "-o",
        str(tmp_path / "out"),
        stdin=lines.encode(),
        answer=lambda r: NotUtf8("x", offset=0) if "bad" in last_message(r) else _scores(r),
    )
    assert (run.code, (tmp_path / "out").read_text() == "before") == (code, kept)


def test_a_failed_line_keeps_its_place(llm, tmp_path):
    """The labels after it stay on the lines of their inputs; a file that cannot be read has no lines."""
    (tmp_path / "a.txt").write_text("good\nbroken\nbad\n")
    argv = ("sentiment", str(tmp_path / "a.txt"), str(tmp_path / "missing.txt"))

    def answer(request):
        return NotUtf8("x", offset=0) if "broken" in last_message(request) else _scores(request)

    run = llm(*argv, answer=answer)
    assert (run.code, [line.partition("\t")[0] for line in run.out.splitlines()]) == (3, ["positive", "", "negative"])
    assert "line 2" in run.err
    found = [json.loads(line) for line in llm(*argv, "--json", answer=answer).out.splitlines()]
    assert [(each["line"], "error" in each) for each in found] == [(1, False), (2, True), (3, False)]


def test_sentiment_in_json_has_label_and_probabilities(llm):
    """--json has the task's own fields."""
    found = json.loads(llm("sentiment", "--json", stdin=b"good\n", answer=_scores).out)
    assert found["label"] == "positive" and sum(found["probabilities"].values()) == pytest.approx(1)


def _scores(request):
    """Return scores of a good or a bad text; the content-free ones are neither."""
    good, bad = ("positive", "good"), ("negative", "bad")
    text = last_message(request)
    found = next((label for label, word in (good, bad) if word in text), "neutral")
    return {label: -0.1 if label == found else -3.0 for label in request.candidates}


def test_generate_fills_variables(llm):
    """--var gives a prompt its variables."""
    run = llm("generate", "email", "--var", "topic=the red lamp", answer=last_message)
    assert run.code == 0 and "the red lamp" in run.out


def test_generate_names_the_option_of_a_missing_variable(llm):
    """The next step is the command to type; a variable that is unknown leads to the list."""
    run = llm("generate", "poem")
    assert run.code == 2 and run.err.splitlines() == [
        "llm: generate/poem: missing variables: topic",
        "Try: llm generate poem --var topic=... (all variables: llm generate poem --list)",
    ]
    run = llm("generate", "poem", "--var", "topic=rain", "--var", "nonsense=x")
    assert run.code == 2 and run.err.splitlines()[1] == "Try: llm generate poem --list"


def test_generate_lists_kinds(llm):
    """--list prints the kinds; no model is loaded."""
    run = llm("generate", "--list")
    assert {"email", "poem"} <= {line.split("\t")[0] for line in run.out.splitlines()} and run.backend is None


def test_generate_lists_the_variables_of_a_kind(llm):
    """--list with a kind prints its variables."""
    rows = [json.loads(line) for line in llm("generate", "email", "--list", "--json").out.splitlines()]
    assert {"variable", "default", "choices", "description"} == set(rows[0]) and rows[0]["variable"] == "topic"
    assert rows[0]["default"] is None and rows[0]["choices"] == []


def test_generate_shows_required_variables_and_choices_in_columns(llm):
    """In columns, required variables are marked, and choices are in one cell."""
    rows = [line.split("\t") for line in llm("generate", "email", "--list").out.splitlines()]
    assert rows[0][:3] == ["topic", "(required)", ""] and any(", " in row[2] for row in rows)


@pytest.mark.parametrize(
    "argv", [["--list", "-o", "file"], ["email", "--no-stdin", "--var", "topic=a", "--var", "topic=b"]]
)
def test_generate_refuses_options_without_effect(llm, argv):
    """An option without effect is usage."""
    assert llm("generate", *argv).code == 2


def test_chat_reads_a_line_of_a_pipe_as_a_message(llm):
    """Without a terminal each line is a message, and earlier turns are sent along."""
    run = llm("chat", stdin=b"one\ntwo\n", answer=lambda request: f"{len(request.messages)}")
    first, second = map(int, run.out.split())
    assert run.code == 0 and second == first + 2


def test_options_reach_the_request(llm):
    """Temperature, seed and the token limit of the user."""
    run = llm("ask", "Q", "--seed", "7", "--temperature", "0.25", "--max-tokens", "9")
    (request,) = run.backend.requests
    assert (request.sampling.seed, request.sampling.temperature, request.max_tokens) == (7, 0.25, 9)


def test_reasoning_goes_to_stderr_on_request(llm):
    """Reasoning never reaches stdout."""

    def think(_):
        return Reply("answer", reasoning="let me see")

    silent, shown = llm("ask", "Q", answer=think), llm("ask", "Q", "--reasoning", answer=think)
    assert (silent.out, silent.err) == ("answer\n", "")
    assert shown.out == "answer\n" and "let me see" in shown.err


def test_stats_go_to_stderr(llm):
    """--stats prints tokens and speed, and does not change the answer."""
    run = llm("ask", "Q", "--stats", answer=lambda _: "one two")
    assert run.out == "one two\n" and "tokens in" in run.err and "2 out" in run.err


def test_output_goes_to_a_file(llm, tmp_path):
    """-o writes the same bytes there and nothing to stdout."""
    run = llm("ask", "Q", "-o", str(tmp_path / "out"), answer=lambda _: "done")
    assert run.out == "" and (tmp_path / "out").read_text() == "done\n"


@pytest.mark.parametrize(
    "argv",
    [
        ["ask", "Q", "--no-stdin"],
        ["summarize"],
        ["sentiment"],
        ["generate", "poem", "--no-stdin", "--var", "topic=rain"],
        ["translate", "--to", "fr"],
        ["redact"],
    ],
)
def test_an_output_of_a_dash_is_standard_output(llm, tmp_path, monkeypatch, argv):
    """``-o -`` is as no -o, and an empty name is a mistake; no file is created."""
    monkeypatch.chdir(tmp_path)
    before = set(tmp_path.iterdir())
    answer = _scores if argv[0] == "sentiment" else lambda _: "Answer."
    plain, dash = (llm(*argv, *more, stdin=b"good\n", answer=answer) for more in ((), ("-o", "-")))
    assert (plain.code, plain.out) == (dash.code, dash.out) and dash.code == 0 and dash.out
    run = llm(*argv, "-o", "", stdin=b"good\n")
    assert (run.code, run.out, run.backend) == (2, "", None) and run.err.startswith("llm: -o names no file")
    assert not any(path.name == "-" for path in set(tmp_path.iterdir()) - before)


@pytest.mark.parametrize(
    "argv",
    [
        ["ask", "-f", "a.txt", "Q"],
        ["summarize", "a.txt"],
        ["summarize", "b.txt", "a.txt"],
        ["sentiment", "a.txt"],
        ["generate", "poem", "--var", "topic=@a.txt"],
        ["translate", "--to", "fr", "a.txt"],
        ["redact", "a.txt"],
    ],
)
@pytest.mark.parametrize("output", ["a.txt", "./a.txt", "hard.txt", "soft.txt"])
def test_an_output_may_not_be_an_input(llm, tmp_path, monkeypatch, argv, output):
    """Under any of its names: the command is refused, and the input stays."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a.txt").write_text("source")
    (tmp_path / "b.txt").write_text("another")
    (tmp_path / "hard.txt").hardlink_to(tmp_path / "a.txt")
    (tmp_path / "soft.txt").symlink_to("a.txt")
    run = llm(*argv, "--no-stdin", "-o", output)
    assert (run.code, run.out, run.backend) == (2, "", None)
    assert f"{output} is both an input and the output" in run.err and "Name another file" in run.err
    assert (tmp_path / "a.txt").read_text() == "source" == (tmp_path / "hard.txt").read_text()


@pytest.mark.parametrize(
    ("argv", "told"),
    [
        (["classify", "--labels", "a,b", "a.txt", "--summary", "a.txt"], "a.txt is both an input and --summary"),
        (["classify", "--labels", "@l.yaml", "a.txt", "--summary", "l.yaml"], "l.yaml is both an input and --summary"),
        (
            ["classify", "--labels", "a,b", "a.txt", "--examples", "e.csv", "-o", "e.csv"],
            "both an input and the output",
        ),
        (["classify", "--labels", "a,b", "--eval", "e.csv", "--summary", "e.csv"], "both an input and --summary"),
        (["sentiment", "a.txt", "--summary", "new.json", "-o", "new.json"], "both the output and --summary"),
        (["audit", "sentiment", "--swap", "@s.yaml", "a.txt", "--report", "s.yaml"], "both an input and --report"),
        (["quiz", "export", "a.txt", "-o", "a.txt"], "a.txt is both an input and the output"),
    ],
)
def test_no_file_is_replaced_that_a_command_reads(llm, tmp_path, monkeypatch, argv, told):
    """Whatever option names it: labels, examples and words to swap are inputs, and reports are outputs."""
    monkeypatch.chdir(tmp_path)
    for name in ("a.txt", "l.yaml", "e.csv", "s.yaml"):
        (tmp_path / name).write_text("source")
    run = llm(*argv, "--no-stdin") if argv[0] != "quiz" else llm(*argv)
    assert (run.code, run.out, run.backend) == (2, "", None) and told in run.err
    assert {path.read_text() for path in tmp_path.iterdir() if path.is_file()} == {"source"}


def test_files_below_dev_shm_are_files(llm, tmp_path):
    """They are no devices: an output may not be an input there either, and a statement stands beside its output."""
    shm = Path("/dev/shm")
    with tempfile.TemporaryDirectory(dir=shm if os.access(shm, os.W_OK) else tmp_path) as directory:
        source, output = Path(directory, "a.txt"), Path(directory, "b.txt")
        source.write_text("source")
        run = llm("summarize", str(source), "-o", str(source))
        assert (run.code, run.backend) == (2, None) and source.read_text() == "source"
        argv = ("summarize", str(source), "--provenance", "-o", str(output))
        assert llm(*argv, answer=lambda _: "A text of one word.").code == 0
        assert Path(directory, "b.txt.provenance.json").exists()


@pytest.fixture
def stdin_from():
    """Return a function that makes a file descriptor 0, as ``< FILE`` does."""
    saved = os.dup(0)

    def redirect(path):
        with path.open("rb") as file:
            os.dup2(file.fileno(), 0)

    yield redirect
    os.dup2(saved, 0)
    os.close(saved)


@pytest.mark.parametrize(
    "argv",
    [
        ["ask"],
        ["ask", "Why?"],
        ["summarize"],
        ["summarize", "-"],
        ["summarize", "b.txt", "-"],
        ["sentiment"],
        ["generate", "poem", "--var", "topic=tea"],
        ["translate", "--to", "fr"],
        ["redact"],
    ],
)
def test_an_output_may_not_be_the_file_behind_standard_input(llm, tmp_path, monkeypatch, stdin_from, argv):
    """``-o s.txt < s.txt`` is refused; without standard input, or with another file there, it is not."""
    monkeypatch.chdir(tmp_path)
    source = tmp_path / "s.txt"
    source.write_text("source")
    (tmp_path / "b.txt").write_text("another")
    stdin_from(source)
    run = llm(*argv, "-o", "./s.txt", stdin=b"source")
    assert (run.code, run.out, run.backend) == (2, "", None)
    assert "./s.txt is both standard input and the output" in run.err and source.read_text() == "source"
    stdin_from(tmp_path / "b.txt")
    assert "is both" not in llm(*argv, "-o", "./s.txt", stdin=b"source").err


def test_a_file_stays_unchanged_if_everything_failed(llm, tmp_path):
    """-o FILE is complete or unchanged."""
    (tmp_path / "out").write_text("before")
    run = llm("ask", "Q", "-o", str(tmp_path / "out"), answer=lambda _: Reply("half", error=RuntimeError("x")))
    assert run.code != 0 and (tmp_path / "out").read_text() == "before"


def test_an_answer_cut_by_the_context_is_partial(llm):
    """An answer that ended at a limit the user did not set gives 3, with a message."""
    run = llm("ask", "Q", answer=lambda _: Reply("half an", reason=FinishReason.LENGTH))
    assert run.code == 3 and run.out == "half an\n" and "cut" in run.err


def test_unchanged_segments_are_reported_even_with_quiet(llm):
    """Not a matter of limits: -q drops the warning, not the reason for 3."""
    run = llm("translate", "--to", "fr", "-q", stdin=b"one\n", answer=lambda _: "x" * 900)
    assert (run.code, run.out) == (3, "one\n")
    assert run.err.splitlines()[0] == "llm: 1 of 1 segment was left untranslated" and "llm: warning" not in run.err


def test_a_partial_result_with_json_leaves_only_objects_on_stderr(llm):
    """With --json the warnings are in the result and the reason is an object on stderr."""
    run = llm("translate", "--to", "fr", "--json", stdin=b"one\n", answer=lambda _: "x" * 900)
    assert json.loads(run.out)["warnings"]
    assert [json.loads(line)["error"]["type"] for line in run.err.splitlines()] == ["LeftUndone"]


def test_the_number_of_unchanged_segments_is_consistent(llm, tmp_path):
    """Standard error, the warnings, --json, the report and the line for people have the same numbers."""
    argv = ["translate", "--to", "fr", "--no-tm", "--report", str(tmp_path / "report.json")]
    text = "".join(f"text {letter}\n\n" for letter in "abcdefghijkl").encode()

    def answer(request):
        return "bon" if last_message(request).strip().endswith("text g") else ""

    run = llm(*argv, "-v", stdin=text, answer=answer)
    assert run.code == 3 and run.err.count("left untranslated: ") == 11
    assert "llm: 11 of 12 segments were left untranslated\n" in run.err
    assert "12 segments, 11 left untranslated\n" in run.err
    (document,) = json.loads((tmp_path / "report.json").read_text())["documents"]
    statuses = [segment["status"] for segment in document["segments"]]
    assert (document["untranslated"], statuses.count("untranslated"), len(statuses)) == (11, 11, 12)
    run = llm(*argv, "--json", stdin=text, answer=answer)
    found = json.loads(run.out)
    assert (found["untranslated"], found["segments"], len(found["warnings"])) == (11, 12, 11)
    assert json.loads(run.err)["error"]["message"] == "11 of 12 segments were left untranslated"


def test_each_of_several_documents_reports_its_unchanged_segments(llm, tmp_path):
    """With several inputs the reason for 3 names the document."""
    for name in ("a", "b"):
        (tmp_path / f"{name}.txt").write_text("one two\n")
    names = [str(tmp_path / "a.txt"), str(tmp_path / "b.txt")]
    run = llm("translate", "--to", "fr", "--no-tm", "-q", "-o", str(tmp_path / "fr"), *names, answer=lambda _: "")
    assert run.code == 3
    assert run.err.splitlines()[0] == f"llm: {names[0]}: 1 of 1 segment was left untranslated"
    assert run.err.splitlines()[2] == f"llm: the same of {names[1]}"


def test_a_translation_that_a_limit_cuts_is_reported(llm):
    """Also without a terminal, with the next step; nothing of it is stored, so a run without the limit is complete."""
    argv = ["translate", "--to", "fr"]
    run = llm(*argv, "--max-tokens", "1", stdin=b"one two\n", answer=lambda _: "un deux")
    assert (run.code, run.out) == (3, "one two\n")
    happened, advice = run.err.splitlines()[-2:]
    assert happened == "llm: 1 of 1 segment was left untranslated" and "--max-tokens" in advice
    run = llm(*argv, stdin=b"one two\n", answer=lambda _: "un deux")
    assert (run.code, run.out) == (0, "un deux\n")


def test_a_summary_reports_missing_parts(llm, tmp_path):
    """Without a terminal and with --json: the missing lines are in the error, the warnings and a field."""
    file = tmp_path / "report.md"
    file.write_text("".join(f"Line {number}. {'filler ' * 20}\n\n" for number in range(40)))

    def answer(request):
        return "" if "part 2 of" in last_message(request) else "short"

    run = llm("summarize", str(file), answer=answer, context=400)
    assert (run.code, run.out) == (3, "short\n")
    happened = run.err.splitlines()[-2]
    found = re.fullmatch(
        rf"llm: lines (\d+) to (\d+) of {file} \(part 2 of (\d+)\) are missing from the summary", happened
    )
    assert found, run.err
    assert run.err.splitlines()[-1].startswith("Try a larger model")
    run = llm("summarize", "--json", str(file), answer=answer, context=400)
    (missing,) = json.loads(run.out)["missing"]
    first, last_line, parts = map(int, found.groups())
    assert missing == {
        "first_line": first, "last_line": last_line, "part": 2, "parts": parts, "stage": 0, "reason": "empty",
    }  # fmt: skip
    assert len(json.loads(run.out)["warnings"]) == 1
    assert json.loads(run.err)["error"]["type"] == "PartsMissing"


@pytest.mark.parametrize("argv", [["ask", "Q"], ["generate", "poem", "--no-stdin", "--var", "topic=rain"], ["chat"]])
def test_an_empty_answer_is_a_failure(llm, argv, tmp_path):
    """Nothing was delivered: 1, in one line with a next step; a file of -o does not change."""
    (tmp_path / "out").write_text("before")
    output = [] if argv[0] == "chat" else ["-o", str(tmp_path / "out")]
    run = llm(*argv, *output, stdin=b"hello\n", answer=lambda _: " \n")
    assert (run.code, run.out, len(run.backend.requests)) == (1, "", 2)
    happened, advice = run.err.splitlines()
    assert happened.endswith("the model gave an empty answer") and advice
    assert (tmp_path / "out").read_text() == "before"


def test_one_empty_summary_of_several_is_partial(llm, tmp_path):
    """Something was delivered and something failed: 3."""
    for name in ("one", "two"):
        (tmp_path / name).write_text(f"Text {name}.")
    names = [str(tmp_path / "one"), str(tmp_path / "two")]
    run = llm("summarize", *names, answer=lambda r: "" if "Text one" in last_message(r) else "S2")
    assert (run.code, run.out) == (3, f"==> {names[1]} <==\nS2\n")
    assert f"{names[0]}: the model gave an empty answer" in run.err


def test_records_of_several_files_name_their_file(llm, tmp_path):
    """With several files each record names its file, with the exact name."""
    names = [str(tmp_path / "a\nb.txt"), str(tmp_path / "c.txt")]
    for name in names:
        Path(name).write_text("fine\n")
    run = llm("sentiment", "--json", *names, answer=lambda _: {"positive": 0.0, "neutral": -1.0, "negative": -2.0})
    assert [json.loads(line)["file"] for line in run.out.splitlines()] == names


# ---- variables of generate ----------------------------------------------------------------------------------------


def test_a_variable_is_read_from_a_file(llm, tmp_path):
    """@FILE is the text of a file without trailing newlines, @- that of standard input, @@ a literal @."""
    (tmp_path / "notes").write_text("From a file, at {{ length }}.\n\n")
    at = f"@{tmp_path / 'notes'}"
    run = llm("generate", "email", "--var", "topic=@@home @ noon", "--var", f"text={at}", answer=all_messages)
    assert run.code == 0 and "about: @home @ noon\n" in run.out and '"""\nFrom a file, at {{ length }}.\n"""' in run.out
    run = llm("generate", "email", "--var", "topic=@-", stdin=b"piped\n", answer=all_messages)
    assert "about: piped\n" in run.out and '"""' not in run.out


@pytest.mark.parametrize("text", ["", "\n"])
@pytest.mark.parametrize(
    "argv",
    [
        ("translate", "--to", "de", "--style"),
        ("translate", "--to", "de", "--context"),
        ("ask", "hello", "--system"),
        ("classify", "--labels", "a,b", "--template"),
    ],
)
def test_a_file_of_an_option_that_is_empty_is_refused(llm, write, argv, text):
    """The option would do nothing; a file that is missing is no other error than an empty one."""
    empty = write("empty.txt", text)
    run = llm(*argv, f"@{empty}", stdin=b"Good day.")
    assert (run.code, run.out, run.backend) == (65, "", None) and run.err == f"llm: {empty} is empty\n"
    run = llm(*argv, "@nowhere.txt", stdin=b"Good day.")
    assert (run.code, run.out, run.backend) == (66, "", None) and "cannot read nowhere.txt" in run.err
    run = llm(*argv, "@", stdin=b"Good day.")
    assert (run.code, run.out, run.backend) == (2, "", None) and f"{argv[-1]} @ names no file" in run.err


@pytest.mark.parametrize(
    ("value", "code", "said"),
    [
        ("@", 2, "names no file"),
        ("@none", 66, "@@"),
        ("@.", 65, "is a directory"),
        ("@binary", 65, "is not text"),
        ("@latin", 65, "is not UTF-8 (byte 1)"),
        ("@latin", 65, "iconv -f LATIN1 -t UTF-8 latin\n"),
    ],
)
def test_a_file_of_a_variable_that_cannot_be_read(llm, tmp_path, value, code, said):
    """With the same errors as for other files, and no model is asked."""
    (tmp_path / "binary").write_bytes(b"\0")
    (tmp_path / "latin").write_bytes(b"a\xe9")
    with contextlib.chdir(tmp_path):
        run = llm("generate", "email", "--var", f"topic={value}")
    assert run.code == code and said in run.err and run.backend is None


@pytest.mark.parametrize(
    ("data", "encoding"), [(b"a\xe9", "LATIN1"), ("é".encode("utf-16"), "UTF-16")], ids=["latin", "utf-16"]
)
def test_the_conversion_of_standard_input_is_a_pipe(llm, data, encoding):
    """Without a file, iconv would wait for what is typed."""
    assert f"... | iconv -f {encoding} -t UTF-8 | llm ..." in llm("summarize", stdin=data).err


def test_standard_input_is_read_for_one_variable_only(llm):
    """Two variables cannot both get it."""
    run = llm("generate", "email", "--var", "topic=@-", "--var", "text=@-", stdin=b"x")
    assert run.code == 2 and "only once" in run.err


DRY_RUNS = (
    ("ask", "Why?", "-f", "a.txt"),
    ("check", "a.txt", "--against", "a.txt"),
    ("extract", "--schema", "name", "a.txt"),
    ("generate", "report", "Ships"),
    ("summarize", "a.txt"),
    ("translate", "--to", "fr", "--no-tm", "a.txt"),
)


@pytest.mark.parametrize("argv", DRY_RUNS, ids=lambda argv: argv[0])
def test_a_dry_run_checks_its_output_and_leaves_it_alone(llm, tmp_path, monkeypatch, argv):
    """What it says goes to standard output, and it fails where the command would, before a model is asked."""
    monkeypatch.chdir(tmp_path)
    Path("a.txt").write_text("Ships sail to the island.\n")
    Path("old.md").write_text("old")
    Path("dir.md").mkdir()
    plain = llm(*argv, "--dry-run")
    assert plain.code == 0 and plain.out
    for name in ("old.md", "new.md", "/dev/null"):
        run = llm(*argv, "--dry-run", "-o", name)
        assert (run.code, run.err) == (0, "") and run.out.split("\t")[:4] == plain.out.split("\t")[:4]
    assert Path("old.md").read_text() == "old" and not Path("new.md").exists() and {*tmp_path.glob(".*")} == set()
    for name in ("nowhere/a.md", "a.txt/b.md"):
        dry, real = (llm(*argv, *more, "-o", name, answer=lambda _: "Text.") for more in (["--dry-run"], []))
        assert (dry.code, dry.out, dry.backend) == (73, "", None) and dry.err == real.err
    assert argv[0] == "translate" or llm(*argv, "--dry-run", "-o", "dir.md").code == 73
    beside = {"translate": "--report", "extract": "--html"}.get(argv[0])
    assert beside is None or llm(*argv, "--dry-run", beside, "nowhere/a.html").code == 73
