"""``llm index`` and what ``llm ask`` does with an index, from the command line."""

import json
import os
import struct
from pathlib import Path

import pytest
from scripted import all_messages


@pytest.fixture
def docs(tmp_path, monkeypatch):
    """Create a directory of documents and work beside it."""
    directory = tmp_path / "docs"
    directory.mkdir()
    (directory / "lease.md").write_text("# Lease\n\n## Notice\n\nThe notice period is three months.\n")
    (directory / "rules.txt").write_text("No dogs.\n\nNo music after ten.\n")
    monkeypatch.chdir(tmp_path)
    return directory


def test_an_index_is_made_searched_listed_and_removed(llm, docs):
    """Quietly in a pipe, with objects for programs."""
    assert (llm("index", "add", "docs").out, llm("index", "add", "docs").err) == ("", "")
    made = json.loads(llm("index", "add", "--json", "docs").out)
    assert made["directory"] == str(docs) and (made["files"], made["passages"], made["unchanged"]) == (2, 3, 2)
    run = llm("index", "search", "notice period")
    assert run.out == f"{docs}/lease.md\t3-5\t## Notice The notice period is three months.\n" and run.backend is None
    found = json.loads(llm("index", "search", "--json", "--in", "docs", "dogs").out)
    assert (found["file"], found["first_line"], found["text"]) == (
        f"{docs}/rules.txt",
        1,
        "No dogs.\n\nNo music after ten.",
    )
    assert llm("index", "list").out.split("\t")[:4] == [str(docs), "2", "3", "0"]
    asked = llm("index", "rm", "docs")
    assert asked.code == 2 and "llm index rm --yes docs" in asked.err and llm("index", "list").out
    assert llm("index", "rm", "--yes", "docs").code == 0 and llm("index", "list").out == ""


def test_vectors_add_passages_that_words_do_not_find(llm, docs):
    """Behind those that words find, since the model that computes them was not chosen for vectors."""

    def states(request):
        return struct.pack(
            "<2f", *((1.0, 0.1) if "dogs" in request.prompt or "notice" in request.prompt else (0.1, 1.0))
        )

    (docs / "more.txt").write_text("The cellar is dry.\n")
    assert llm("index", "add", "--embed", "docs", answer=states).code == 0
    words = llm("index", "search", "notice period")
    both = llm("index", "search", "--embed", "notice period", answer=states)
    assert both.out.startswith(words.out) and both.out.count("\n") == 4 and words.out.count("\n") == 1
    assert "No dogs." in both.out.splitlines()[1]


def test_vectors_of_another_layer_are_not_compared(llm, docs):
    """As an earlier version made them: a search names the command that makes them again, which says what it does."""

    def states(_request):
        return struct.pack("<2f", 1.0, 0.5)

    assert llm("index", "add", "--embed", "docs", answer=states).code == 0
    search = ("index", "search", "--embed", "notice period")
    run = llm(*search, answer=states, layers=10)
    assert run.out == llm("index", "search", "notice period").out and run.err.count("\n") == 1
    assert "another layer" in run.err and "llm index add --embed" in run.err
    again = llm("index", "add", "--embed", "-v", "docs", answer=states, layers=10)
    assert "computed again" in again.err and {each.state_layers for each in again.backend.requests} == {(8,)}
    run = llm(*search, answer=states, layers=10)
    assert (run.err, run.out.count("\n")) == ("", 3)
    assert llm("index", "list").out.split("\t")[3] == "3"  # each passage has one vector
    assert "computed again" not in llm("index", "add", "--embed", "-v", "docs", answer=states, layers=10).err


@pytest.mark.parametrize(
    ("argv", "code", "said"),
    [
        (["search", "unicorn"], 66, "no indexed passage contains a word of unicorn"),
        (["search", ""], 65, "query"),
        (["search", "--in", ".", "dogs"], 66, "Create one: llm index add ."),
        (["rm", "elsewhere"], 66, "no index of"),
        (["add", "elsewhere"], 66, "cannot read elsewhere"),
        (["add", "https://a.example/x"], 66, "cannot read https://a.example/x\nThis command reads files"),
        (["add"], 2, "DIRECTORY"),
    ],
)
def test_mistakes(llm, docs, argv, code, said):
    """One line says what to do, and no index is left behind."""
    llm("index", "add", "docs")
    run = llm("index", *argv)
    assert (run.code, run.out) == (code, "") and said in run.err
    assert llm("index", "list").out.count("\n") == 1


def test_a_missing_directory_keeps_its_index(llm, docs):
    """It may be on a disk that is not there now."""
    llm("index", "add", "docs")
    docs.rename(docs.with_name("moved"))
    assert llm("index", "add", "docs").code == 66 and llm("index", "search", "dogs").code == 0


def test_unreadable_files_are_reported(llm, docs):
    """The others are indexed: 3."""
    (docs / "scan.pdf").write_bytes(b"<!DOCTYPE html><p>log in")
    run = llm("index", "add", "docs")
    assert run.code == 3 and "scan.pdf" in run.err and llm("index", "search", "dogs").code == 0


def test_a_large_indexed_directory_is_not_read_again(llm, docs):
    """Its index answers, brought up to date, with the names as they were typed."""
    for number in range(40):
        (docs / f"{number}.txt").write_text("\n".join(f"Line {line} is about the weather." for line in range(300)))
    llm("index", "add", "docs")
    (docs / "late.txt").write_text("The code is 4711.")

    def respond(request):
        if request.candidates:
            return {"yes": -1.0, "no": -2.0}
        return "4711 [1]." if "4711" in all_messages(request) else "Not in these documents."

    run = llm("ask", "What is the code?", "-f", "docs", answer=respond)
    assert (run.code, run.err) == (0, "") and run.out.startswith("4711 [1].\n\n[1] docs/")
    found = json.loads(llm("ask", "--json", "What is the code?", "-f", "docs", answer=respond).out)
    assert found["answered"] and 0 < found["coverage"] < 0.1 and found["passages"]["all"] > 100
    assert "docs/late.txt" in {each["file"] for each in found["references"]}


def test_an_index_is_asked_by_its_name(llm, docs, tmp_path, monkeypatch):
    """The path of its directory or its last part, from anywhere; files that are named too are read as well."""
    llm("index", "add", "docs")
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "note.txt").write_text("The gate is green.")
    monkeypatch.chdir(elsewhere)
    for name in ("docs", str(docs), "../docs"):
        run = llm(
            "ask", "--index", name, "-f", "note.txt", "What is the notice period?", answer=lambda _: "Three months."
        )
        assert (run.code, run.out, run.err) == (0, "Three months.\n", "")
        assert all(each in all_messages(run.backend.requests[0]) for each in ("three months", "No dogs", "is green"))
    run = llm("ask", "--index", "docs", "--cite", "Which animals?", answer=lambda _: "No dogs [3].")
    assert run.code == 0 and run.out.startswith(f"No dogs [3].\n\n[3] {docs}/rules.txt, line")
    assert json.loads(llm("ask", "--index", "docs", "--dry-run", "--json", "?").out)["method"] == "whole"


def test_a_name_must_be_that_of_one_index(llm, docs, tmp_path, monkeypatch):
    """An unknown one is 66, an ambiguous one 2, and a directory that is gone 66."""
    llm("index", "add", "docs")
    run = llm("ask", "--index", "dogs", "?")
    assert run.code == 66 and "no index of dogs" in run.err and "docs" in run.err
    other = tmp_path / "b" / "docs"
    other.mkdir(parents=True)
    (other / "a.txt").write_text("The gate is green.")
    llm("index", "add", "b/docs")
    monkeypatch.chdir("/")
    run = llm("ask", "--index", "docs", "?")
    assert (
        run.code == 2
        and "several indexes are called docs" in run.err
        and str(docs) in run.err
        and str(other) in run.err
    )
    other.rename(other.with_name("moved"))
    run = llm("ask", "--index", str(other), "?")
    assert run.code == 66 and f"cannot read {other}" in run.err


@pytest.mark.parametrize(
    "argv",
    [
        ("--session", "trip"),
        ("--continue",),
        ("-p", "review"),
        ("--sql",),
        ("--column", "text"),
    ],
)
def test_options_that_read_no_index(llm, docs, argv):
    """They are refused beside --index."""
    llm("index", "add", "docs")
    run = llm("ask", "--index", "docs", *argv, "?")
    assert run.code == 2 and run.backend is None


def test_a_small_indexed_directory_is_read_whole(llm, docs):
    """As without an index."""
    llm("index", "add", "docs")
    run = llm("ask", "?", "-f", "docs", answer=lambda _: "yes")
    assert run.out == "yes\n" and "three months" in all_messages(run.backend.requests[0])


def test_names_that_are_no_utf8_are_kept_and_shown_escaped(llm, docs):
    """Of files and of directories, also of the indexed one."""
    directory = docs / os.fsdecode(b"d\xff")
    directory.mkdir()
    (directory / os.fsdecode(b"caf\xe9.txt")).write_text("The café opens on Monday.\n")
    assert llm("index", "add", str(directory)).code == 0 and llm("index", "add", "docs").code == 0
    escaped = f"{docs}/d\\xff"
    assert [line.split("\t")[0] for line in llm("index", "list").out.splitlines()] == [str(docs), escaped]
    assert llm("index", "search", "café").out.startswith(f"{escaped}/caf\\xe9.txt\t1\t")
    found = json.loads(llm("index", "search", "--json", "--in", str(directory), "café").out)
    assert found["file"] == f"{escaped}/caf\\xe9.txt"
    again = json.loads(llm("index", "add", "--json", "docs").out)
    assert (again["files"], again["unchanged"]) == (3, 3)
    (directory / os.fsdecode(b"caf\xe9.txt")).unlink()
    assert json.loads(llm("index", "add", "--json", "docs").out)["removed"] == 1


def test_a_damaged_index_is_built_again(llm, docs):
    """Wherever the damage is; the index is then as good as new."""
    llm("index", "add", "docs")
    (path,) = Path(os.environ["LLMCLI_CACHE_DIR"], "indexes").glob("*.sqlite")
    intact = path.read_bytes()
    found = llm("index", "search", "notice period").out
    for start in range(0, len(intact), 4096):
        path.write_bytes(intact[:start] + b"\xff" * 4096 + intact[start + 4096 :])
        made = llm("index", "add", "--json", "docs")
        assert made.code == 0 and json.loads(made.out)["passages"] == 3, start
        assert llm("index", "search", "notice period").out == found, start


def test_a_damaged_index_is_called_damaged(llm, docs, tmp_path):
    """By list and search, which show what the other indexes have; nothing is found in a damaged one."""
    other = tmp_path / "other"
    other.mkdir()
    (other / "a.txt").write_text("The parrot speaks.\n")
    llm("index", "add", "docs")
    (path,) = Path(os.environ["LLMCLI_CACHE_DIR"], "indexes").glob("*.sqlite")
    path.write_bytes(b"damaged" * 1000)
    for words in (["list"], ["search", "notice"]):
        run = llm("index", *words)
        assert (run.code, run.out) == (78, "") and "or is damaged" in run.err and "no indexed passage" not in run.err
    llm("index", "add", "other")
    for words, shown in ((["list"], str(other)), (["search", "parrot"], "parrot speaks")):
        run = llm("index", *words)
        assert run.code == 3 and shown in run.out and "or is damaged" in run.err


def test_the_repair_of_an_index_is_told(llm, docs):
    """In a note, and an intact index is not built again."""
    llm("index", "add", "docs")
    (path,) = Path(os.environ["LLMCLI_CACHE_DIR"], "indexes").glob("*.sqlite")
    assert json.loads(llm("index", "add", "-v", "--json", "docs").out)["unchanged"] == 2
    path.write_bytes(path.read_bytes()[:5000])
    run = llm("index", "add", "-v", "docs")
    assert run.code == 0 and "was damaged and is built again" in run.err and "2 added" in run.err
