"""Saved conversations in their file."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmcli.errors import BadDocument, CannotCreate, MissingError, OutputError, TemporaryFailure
from llmcli.store import database
from llmcli.store.session_store import MAX_SESSION_NAME_CHARS, SessionStore, is_session_name, new_session
from llmcli.store.turn import Turn
from llmcli.types import Role


@pytest.fixture
def store(tmp_path):
    """Return an empty store."""
    with SessionStore(tmp_path / "sessions.db") as opened:
        yield opened


@pytest.fixture
def path(tmp_path):
    """Return the path of the store."""
    return tmp_path / "sessions.db"


def turns(*texts):
    """Return turns that alternate between user and assistant."""
    roles = (Role.USER, Role.ASSISTANT)
    return [Turn(roles[number % 2], text, time=100.0 + number) for number, text in enumerate(texts)]


def test_a_saved_session_is_found(store):
    """Turns in order, with roles, marks and times; the session with its model and instructions."""
    said = [*turns("one", "two", "three"), Turn(Role.ASSISTANT, "fo", interrupted=True, time=103.0)]
    new = new_session("work", "Be brief.")
    assert store.find("work") is None  # nothing is saved before the first answer
    saved = store.save(replace(new, model="small"), said, 0)
    assert store.find("work") == store.last_used() == saved
    assert (saved.id, saved.model, saved.system) == (new.id, "small", "Be brief.") and saved.created > 0
    assert list(store.load_turns(saved)) == said


def test_answers_are_added(store):
    """Each with its question, in one transaction; earlier turns stay."""
    saved = store.save(new_session("work"), turns("one", "two"), 0)
    again = store.save(replace(saved, model="large"), turns("one", "two", "three", "four"), 2)
    assert [turn.content for turn in store.load_turns(again)] == ["one", "two", "three", "four"]
    assert (again.id, again.created, store.find("work").model) == (saved.id, saved.created, "large")


def test_the_second_writer_gets_another_name(store):
    """If two processes continue one session, nothing is lost or mixed: each conversation is complete."""
    start = store.save(new_session("work"), turns("one", "two"), 0)
    store.save(start, turns("one", "two", "mine", "yes"), 2)
    other = store.save(start, turns("one", "two", "theirs", "no"), 2)
    third = store.save(start, turns("one", "two", "and theirs", "so"), 2)
    assert (other.name, third.name) == ("work-2", "work-3") and len({start.id, other.id, third.id}) == 3
    assert [turn.content for turn in store.load_turns(start)] == ["one", "two", "mine", "yes"]
    assert list(store.load_turns(other)) == turns("one", "two", "theirs", "no")
    further = store.save(other, turns("one", "two", "theirs", "no", "x", "y"), 4)
    assert further.id == other.id and len(store.load_turns(further)) == 6


def test_a_name_that_is_taken_meanwhile(store):
    """The second new session of a name gets another; long names stay within the limit."""
    assert store.save(new_session("a"), turns("x", "y"), 0).name == "a"
    assert store.save(new_session("a"), turns("x", "y"), 0).name == "a-2"
    long = "n" * MAX_SESSION_NAME_CHARS
    assert store.save(new_session(long), turns("x", "y"), 0).name == long
    second = store.save(new_session(long), turns("x", "y"), 0).name
    assert second == "n" * (MAX_SESSION_NAME_CHARS - 2) + "-2" and is_session_name(second)


def test_a_session_removed_meanwhile_is_saved_completely(store):
    """Later turns are not lost; it keeps its name if that is free."""
    saved = store.save(new_session("work"), turns("one", "two"), 0)
    store.remove([saved])
    again = store.save(saved, turns("one", "two", "three", "four"), 2)
    assert again.name == "work" and again.id != saved.id and len(store.load_turns(again)) == 4


def test_a_session_that_was_renamed_meanwhile_keeps_its_new_name(store):
    """It stays the same session."""
    saved = store.save(new_session("work"), turns("one", "two"), 0)
    assert store.rename(saved, "play")
    again = store.save(saved, turns("one", "two", "three", "four"), 2)
    assert (again.name, again.id) == ("play", saved.id) and store.find("work") is None


def test_names_are_unique(store):
    """Renaming to another session's name changes nothing; renaming to its own succeeds."""
    one, two = (store.save(new_session(name), turns("x", "y"), 0) for name in ("one", "two"))
    assert not store.rename(one, "two") and store.rename(two, "two")
    assert [each.session.name for each in store.list()] == ["two", "one"]


def test_the_list_begins_with_the_last_used(store):
    """With the number of messages and the first of them."""
    first = store.save(new_session("first"), turns("hello", "hi"), 0)
    store.save(new_session("second"), turns("good day", "yes"), 0)
    store.save(first, turns("hello", "hi", "and", "so"), 2)
    assert [(each.session.name, each.message_count, each.first_message) for each in store.list()] == [
        ("first", 4, "hello"),
        ("second", 2, "good day"),
    ]
    assert store.last_used().name == "first"


def test_a_missing_session_has_suggestions(store):
    """A misspelt name has suggestions."""
    store.save(new_session("invoices"), turns("x", "y"), 0)
    with pytest.raises(MissingError) as caught:
        store.get("invoice")
    assert caught.value.suggestions == ("invoices",) and caught.value.kind == "session"


def test_search_folds_case(store):
    """As in Unicode: a sharp s equals ss, a final sigma a sigma; each matching line with its position."""
    store.save(new_session("a"), turns("first line\nDie STRASSE ist lang", "ὈΔΥΣΣΕΎΣ"), 0)
    assert [(m.name, m.number, m.role, m.line) for m in store.search("straße")] == [
        ("a", 1, Role.USER, "Die STRASSE ist lang")
    ]
    assert [m.number for m in store.search("ὀδυσσεύς")] == [2]
    assert list(store.search("100%")) == [] == list(store.search("lines"))


def test_removed_text_is_gone_from_the_file(store, path):
    """Not only from the tables."""
    secret = "a very secret text that nobody else should read"
    saved = store.save(new_session("work", secret), turns(secret, secret * 100), 0)
    assert secret.encode() in path.read_bytes()
    store.remove([saved])
    assert secret.encode() not in path.read_bytes() and store.list() == []


@pytest.mark.parametrize("name", ["a", "A.b_c-d", "_", "2026-11-25-1732", "n" * MAX_SESSION_NAME_CHARS])
def test_names(name):
    """Letters, digits and a few symbols."""
    assert is_session_name(name)


@pytest.mark.parametrize(
    "name",
    [
        "",
        ".",
        "..",
        ".a",
        "-a",
        "a/b",
        "../a",
        "a\0",
        "a\n",
        "a b",
        "é",
        "n" * (MAX_SESSION_NAME_CHARS + 1),
        "a'; DROP",
        "%",
    ],
)
def test_names_that_are_refused(name):
    """Names that could leave a directory, hide, be an option or control a terminal."""
    assert not is_session_name(name)


@given(st.lists(st.tuples(st.text(), st.text()), min_size=1, max_size=4))
def test_any_text_survives(pairs):
    """Except for lone surrogates, which no file can hold."""
    with SessionStore(Path("/nowhere/at/all"), read_only=True) as empty:  # in memory
        said = turns(*(text for pair in pairs for text in pair))
        saved = empty.save(new_session("a"), said, 0)
        assert list(empty.load_turns(saved)) == said


def test_lone_surrogates_are_replaced(store):
    """A server may send them in JSON; a pair becomes its character."""
    saved = store.save(new_session("a"), turns("a\ud800b", "\ud83d\ude00"), 0)
    assert [turn.content for turn in store.load_turns(saved)] == ["a\ufffdb", "😀"]


# ---- the file -----------------------------------------------------------------------------------------------------


def test_the_file_is_private(store, path):
    """Whatever the umask is."""
    assert path.stat().st_mode & 0o777 == 0o600


def test_reading_creates_nothing(path):
    """Without saved sessions nothing is listed and no file is created; an empty file counts as none."""
    for _ in range(2):
        with SessionStore(path, read_only=True) as empty:
            assert empty.list() == [] and empty.last_used() is None and list(empty.search("a")) == []
    assert not path.exists()
    path.touch()
    with SessionStore(path, read_only=True) as empty:
        assert empty.list() == []
    assert path.stat().st_size == 0


WRITER = """
import sys
from pathlib import Path
from llmcli.store.session_store import SessionStore
from llmcli.store.turn import Turn
from llmcli.types import Role
path, who = Path(sys.argv[1]), sys.argv[2]
with SessionStore(path) as store:
    session = store.get("work")
    said = list(store.load_turns(session))
print("ready", flush=True)
sys.stdin.readline()
for number in range(10):
    said += [Turn(Role.USER, f"{who} {number}"), Turn(Role.ASSISTANT, "yes")]
    with SessionStore(path) as store:
        session = store.save(session, said, len(said) - 2)
print(session.name)
"""


def test_two_processes_continue_one_session(store, path):
    """Both write at once: one keeps the name, the other gets a new one, and both conversations are complete."""
    store.save(new_session("work"), turns("one", "two"), 0)
    environ = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    both = [
        subprocess.Popen(
            [sys.executable, "-c", WRITER, str(path), who],
            env=environ,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for who in ("left", "right")
    ]
    for process in both:
        assert process.stdout.readline() == "ready\n"
    for process in both:
        process.stdin.write("go\n")
        process.stdin.flush()
    names = {process.communicate(timeout=60)[0].strip() for process in both}
    assert names == {"work", "work-2"}
    for session in (store.get("work"), store.get("work-2")):
        said = [turn.content for turn in store.load_turns(session)]
        (who,) = {text.split()[0] for text in said[2::2]}
        assert said[:2] == ["one", "two"] and said[2::2] == [f"{who} {number}" for number in range(10)]


def test_many_may_start_at_once(tmp_path):
    """A file whose tables another process is creating is not damaged."""
    for number in range(10):
        path = tmp_path / f"{number}.db"
        with ThreadPoolExecutor(8) as threads:
            found = threads.map(lambda each, path=path: _begin(path, f"s{each}"), range(8))
            assert set(found) == {f"s{each}" for each in range(8)}


def _begin(path, name):
    with SessionStore(path) as own:
        return own.save(new_session(name), turns("x", "y"), 0).name


def test_other_files_are_refused_and_unchanged(tmp_path):
    """A text, another program's database, a directory, a missing directory."""
    text = tmp_path / "text"
    text.write_text("no database " * 100)
    other = tmp_path / "other"
    made = sqlite3.connect(other)
    made.execute("CREATE TABLE theirs (name)")
    made.close()
    for path in (text, other):
        before = path.read_bytes()
        for read_only in (False, True):
            with pytest.raises(BadDocument):
                SessionStore(path, read_only=read_only)
        assert path.read_bytes() == before
    with pytest.raises(CannotCreate):
        SessionStore(tmp_path)
    with pytest.raises(MissingError):
        SessionStore(tmp_path, read_only=True)
    with pytest.raises(CannotCreate):
        SessionStore(tmp_path / "none" / "sessions.db")


def everything(path):
    """Return the whole content of a store."""
    with SessionStore(path, read_only=True) as opened:
        return [(each, opened.find(each.session.name), opened.load_turns(each.session)) for each in opened.list()]


def test_a_damaged_file_is_refused(store, path):
    """Wherever its bytes are wrong: 65, not a traceback, and nothing is skipped."""
    for number in range(40):
        store.save(new_session(f"s{number}"), turns("x" * 500, "y" * 500), 0)
    whole, held = path.read_bytes(), everything(path)
    starts = range(4096, len(whole), 4096)
    refused = 0
    for start in starts:
        path.write_bytes(whole[:start] + b"\xff" * 4096 + whole[start + 4096 :])
        try:
            assert everything(path) == held
        except BadDocument:
            refused += 1
    assert refused > len(starts) / 2


def test_invalid_utf_8_is_damage(store, path):
    """If the bytes of a text were changed, the user learns that they are invalid."""
    store.save(new_session("a"), turns("marked text", "y"), 0)
    path.write_bytes(path.read_bytes().replace(b"marked", b"\xff\xff\xff\xff\xff\xff"))
    with pytest.raises(BadDocument), SessionStore(path, read_only=True) as opened:
        opened.load_turns(opened.last_used())


def test_a_locked_file_is_a_temporary_failure(store, path, monkeypatch):
    """If another process writes for long: 75. Reading still works."""
    saved = store.save(new_session("a"), turns("x", "y"), 0)
    monkeypatch.setattr(database, "_BUSY_TIMEOUT_S", 0.01)
    holder = sqlite3.connect(path, isolation_level=None)
    holder.execute("BEGIN IMMEDIATE")
    with SessionStore(path) as other:
        assert other.last_used() == saved
        with pytest.raises(TemporaryFailure):
            other.save(saved, turns("x", "y", "z", "a"), 2)
        with pytest.raises(TemporaryFailure):
            other.check_writable()
    holder.close()
    assert len(store.load_turns(saved)) == 2


def test_a_full_disk(store, path):
    """An answer without space is not saved in part, and the error says that the disk is full."""
    saved = store.save(new_session("a"), turns("x", "y"), 0)
    store._database._connection.execute("PRAGMA max_page_count = 8")
    with pytest.raises(OutputError) as caught:
        store.save(saved, turns("x", "y", "z" * 100_000, "a"), 2)
    assert caught.value.detail == "No space left on device"
    assert len(store.load_turns(saved)) == 2
    store._database._connection.execute("PRAGMA max_page_count = 1000")
    assert store.save(saved, turns("x", "y", "z" * 100_000, "a"), 2).id == saved.id  # and continues with more space


def test_a_read_only_file_can_be_read(store, path, monkeypatch):
    """From a read-only medium sessions can be read; saving is refused."""
    saved = store.save(new_session("a"), turns("x", "y"), 0)
    usual = os.open

    def refusing(name, flags, *more):
        if Path(name) == path and flags & os.O_RDWR:
            raise PermissionError(13, "Permission denied", str(name))
        return usual(name, flags, *more)

    monkeypatch.setattr(os, "open", refusing)
    with SessionStore(path, read_only=True) as opened:
        assert opened.last_used() == saved
        for change in (opened.check_writable, lambda: opened.remove([saved])):
            with pytest.raises(OutputError):
                change()
    with pytest.raises(OutputError):
        SessionStore(path)


@pytest.mark.parametrize("writable", [True, False])
def test_a_directory_where_no_journal_can_be_made(store, monkeypatch, writable):
    """SQLite reports that it cannot open a file; the system's message about the directory says more."""
    monkeypatch.setattr(os, "access", lambda *_: writable)
    said = sqlite3.OperationalError("unable to open database file")
    said.sqlite_errorcode = sqlite3.SQLITE_CANTOPEN
    with pytest.raises(OutputError) as caught, store._database.translate_errors():
        raise said
    assert caught.value.detail == ("unable to open database file" if writable else "Permission denied")
