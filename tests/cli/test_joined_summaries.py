"""``llm summarize --combine``, ``--update`` and ``--dry-run``."""

from __future__ import annotations

import json
import os
import re
import struct
import zlib
from pathlib import Path

import pytest
from llm_fixtures import write
from scripted import all_messages, last_message

from llmcli.cli.input import document_inputs
from llmcli.documents.reading import file_reader, streamed_file
from llmcli.engine.llama.threads import SystemLoad
from llmcli.tasks.summarize import joined_documents

__all__ = ["write"]

LOG = "".join(f"Day {day}: the pump ran for {day + 3} hours. It was oiled.\n\n" for day in range(1, 40))


def gist(request):
    """Repeat which days the text names."""
    days = [word.rstrip(":") for word in all_messages(request).split() if word[:-1].isdigit() and word.endswith(":")]
    return f"Days {' '.join(days) or 'of before'}." if not request.grammar else ""


def test_several_documents_become_one_summary(llm, write):
    """One call if they fit; each is below its name; without the option there is one summary of each."""
    files = [write("a.txt", "Day 1: rain.\n"), write("b.txt", "Day 2: sun.\n")]
    run = llm("summarize", "--combine", *files, answer=gist)
    assert (run.code, run.out, run.err) == (0, "Days 1 2.\n", "")
    (request,) = run.backend.requests
    assert f"# {files[0]}\n\nDay 1: rain.\n\n# {files[1]}\n\nDay 2: sun." in all_messages(request)
    assert llm("summarize", *files, answer=gist).out.count("==> ") == 2
    found = json.loads(llm("summarize", "--combine", "--json", *files, answer=gist).out)
    assert (found["documents"], found["coverage"], found["text"]) == (files, 1.0, "Days 1 2.")


def test_what_cannot_be_read_leaves_one_summary(llm, write):
    """Of the others, with exit code 3; if nothing can be read, the code is that of the first failure."""
    files = [write("a.txt", "Day 1: rain.\n"), write("blank.txt", "\n"), write("bad.pdf", "no PDF")]
    run = llm("summarize", "--combine", *files, answer=gist)
    assert (run.code, run.out) == (3, "Days 1.\n") and "blank.txt" in run.err and "bad.pdf" in run.err
    assert llm("summarize", "--combine", *files[1:], answer=gist).code == 65


def test_a_missing_part_names_its_file(llm, write):
    """With the lines in that file."""
    files = [write(name, LOG) for name in ("a.txt", "b.txt")]

    def answer(request):
        return "" if "Day 39" in all_messages(request) else "Days."

    run = llm("summarize", "--combine", "--json", *files, answer=answer, context=400, env={"LLMCLI_CTX": "400"})
    found = json.loads(run.out)
    assert run.code == 3 and 0 < found["coverage"] < 1
    assert {each["file"] for each in found["missing"]} == set(files)
    assert all(each["last_line"] <= 78 for each in found["missing"])


def vector(request):
    """Return a hidden state that depends on the text."""
    text = last_message(request)
    return struct.pack("<4f", *(zlib.crc32(text.encode()) >> each & 255 for each in (0, 8, 16, 24)))


def test_key_sentences_of_several_documents_are_read_one_at_a_time(llm, write, monkeypatch):
    """The sentences, their lines and pages are those of documents in memory; large texts are read in blocks."""
    texts = ["Day 1: rain.\n\nThe pump ran.", LOG, "On Sunday nobody came.\r\nThe pump stood still.\r", LOG.upper()]
    files = [write(f"{name}.txt", text) for name, text in zip("dbca", texts, strict=True)]
    options = {"answer": vector, "parameters": 10**8}

    def run():
        called = llm("summarize", "--combine", "--json", "--words", "60", *files, **options)
        found = json.loads(called.out)
        return called.code, found["documents"], found["sentences"]

    whole = run()
    assert whole[:2] == (0, files) and len({each["source"] for each in whole[2]}) > 1
    for each in whole[2]:
        text = texts[files.index(each["source"])]
        assert text[each["start"] : each["end"]] == each["text"]
        assert each["first_line"] == len(re.split(r"\r\n|\r|\n", text[: each["start"]]))
    monkeypatch.setattr(document_inputs, "MAX_KEPT_CHARACTERS", 10)
    assert run() == whole
    monkeypatch.setattr(file_reader, "MIN_LARGE_BYTES", 1000)
    monkeypatch.setattr(streamed_file, "BLOCK_CHARS", 300)
    assert run() == whole
    dry = llm("summarize", "--combine", "--dry-run", "--style", "key-sentences", *files, **options)
    assert "key-sentences\t160\t160" in dry.out


def test_texts_that_are_too_large_together_are_refused(llm, write, monkeypatch):
    """A written summary needs them in memory: one line, and 65."""
    monkeypatch.setattr(joined_documents, "MAX_TEXT_BYTES", 2 * len(LOG))
    files = [write(f"{name}.txt", LOG) for name in "ab"]
    run = llm("summarize", "--combine", "--style", "paragraph", *files, answer=gist)
    assert (run.code, run.out) == (65, "") and "b.txt: it is larger than" in run.err


def test_an_update_reads_only_what_is_new(llm, write):
    """From a result of --json; the new result can be updated again, and replaces the earlier one."""
    log, state = write("service.log", LOG), write("state.json", "")
    first = llm("summarize", "--json", log, answer=gist)
    write("state.json", first.out)
    write("service.log", LOG + "Day 40: the pump broke.\n\n")
    run = llm("summarize", "--json", log, "--update", state, "-o", state, answer=gist)
    assert (run.code, run.out, run.err) == (0, "", "")
    sent = all_messages(run.backend.requests[0])
    assert "Day 40" in sent and "Day 39:" not in sent and json.loads(first.out)["text"] in sent
    found = json.loads(Path(state).read_text())
    assert found["source"]["characters"] == len(LOG) + 25 and found["prompt"] == "summarize.update"
    again = llm("summarize", log, "--update", state, answer=gist)
    assert (again.code, again.out, again.backend.requests) == (0, found["text"] + "\n", [])


def test_a_text_is_an_earlier_summary_too(llm, write):
    """Then the whole document is new."""
    run = llm(
        "summarize", write("new.txt", "Day 40: it broke.\n"), "--update", write("old.txt", "All was well."), answer=gist
    )
    sent = all_messages(run.backend.requests[0])
    assert run.code == 0 and "All was well." in sent and "Day 40" in sent


def test_an_updated_summary_keeps_sentences_of_the_earlier_one(llm, write):
    """They are no words of the request."""
    old = "- The pump ran well all through the year."
    files = write("new.txt", "Day 40: it broke.\n"), "--update", write("old.txt", f"{old}\n")
    run = llm("summarize", "--style", "bullets", *files, answer=lambda _: f"{old}\n- It broke on day 40.")
    assert (run.code, run.out, len(run.backend.requests)) == (0, f"{old}\n- It broke on day 40.\n", 1)


def test_much_that_is_new_is_summarized_in_parts(llm, write):
    """Until it fits beside the earlier summary."""
    old = write("old.txt", "All was well. " * 8)
    run = llm("summarize", write("new.txt", LOG), "--update", old, answer=gist, context=400, env={"LLMCLI_CTX": "400"})
    assert run.code == 0 and len(run.backend.requests) > 2
    assert "All was well." in last_message(run.backend.requests[-1])
    assert all("All was well." not in last_message(each) for each in run.backend.requests[:-1])


def test_a_changed_beginning_is_read_again(llm, write):
    """With a warning, since the earlier summary is of another text."""
    log = write("service.log", LOG)
    state = write("state.json", llm("summarize", "--json", log, answer=gist).out)
    run = llm("summarize", "--json", write("service.log", "Day 50: new.\n"), "--update", state, answer=gist)
    (warning,) = json.loads(run.out)["warnings"]
    assert "does not begin with the text" in warning and json.loads(run.out)["text"] == "Days 50."


def test_key_sentences_are_updated(llm, write):
    """The sentences of the earlier summary compete with the new ones; nothing is written."""
    options = {"answer": lambda _: b"\0\0\x80?" * 4, "parameters": 10**8}
    old, new = write("old.txt", "The pump ran well all year."), write("new.txt", "On Monday the pump broke down.\n")
    run = llm("summarize", new, "--update", old, "--json", **options)
    found = json.loads(run.out)
    assert found["method"] == "key-sentences"
    assert {each["source"] for each in found["sentences"]} == {old, new}
    assert all(each["first_line"] == 1 for each in found["sentences"])


@pytest.mark.parametrize(
    "argv",
    [
        ["--combine", "--update", "a.txt"],
        ["--combine", "--cite"],
        ["--update", "a.txt", "--cite"],
        ["--combine", "--update", "a.txt", "--column", "x"],
        ["--dry-run", "--column", "x"],
        ["--combine", "--column", "x", "--resume"],
        ["--combine", "--column", "x", "--shard", "1/2"],
        ["--combine", "--column", "x", "--on-error", "skip"],
        ["--update", "a.txt", "a.txt", "b.txt"],
    ],
)
def test_options_that_exclude_each_other(llm, write, argv):
    """Are refused before a model is looked for."""
    files = [write("a.txt", "A text."), write("b.txt", "A text.")]
    named = [{"a.txt": files[0], "b.txt": files[1]}.get(each, each) for each in argv]
    run = llm("summarize", *named, files[0])
    assert (run.code, run.out, run.backend) == (2, "", None)


@pytest.mark.parametrize(
    "text", ["", '{"text": 1}', '{"text": "a"} {"text": "b"}', '{"text": "a", "source": {"characters": "x"}}']
)
def test_an_unusable_summary_is_refused(llm, write, text):
    """65, with the file."""
    run = llm("summarize", write("a.txt", "A text."), "--update", write("old.json", text))
    assert (run.code, run.out) == (65, "") and "old.json" in run.err


def test_a_dry_run_runs_nothing(llm, write):
    """It shows parts, calls, tokens and time of each document; a bad one is an error of its own."""
    files = [write("short.txt", "Day 1: rain.\n"), write("long.txt", LOG), write("blank.txt", "\n")]
    run = llm("summarize", "--dry-run", *files, context=400, env={"LLMCLI_CTX": "400"})
    rows = [line.split("\t") for line in run.out.splitlines()]
    assert run.code == 3 and "blank.txt" in run.err and run.backend.requests == [] and run.backend.jobs == 0
    assert [(row[0], row[1]) for row in rows] == [(files[0], "written"), (files[1], "written"), ("total", "")]
    assert rows[0][2:4] == ["1", "1"] and int(rows[1][2]) > 1 and int(rows[1][3]) > int(rows[1][2])
    real = llm("summarize", files[1], answer=lambda _: "word " * 10, context=400, env={"LLMCLI_CTX": "400"})
    first_stage = [each for each in real.backend.requests if each.id.split(".")[1] == "0"]
    assert len(first_stage) == int(rows[1][2])


def test_a_dry_run_counts_key_sentences(llm, write):
    """A call each, and the tokens of the text."""
    run = llm("summarize", "--dry-run", "--json", write("a.txt", "One two three. Four five six.\n"), parameters=10**8)
    found = json.loads(run.out)
    assert (found["method"], found["passages"], found["calls"], found["tokens"]) == ("key-sentences", 2, 2, 6)
    assert run.backend.requests == []


def test_a_dry_run_of_a_question(llm, write):
    """Whole, in passages, and with an error without documents."""
    file = write("long.txt", LOG)
    whole = json.loads(llm("ask", "Which pump?", "-f", file, "--dry-run", "--json").out)
    assert (whole["method"], whole["passages"], whole["calls"]) == ("whole", 1, 1)
    run = llm("ask", "Which pump?", "-f", file, "--dry-run", "--json", context=300, env={"LLMCLI_CTX": "300"})
    found = json.loads(run.out)
    assert (
        found["method"] == "retrieval" and found["passages"] > 1 and found["calls"] > 1 and run.backend.requests == []
    )
    assert llm("ask", "Which pump?", "--dry-run").code == 2


def test_the_time_of_a_dry_run(llm, write, monkeypatch):
    """A limit makes the answer shorter, but not earlier. Other processes that are busy make any answer later."""
    load = [0.0]
    monkeypatch.setattr(SystemLoad, "busy_cores", lambda self, *, rested: load[0])
    monkeypatch.setattr(os, "getloadavg", lambda: (load[0], 0.0, 0.0), raising=False)
    argv = ["ask", "Which pump?", "-f", write("long.txt", LOG), "--dry-run", "--json"]
    usual = json.loads(llm(*argv).out)
    limited = json.loads(llm(*argv, "--max-tokens", "10").out)
    assert usual["seconds"] > limited["seconds"]
    load[0] = 1000.0
    usual_then, limited_then = (json.loads(llm(*argv, *limit).out) for limit in ([], ["--max-tokens", "10"]))
    assert usual_then["seconds"] > 4 * usual["seconds"]
    assert limited_then["seconds"] > limited_then["before_answer"] == usual_then["before_answer"] > 0


def test_a_dry_run_of_a_check(llm, write):
    """The scores that it would take."""
    argv = ["check", write("answer.md", "The pump ran for 4 hours."), "--against", write("log.txt", LOG)]
    run = llm(*argv, "--dry-run", "--json")
    found = json.loads(run.out)
    assert found["method"] == "scores" and found["calls"] > 1 and found["tokens"] > 0 and run.backend.requests == []


_DAYS = [{"id": 1, "note": "Day 1: rain."}, {"id": 2, "note": ""}, {"id": 3, "note": "Day 3: sun."}]


def _write_days(path):
    if path.suffix == ".parquet":
        parquet = pytest.importorskip("pyarrow.parquet")
        import pyarrow as pa

        parquet.write_table(pa.Table.from_pylist(_DAYS), path)
    elif path.suffix == ".csv":
        path.write_text("id,note\n" + "".join(f"{each['id']},{each['note']}\n" for each in _DAYS))
    else:
        path.write_text("".join(json.dumps(each) + "\n" for each in _DAYS))
    return str(path)


@pytest.mark.parametrize("suffix", ["csv", "jsonl", "parquet"])
def test_texts_of_all_records_become_one_summary(llm, tmp_path, suffix):
    """Blank cells are left out and counted; the other columns are not sent."""
    path = _write_days(tmp_path / f"days.{suffix}")
    run = llm("summarize", "--combine", "--column", "note", "--json", path, answer=gist)
    found = json.loads(run.out)
    assert (run.code, found["text"], found["coverage"]) == (0, "Days 1 3.", 1.0)
    assert found["warnings"] == ["records without a text were left out: 1 of 3"]
    (request,) = run.backend.requests
    assert "Day 1: rain.\n\nDay 3: sun." in all_messages(request)
    assert len(found["documents"]) == 2


def test_records_of_several_files_and_a_limit(llm, write):
    """Are one summary, too; --limit counts the records of all files, and a sentence is located in its record."""
    files = [write("a.csv", "note\nDay 1: rain.\nDay 2: snow.\n"), write("b.csv", "note\nDay 3: sun.\nDay 4: fog.\n")]
    argv = ("summarize", "--combine", "--column", "note", "--limit", "3")
    assert llm(*argv, *files, answer=gist).out == "Days 1 2 3.\n"
    found = json.loads(llm(*argv, "--style", "key-sentences", "--json", *files, answer=vector).out)
    assert found["documents"] == [f"{files[0]}, line 2", f"{files[0]}, line 3", f"{files[1]}, line 2"]
    assert {each["source"] for each in found["sentences"]} <= set(found["documents"])


def test_a_malformed_record_leaves_the_summary_of_the_others(llm, write):
    """With exit code 3; without any text, the input is empty; an unknown column is named before a model is loaded."""
    broken = write("a.jsonl", '{"note": "Day 1: rain."}\n{"note": \n{"note": "Day 3: sun."}\n')
    run = llm("summarize", "--combine", "--column", "note", broken, answer=gist)
    assert (run.code, run.out) == (3, "Days 1 3.\n") and "line 2" in run.err
    empty = llm("summarize", "--combine", "--column", "note", write("b.csv", "id,note\n1,\n"), answer=gist)
    assert (empty.code, empty.out, empty.backend) == (65, "", None) and "No record has a text." in empty.err
    unknown = llm("summarize", "--combine", "--column", "other", write("c.csv", "id,note\n1,x\n"), answer=gist)
    assert (unknown.code, unknown.out, unknown.backend) == (2, "", None)


def test_the_work_for_all_records_is_shown(llm, tmp_path):
    """--dry-run runs no model."""
    path = _write_days(tmp_path / "days.csv")
    run = llm("summarize", "--combine", "--column", "note", "--dry-run", path, answer=gist)
    assert run.code == 0 and "line 2, line 4" in run.out and not run.backend.requests
