"""``llm logs``: answers of ask and generate that are kept, found, exported, removed and repeated."""

from __future__ import annotations

import json
import os
import shlex
import sqlite3
import stat
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import pytest
from fake_server import encode_chunk, send_events
from long_text_answers import LongTextModel
from scripted import all_messages

from llmcli.store import database
from llmcli.store.answer_log import AnswerLog, LoggedAnswer

ON = {"LLMCLI_LOGS": "on"}


def log_file():
    """Return the path of the log."""
    return Path(os.environ["LLMCLI_DATA_DIR"]) / "logs.db"


@pytest.fixture
def ask(llm):
    """Run ``llm ask`` with logs on; the answer repeats the question in capitals."""

    def run(*argv, **how):
        how = {"answer": lambda request: request.messages[-1].content.upper(), **how}
        return llm("ask", *argv, "--no-stdin", env={**ON, **how.pop("env", {})}, **how)

    return run


def entries(llm):
    """Return all kept answers, the newest first."""
    return [json.loads(line) for line in llm("logs", "export").out.splitlines()]


def test_nothing_is_kept_by_default(llm):
    """No file is created, and the list says how to switch it on."""
    assert llm("ask", "hi").code == 0 and not log_file().exists()
    run = llm("logs", "list", "-v")
    assert (run.code, run.out) == (0, "") and "llm config set logs on" in run.err


def test_an_answer_is_kept_with_all_that_repeats_it(llm, ask, tiny):
    """In a file for its owner only."""
    run = ask("-s", "Be brief.", "name", "a", "colour", "--max-tokens", "7")
    assert (run.code, run.out, run.err) == (0, "NAME A COLOUR\n", "")
    assert stat.S_IMODE(log_file().stat().st_mode) == 0o600
    (entry,) = entries(llm)
    assert (entry["command"], entry["question"], entry["answer"]) == ("ask", "name a colour", "NAME A COLOUR")
    assert entry["system"].endswith("Be brief.") and entry["prompt"] == "ask" and entry["weights"] == "original"
    assert entry["usage"]["completion_tokens"] == 3 and entry["run"]["model"] == str(tiny("llama"))
    assert entry["request"]["max_tokens"] == 7 and entry["request"]["sampling"]["seed"] is not None


def test_every_way_of_asking_is_kept(llm, ask, write):
    """Documents, sessions, code blocks (the whole answer), generate; not the records of a table."""
    ask("-f", write("a.txt", "alpha"), "what?")
    ask("--session", "a", "one")
    ask("-x", "hi", answer=lambda _: "x\n```\nls\n```")
    llm("generate", "poem", "--var", "topic=rain", "--no-stdin", env=ON, answer=lambda _: "drip")
    ask("-f", write("a.csv", "text\nalpha\n"), "--column", "text", "what?")
    assert [(each["command"], each["answer"][:4]) for each in entries(llm)][:3] == [
        ("generate", "drip"),
        ("ask", "x\n``"),
        ("ask", "ONE"),
    ]
    assert len(entries(llm)) == 4


def test_a_long_text_is_one_entry(llm, write):
    """With what the user asked for, the whole text and its problems; its command repeats it, not one of its requests."""
    outline = write("outline.md", "# Pumps\n\n## Walls (20 words)\n\n## Roofs (20 words)\n")
    argv = ["generate", "report", "--outline", outline, "--no-stdin"]
    model = LongTextModel()
    assert llm(*argv, answer=model, context=8192).code == 0 and not log_file().exists()
    run = llm(*argv, answer=model, context=8192, env=ON)
    assert run.code == 0 and len(run.backend.requests) == 2
    (entry,) = entries(llm)
    assert (entry["command"], entry["question"]) == ("generate", "report of 40 words: Pumps")
    assert entry["answer"] == run.out
    assert entry["usage"]["completion_tokens"] > 20 and entry["fields"]["sections"][1]["title"] == "Roofs"
    assert "## User\n\nreport of 40 words: Pumps" in llm("logs", "show").out
    again = llm("logs", "repeat")
    assert again.code == 2 and again.err.rstrip().endswith(shlex.join(["llm", *argv]))


def test_an_outline_and_a_revised_section_are_kept(llm, write):
    """They are single answers, which can be repeated."""
    model = LongTextModel()
    llm("generate", "report", "Pumps", "--outline-only", "--no-stdin", answer=model, env=ON)
    path = write("report.md", "# Pumps\n\n## Walls\n\nOld.\n")
    llm("generate", "report", "-o", path, "--revise", "Walls", "Newer", answer=lambda _: "New.", env=ON)
    revised, outline = entries(llm)
    assert outline["answer"].startswith("# Pumps\n") and "Write the outline" in outline["question"]
    assert revised["answer"] == "# Pumps\n\n## Walls\n\nNew.\n" and "Newer" in revised["question"]
    assert llm("logs", "repeat", answer=lambda _: "Newest.").out == "Newest.\n"


def test_repeat_sends_the_same_request(llm, ask, write):
    """Also after its files have changed; options of the command line replace its own."""
    file = write("a.txt", "alpha")
    first = ask("-f", file, "what?", "--temperature", "0.5").backend.requests[-1]
    Path(file).unlink()
    run = llm("logs", "repeat", "1", answer=lambda _: "again", env={"LLMCLI_MODEL": None})
    (request,) = run.backend.requests
    assert (run.code, run.out, run.err) == (0, "again\n", "")
    assert (request.messages, request.max_tokens) == (first.messages, first.max_tokens)
    assert request.sampling == first.sampling and request.sampling.temperature == 0.5
    changed = llm("logs", "repeat", "--seed", "3", "--temperature", "0", "--max-tokens", "5").backend.requests[0]
    assert (changed.sampling.seed, changed.sampling.temperature, changed.max_tokens) == (3, 0, 5)


def test_repeat_of_a_schema_and_of_another_model(llm, ask, tiny):
    """The form of the answer is part of the request; another model is named."""
    ask("hi")
    run = llm("logs", "repeat", "-m", str(tiny("chatml")), "-v", answer=lambda _: "x")
    assert run.code == 0
    (entry,) = entries(llm)
    assert entry["request"]["schema"] is None and "hi" in all_messages(run.backend.requests[0])


def test_a_log_that_cannot_be_written_is_a_warning(llm, ask, tmp_path):
    """The answer is complete, and the code is 0."""
    (tmp_path / "file").touch()
    run = ask("hi", env={"LLMCLI_DATA_DIR": str(tmp_path / "file")})
    assert (run.code, run.out, run.err.count("\n")) == (0, "HI\n", 1) and "this answer is not in the log" in run.err


def test_many_answers_at_once_are_all_kept(tmp_path):
    """A process waits until the others have written; it gave up after a second."""
    path, count = tmp_path / "logs.db", 40

    def write(number):
        with AnswerLog(path) as log:
            log.add(LoggedAnswer(time.time(), "ask", "tiny", f"question {number}", "answer"))

    with AnswerLog(path), ThreadPoolExecutor(count) as pool:  # the file exists, and somebody writes to it for a while
        with closing(sqlite3.connect(path, check_same_thread=False)) as slow:
            slow.execute("BEGIN IMMEDIATE")
            done = [pool.submit(write, number) for number in range(count)]
            time.sleep(1.2)
            slow.execute("ROLLBACK")
        for each in done:
            each.result()
    with AnswerLog(path, read_only=True) as log:
        assert {each.question for each in log.list()} == {f"question {number}" for number in range(count)}


def test_a_locked_log_is_a_warning(ask, monkeypatch):
    """The answer was shown, and the code is 0."""
    monkeypatch.setattr(database, "_BUSY_TIMEOUT_S", 0.0)
    ask("hi")
    with closing(sqlite3.connect(log_file())) as other:
        other.execute("BEGIN EXCLUSIVE")
        run = ask("ho")
    assert (run.code, run.out) == (0, "HO\n") and "another process" in run.err


def test_a_damaged_log_is_one_line(llm, ask):
    """With the code of what llm keeps, and the way on; another user's log with the code of permissions."""
    ask("hi")
    log_file().write_bytes(b"damaged" * 1000)
    run = llm("logs", "list")
    assert run.code == 78 and "or is damaged" in run.err and "Move it away" in run.err
    log_file().unlink()
    log_file().mkdir()
    assert llm("logs", "list").code == 77


def test_a_newer_log_stays_as_it_is(llm, ask):
    """Writing to it is a warning, reading an error."""
    ask("hi")
    with closing(sqlite3.connect(log_file())) as other:
        other.execute("PRAGMA user_version = 99")
    before = log_file().read_bytes()
    run = ask("ho")
    assert run.code == 0 and "a newer version of llm" in run.err
    assert llm("logs", "list").code == 78 and log_file().read_bytes() == before


def test_list_show_and_search(llm, ask):
    """The newest comes first; a search finds words of question and answer."""
    ask("the invoice of May")
    ask("the weather", answer=lambda _: "Rain.\nSun.")
    rows = [line.split("\t") for line in llm("logs", "list").out.splitlines()]
    assert [(row[0], row[2], row[5]) for row in rows] == [
        ("2", "ask", "the weather"),
        ("1", "ask", "the invoice of May"),
    ]
    assert llm("logs", "list", "--limit", "1").out.count("\n") == 1
    shown = llm("logs", "show").out
    assert shown.startswith("# ask 2\n") and "## User\n\nthe weather" in shown and "## Answer\n\nRain." in shown
    assert json.loads(llm("logs", "show", "1", "--json").out)["question"] == "the invoice of May"
    assert llm("logs", "search", "SUN", "weather").out.split("\t")[0] == "2"
    assert json.loads(llm("logs", "search", "invoice", "--json").out)["line"] == "the invoice of May"
    run = llm("logs", "search", "snow")
    assert (run.code, run.err) == (66, "llm: no kept answer contains snow\nList the kept answers: llm logs list\n")


def test_control_sequences_do_not_reach_a_terminal(llm, ask, terminal):
    """In any of the views."""
    ask("a\x1b]0;title\x07b", answer=lambda _: "\x1b[31mred\u202e")
    for argv in (["list"], ["show", "1"], ["search", "red"]):
        screen = terminal()
        assert llm("logs", *argv, out=screen.slave).code == 0
        screen.close()
        assert b"]0;" not in screen.raw and b"[31m" not in screen.raw and "\u202e".encode() not in screen.raw


def test_rm_removes_for_good(llm, ask):
    """By id, by age, or all; without a terminal only with --yes."""
    for number in range(4):
        ask(f"secret{number}")
    assert llm("logs", "rm", "1").code == 2 and len(entries(llm)) == 4
    assert json.loads(llm("logs", "rm", "--yes", "--json", "1", "2").out) == {"removed": [1, 2]}
    with closing(sqlite3.connect(log_file())) as database:
        database.execute("UPDATE answers SET time = time - 31 * 86400 WHERE id = 3")
        database.commit()
    assert llm("logs", "rm", "--yes", "--older-than", "30d").code == 0
    assert [each["id"] for each in entries(llm)] == [4]
    assert llm("logs", "rm", "--yes", "--all").code == 0 and entries(llm) == []
    assert b"secret" not in log_file().read_bytes().lower()


@pytest.mark.parametrize(
    ("argv", "code"),
    [
        (["rm", "--yes"], 2),
        (["rm", "--yes", "--all", "1"], 2),
        (["rm", "--yes", "--older-than", "3 days"], 2),
        (["rm", "--yes", "7"], 66),
        (["show"], 66),
        (["show", "7"], 66),
        (["repeat", "7"], 66),
        (["export", "7"], 66),
        (["search", " "], 2),
    ],
)
def test_what_makes_no_sense_is_refused(llm, argv, code):
    """With one clear line and a next step."""
    run = llm("logs", *argv)
    assert (run.code, run.out) == (code, "") and run.err.count("\n") == 2


def test_export_writes_a_file(llm, ask, tmp_path):
    """As JSON Lines."""
    ask("one")
    ask("two")
    assert llm("logs", "export", "1", "-o", str(tmp_path / "a.jsonl")).code == 0
    assert json.loads((tmp_path / "a.jsonl").read_text())["question"] == "one"


def test_tokens_that_a_server_does_not_report_are_unknown(llm, server):
    """In the list, in its JSON and in an entry; the export keeps that they are."""
    server.usual = send_events(encode_chunk({"content": "Fine."}, finish_reason="stop"), b"[DONE]")
    assert llm("ask", "hi", "--no-stdin", "--base-url", server.url, env=ON).out == "Fine.\n"
    (entry,) = entries(llm)
    assert entry["usage"]["is_known"] is False
    assert json.loads(llm("logs", "list", "--json").out)["tokens"] is None
    shown = llm("logs", "show", str(entry["id"])).out
    assert "tokens unknown" in shown and "0 out" not in shown
