"""``llm check`` and ``llm summarize --cite`` from the command line."""

from __future__ import annotations

import json
import tempfile

import pytest
from llm_fixtures import write
from scripted import all_messages

from llmcli.cli.commands.check.check_run import annotate_text
from llmcli.documents.reading.document import Document
from llmcli.types import Result

__all__ = ["write"]

SOURCE = "The town has 1,200 inhabitants.\n\nIts library opened in 1950 and is closed on Mondays.\n"
TRUE, FALSE = "The library opened in 1950.", "The library opened in 1962."


def agree(request):
    """Answer Yes to what has no wrong year; summarize and quote."""
    said = all_messages(request)
    if request.candidates:
        yes = "N/A" not in said and "1962" not in said
        return {"Yes": -0.1 if yes else -2.3, "No": -2.3 if yes else -0.1}
    return "Its library opened in 1950 and is closed on Mondays." if request.grammar else f"- {TRUE}\n- {FALSE}\n"


@pytest.fixture
def source(write):
    return write("source.txt", SOURCE)


@pytest.fixture
def check(llm, source):
    """Run ``llm check`` against the source, with the text in standard input."""
    return lambda text, *argv, **how: llm("check", *argv, "--against", source, stdin=text.encode(), answer=agree, **how)


@pytest.mark.parametrize(
    "claim",
    ["图书馆于一九六二年开放。", "図書館は一九六二年に開館した。", "ห้องสมุดเปิดในปีหนึ่งเก้าหกสอง"],
    ids=["zh", "ja", "th"],
)
def test_a_sentence_without_blanks_between_its_words_is_checked(check, claim):
    """A wrong claim in Chinese, Japanese or Thai does not pass unread beside a true one in English."""
    run = check(f"{TRUE}\n\n{claim}\n")
    assert run.code == 1 and f"unsupported 0.00: {claim}" in run.out


def test_the_exit_code_tells_whether_all_sentences_are_supported(check, source):
    """0 if they are, 1 if one is not; a line for each sentence, with its line, support and quote."""
    good = check(f"# Town\n\n{TRUE}\n")
    assert (good.code, good.err) == (0, "")
    assert good.out.startswith("stdin:3: supported 0.") and f'\t{source}, line 3: "Its library' in good.out
    bad = check(f"{TRUE} {FALSE}")
    assert (bad.code, bad.err) == (1, "")
    assert "stdin:1: unsupported 0." in bad.out.splitlines()[1]


def test_the_threshold_is_that_of_the_user(check):
    """0 lets everything pass."""
    assert check(FALSE, "--threshold", "0").code == 0
    assert check(TRUE, "--threshold", "1").code == 1


def test_json_has_the_sentences_with_quotes(check, source):
    """One object."""
    found = json.loads(check(f"{TRUE} {FALSE}", "--json").out)
    assert (found["passed"], found["threshold"], len(found["sentences"])) == (False, 0.5, 2)
    assert found["sentences"][0]["quote"]["source"] == source
    assert found["sentences"][0]["support"] == "supported" and "text" not in found


def test_several_sources_may_follow(llm, write, source):
    """``--against A B`` and ``--against A --against B`` are the same; the text is a file."""
    text, other = (
        write("answer.md", "Zebras gallop. Zebras gallop very quickly here."),
        write("b.txt", "Zebras gallop here."),
    )
    for argv in ((source, other), (source, "--against", other)):
        run = llm("check", text, "--against", *argv, answer=agree)
        assert other in run.out


def test_wrong_input_is_refused(llm, source, tmp_path):
    """A missing file, no source, an empty text, standard input twice."""
    assert llm("check", "-", "--against", str(tmp_path / "none.txt"), stdin=b"It is so.").code == 66
    assert llm("check", source).code == 2
    assert llm("check", "-", "--against", source, stdin=b"# Title\n").code == 65
    assert llm("check", "-", "--against", "-", stdin=b"It is so.").code == 2


def test_a_terminal_shows_the_text_with_its_weak_sentences_marked():
    """The marks are explained below it, with the nearest sentence of the sources."""
    text = f"# Town\n\n{TRUE} {FALSE}\n"
    quote = {"source": "a.pdf", "page": 2, "first_line": 3, "last_line": 3, "text": "Its library\nopened."}
    sentences = [
        {"text": TRUE, "start": 8, "probability": 0.9, "support": "supported", "quote": quote},
        {"text": FALSE, "start": text.index(FALSE), "probability": 0.1, "support": "unsupported", "quote": quote},
    ]
    shown = annotate_text(Document("a.md", text), Result(0, "a.md", None, {"threshold": 0.5, "sentences": sentences}))
    assert f"{TRUE} **[?1]** {FALSE}" in shown and "Supported: 1 of 2 sentences (threshold 0.5)." in shown
    assert '- **?1** unsupported 0.10. a.pdf, p. 2: "Its library opened."' in shown


def test_cite_prints_points_with_quotes(llm, source):
    """Markdown in a pipe; the point that is not supported is left out, which the last line says."""
    run = llm("summarize", "--cite", source, answer=agree)
    assert run.code == 0 and "- The library opened in 1950.\n  > Its library opened" in run.out
    assert run.out.endswith("*1 of 2 points left out: the document does not support them.*\n")
    kept = json.loads(llm("summarize", "--cite", "--keep-unsupported", "--json", source, answer=agree).out)
    assert [point["text"] for point in kept["points"]] == [TRUE, FALSE]
    assert all(SOURCE[p["quote"]["start"] : p["quote"]["end"]] == p["quote"]["text"] for p in kept["points"])


@pytest.mark.parametrize(
    "argv", [["--keep-unsupported"], ["--cite", "--style", "headline"], ["--cite", "--column", "text"]]
)
def test_options_that_do_not_go_together_are_refused(llm, source, argv):
    """With a sentence on standard error."""
    run = llm("summarize", *argv, source)
    assert run.code == 2 and run.err.startswith("llm: ")


def test_check_on_a_terminal_marks_weak_sentences(llm, source, terminal):
    """The text with a mark before what has no support, then how many are supported, then the nearest sentence."""
    screen = terminal(columns=200)
    run = llm("check", "--against", source, stdin=f"{TRUE} {FALSE}\n".encode(), answer=agree, out=screen.slave)
    shown = screen.close()
    assert run.code == 1
    assert f"{TRUE} [?1] {FALSE}" in shown and "Supported: 1 of 2 sentences (threshold 0.5)" in shown
    assert "Its library opened in 1950" in shown and "\x1b" not in shown


def test_check_through_a_worker(process, write, source, monkeypatch):
    """A worker scores, and the second check finds it warm; random weights leave what is compared by rule."""
    answer = write("answer.md", TRUE)
    with tempfile.TemporaryDirectory(prefix="llm", dir="/tmp") as runtime:  # a path short enough for sockets
        env = {"LLMCLI_WORKER": "on", "LLMCLI_RUNTIME_DIR": runtime}
        argv = ("check", answer, "--against", source, "--threshold", "0", "--json")
        results = [json.loads(process(*argv, env=env).communicate()[0]) for _ in range(2)]
        assert process("worker", "stop", env=env).wait() == 0
    for found in results:
        assert found["sentences"][0]["quote"]["text"].startswith("Its library opened in 1950")
    assert results[0]["usage"]["prompt_tokens"] > 0
    assert results[1]["usage"]["cached_tokens"] > results[0]["usage"]["cached_tokens"]


def test_an_empty_source_is_refused(check, llm, write, tmp_path):
    """Every sentence would be unsupported; in a directory, an empty file is no source."""
    empty = write("empty.txt", "\n")
    run = check(TRUE, "--against", empty)
    assert (run.code, run.out, run.backend) == (65, "", None) and f"{empty} is empty" in run.err
    directory = tmp_path / "docs"
    directory.mkdir()
    (directory / "empty.txt").write_text("\n")
    run = llm("check", "--against", str(directory), stdin=TRUE.encode(), answer=agree)
    assert (run.code, run.out) == (65, "") and "empty.txt is empty" in run.err
    (directory / "town.txt").write_text(SOURCE)
    run = llm("check", "--against", str(directory), stdin=TRUE.encode(), answer=agree)
    assert (run.code, run.err) == (0, "")
