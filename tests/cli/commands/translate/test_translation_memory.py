"""``llm translate``: the record of an output matches the file, and there is none for an unwritten file."""

from __future__ import annotations

import contextlib
import sqlite3
from pathlib import Path

import pytest
from document_texts import greek
from lying_translators import well

from llmcli.errors import OutputError, Terminated
from llmcli.files import atomic_file
from llmcli.store.database import Database
from llmcli.store.translation_memory import TranslationMemory
from llmcli.tasks.translate.memory_cache import PreviousOutput, RecordedSegment, TranslationMemoryCache

ONE, TWO, THREE = "The first text is here.", "The second text is here.", "The third text is here."


@pytest.fixture
def renew(llm, data):
    """Return a function that writes the source and has its translation updated."""
    if not data.joinpath("reference.md").exists():
        Path("reference.md").write_text("One.\n\nTwo.\n\nThree.\n")

    def run(output, text, *more):
        source = Path("docs") / Path(output).name
        source.parent.mkdir(exist_ok=True)
        source.write_text(text)
        named = "docs" if "/" in output else str(source)
        update = output.partition("/")[0] if "/" in output else output
        return llm("translate", "--to", "el", named, "--update", update, *more, answer=well)

    return run


def people():
    """Return the translations that the memory considers human."""
    with contextlib.closing(sqlite3.connect("data/translations.sqlite")) as database:
        return database.execute("SELECT source, translation FROM units WHERE model = ''").fetchall()


def full_disk(monkeypatch):
    """Make the disk full when the translation is written."""

    def full(_fd, path):
        raise OutputError(path, detail="No space left on device")

    monkeypatch.setattr(atomic_file, "_sync", full)


def no_rename(monkeypatch):
    """Make the rename fail."""

    def forbidden(*_args, **_how):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(atomic_file, "_rename_into_place", forbidden)


def told_to_stop(monkeypatch):
    """Send SIGTERM when everything is translated and no output is renamed yet."""

    def stop(*_args):
        raise Terminated

    monkeypatch.setattr(atomic_file, "_sync", stop)


def no_scores(_monkeypatch):
    """Make the comparison with a reference fail, which comes after the translation."""
    pytest.importorskip("sacrebleu")
    return ("--eval", "reference.md")


FORMS = {"out.md": "# {}\n", "out.json": '{{"greeting": "{}"}}\n', "out/a.md": "# {}\n"}
"""Texts identified by position or by key; and a directory, whose files llm names."""
FAULTS = [
    *((fault, output) for fault in (full_disk, no_rename, told_to_stop) for output in FORMS),
    (no_scores, "out.md"),
    (no_scores, "out.json"),
]


@pytest.mark.parametrize(("fault", "output"), FAULTS, ids=lambda each: getattr(each, "__name__", each))
def test_an_output_that_was_not_written_is_not_remembered(renew, monkeypatch, fault, output):
    """The next --update delivers no text of another source, and treats none as a person's edit."""
    form = FORMS[output]
    assert renew(output, form.format(ONE)).code == 0
    with monkeypatch.context() as patched:
        assert renew(output, form.format(TWO), *(fault(patched) or ())).code != 0
    assert Path(output).read_text() == form.format(greek(ONE))
    for text in (THREE, TWO, ONE):
        assert renew(output, form.format(text)).code == 0
        assert (Path(output).read_text(), people()) == (form.format(greek(text)), [])


@pytest.mark.parametrize("fault", [full_disk, no_rename, told_to_stop], ids=lambda each: each.__name__)
def test_edits_survive_a_failed_run(renew, monkeypatch, fault):
    """The earlier record stays valid: an edit by a person is kept, and still counts as an edit."""
    assert renew("out.md", f"# {ONE}\n\n{TWO}\n").code == 0
    Path("out.md").write_text(Path("out.md").read_text().replace(greek(ONE), "Par la main"))
    with monkeypatch.context() as patched:
        fault(patched)
        assert renew("out.md", f"# {ONE}\n\n{THREE}\n").code != 0
    assert renew("out.md", f"# {ONE}\n\n{THREE}\n").code == 0
    assert Path("out.md").read_text() == f"# Par la main\n\n{greek(THREE)}\n"
    assert people() == [(ONE, "Par la main")]


def test_a_file_without_a_record_does_not_count_as_edited(renew, monkeypatch):
    """The memory's disk became full after the rename: the next --update refuses instead of guessing."""
    assert renew("out.md", f"# {ONE}\n").code == 0

    def full(_memory, _record):
        raise OutputError("memory", detail="No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(TranslationMemory, "save_output", full)
        run = renew("out.md", f"# {TWO}\n")
    assert (run.code, Path("out.md").read_text()) == (0, f"# {greek(TWO)}\n")
    assert "--no-tm: No space left on device" in run.err
    run = renew("out.md", f"# {ONE}\n")
    assert (run.code, Path("out.md").read_text(), people()) == (73, f"# {greek(TWO)}\n", [])


def test_a_record_that_cannot_be_changed_is_told(renew, monkeypatch):
    """The memory's file may not grow, so its record is stale: a warning says what not to do with the output."""
    assert renew("out.md", f"# {ONE}\n").code == 0

    def full(*_args):
        raise OutputError("memory", detail="No space left on device")

    for method in ("add_units", "forget_output", "save_output"):
        monkeypatch.setattr(TranslationMemory, method, full)
    run = renew("out.md", f"# {TWO}\n")
    assert (run.code, Path("out.md").read_text()) == (0, f"# {greek(TWO)}\n")
    assert "still describes an earlier out.md" in run.err


def test_there_is_no_record_while_the_file_is_renamed(tmp_path):
    """A process that is killed there leaves no record of a text that may not be in the file."""
    output, before, after = (
        tmp_path / "out",
        PreviousOutput([RecordedSegment("a", "x", "")], "s"),
        PreviousOutput([RecordedSegment("b", "y", "")], "s"),
    )
    with TranslationMemory(tmp_path / "tm") as memory:
        remembered = TranslationMemoryCache(memory)
        for what in (before, after):
            remembered.prepare_output(output, "el", what, "")
            with remembered.record_on_rename(output):
                assert memory.get_output(output) is None
            assert remembered.previous_output(output, "el") == what
        remembered.prepare_output(output, "el", after, "")
        with remembered.record_on_rename(output):  # the same again needs no change
            assert memory.get_output(output) is not None


def test_a_memory_that_may_not_grow_loses_no_translation(llm, data, monkeypatch):
    """SQLite reports a full disk: the translation is complete, and a line says what was not stored."""
    Path("a.txt").write_text(ONE)
    assert llm("translate", "--to", "el", "a.txt", answer=well).code == 0
    prepare = Database._create_tables

    def small(database):
        prepare(database)
        pages = database._connection.execute("PRAGMA page_count").fetchone()[0]
        database._connection.execute(f"PRAGMA max_page_count = {pages}")

    monkeypatch.setattr(Database, "_create_tables", small)
    text = "\n\n".join(f"{ONE} It is number {number}." for number in range(200))
    Path("a.txt").write_text(text)
    run = llm("translate", "--to", "el", "a.txt", answer=well)
    assert (run.code, run.out) == (0, greek(text))
    assert run.err.count("\n") == 1 and "--no-tm: No space left on device" in run.err
