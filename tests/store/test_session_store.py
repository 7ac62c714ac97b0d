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
from llmcli.store.session import MAX_SESSION_NAME_CHARS, StoredMessage, Summary, is_session_name, new_session
from llmcli.store.session_store import SessionStore
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
    return [StoredMessage(roles[number % 2], text, time=100.0 + number) for number, text in enumerate(texts)]


def save(store, session, *texts, **more):
    """Save a conversation of these texts; return the session."""
    return store.save(session, turns(*texts), **more).session


def contents(store, session):
    """Return the texts of the branch that ends at the head of a session, read again."""
    return [turn.content for turn in store.load_turns(store.get(session.name))]


def test_a_saved_session_is_found(store):
    """Turns in order, with roles, marks and times; the session with its model and instructions."""
    said = [*turns("one", "two", "three"), StoredMessage(Role.ASSISTANT, "fo", interrupted=True, time=103.0)]
    new = new_session("work", "Be brief.")
    assert store.find("work") is None  # nothing is saved before the first answer
    saved = store.save(replace(new, model="small"), said).session
    assert store.find("work") == store.last_used() == saved
    assert (saved.id, saved.model, saved.system) == (new.id, "small", "Be brief.") and saved.created > 0
    assert list(store.load_turns(saved)) == said


def test_answers_are_added(store):
    """Messages that have an id are not saved again."""
    saved = store.save(new_session("work"), turns("one", "two"))
    more = [*saved.turns, *turns("three", "four")]
    again = store.save(replace(saved.session, model="large"), more)
    assert contents(store, again.session) == ["one", "two", "three", "four"] and not again.branched
    assert [turn.id for turn in again.turns] == [turn.id for turn in store.load_tree(again.session)]
    assert (again.session.id, again.session.created) == (saved.session.id, saved.session.created)
    assert store.find("work").model == "large"


def test_two_writers_make_branches_of_one_session(store):
    """Nothing is lost or mixed: each conversation is complete, and the last writer has the head."""
    start = store.save(new_session("work"), turns("one", "two"))
    store.save(start.session, [*start.turns, *turns("mine", "yes")])
    other = store.save(start.session, [*start.turns, *turns("theirs", "no")])
    assert other.branched and other.session.id == start.session.id
    further = store.save(other.session, [*other.turns, *turns("x", "y")])
    assert not further.branched
    assert contents(store, start.session) == ["one", "two", "theirs", "no", "x", "y"]
    tree = store.load_tree(start.session)
    assert [turn.content for turn in tree] == ["one", "two", "mine", "yes", "theirs", "no", "x", "y"]
    assert [turn.parent for turn in tree[2:6:2]] == [start.turns[-1].id] * 2
    assert [each.session.name for each in store.list()] == ["work"] and store.list()[0].message_count == 6


def test_going_back_loses_nothing(store):
    """The head moves; the messages after it stay in the tree, and the next message starts a branch."""
    saved = store.save(new_session("work"), turns("one", "two", "three", "four"))
    back = store.save(saved.session, saved.turns[:2])
    assert contents(store, back.session) == ["one", "two"] and len(store.load_tree(back.session)) == 4
    store.save(back.session, [*back.turns, *turns("other", "five")])
    assert len(store.load_tree(back.session)) == 6
    empty = store.save(back.session, [])
    assert contents(store, empty.session) == [] and len(store.load_tree(back.session)) == 6


def test_a_fork_shares_its_history(store):
    """No message is copied; each session goes on by itself, and removing one leaves the other whole."""
    saved = store.save(new_session("work", "Be kind."), turns("one", "two", "three", "four"))
    store.pin(saved.session, saved.turns[0].id, pinned=True)
    fork = store.fork(saved.session, saved.turns[1].id, "other")
    assert fork.system == "Be kind." and store.fork(saved.session, saved.turns[1].id, "other") is None
    branch = store.load_turns(fork)
    assert [turn.id for turn in branch] == [turn.id for turn in saved.turns[:2]] and branch[0].pinned
    store.save(fork, [*branch, *turns("five", "six")])
    assert contents(store, saved.session) == ["one", "two", "three", "four"]
    store.remove([saved.session])
    assert contents(store, fork) == ["one", "two", "five", "six"]
    assert [match.line for match in store.search("two")] == ["two"] and list(store.search("three")) == []
    store.remove([store.get("other")])
    assert store._database._connection.execute("SELECT count(*) FROM turns").fetchone() == (0,)


def test_a_name_that_is_taken_meanwhile(store):
    """The second new session of a name gets another, or joins the first; long names stay within the limit."""
    assert save(store, new_session("a"), "x", "y").name == "a"
    assert save(store, new_session("a"), "x", "y").name == "a-2"
    assert save(store, new_session("a"), "v", "w", joins=True).name == "a"
    assert contents(store, store.get("a")) == ["v", "w"] and len(store.load_tree(store.get("a"))) == 4
    long = "n" * MAX_SESSION_NAME_CHARS
    assert save(store, new_session(long), "x", "y").name == long
    second = save(store, new_session(long), "x", "y").name
    assert second == "n" * (MAX_SESSION_NAME_CHARS - 2) + "-2" and is_session_name(second)


def test_a_session_removed_meanwhile_is_saved_completely(store):
    """Later turns are not lost; it keeps its name if that is free."""
    saved = store.save(new_session("work"), turns("one", "two"))
    store.remove([saved.session])
    again = store.save(saved.session, [*saved.turns, *turns("three", "four")]).session
    assert again.name == "work" and again.id != saved.session.id
    assert contents(store, again) == ["one", "two", "three", "four"]


def test_a_session_that_was_renamed_meanwhile_keeps_its_new_name(store):
    """It stays the same session."""
    saved = store.save(new_session("work"), turns("one", "two"))
    assert store.rename(saved.session, "play")
    again = store.save(saved.session, [*saved.turns, *turns("three", "four")]).session
    assert (again.name, again.id) == ("play", saved.session.id) and store.find("work") is None


def test_an_answer_grows(store):
    """The text that arrived so far is saved as interrupted, and is found; then the whole answer replaces it."""
    question, answer = store.save(new_session("work"), turns("one", "tw")).turns
    assert store.update_turn(replace(answer, content="two th", interrupted=True))
    assert [match.line for match in store.search("two")] == ["two th"]
    assert store.update_turn(replace(answer, content="two three"))
    assert list(store.load_turns(store.get("work"))) == [question, replace(answer, content="two three")]
    assert [match.line for match in store.search("three")] == ["two three"]
    store.remove([store.get("work")])
    assert not store.update_turn(answer)


def test_a_question_without_an_answer_is_withdrawn(store):
    """The head goes back; a session without messages is removed; a message with an answer stays."""
    saved = store.save(new_session("work"), turns("one", "two", "three"))
    store.withdraw(saved.session, saved.turns[0])
    assert len(store.load_tree(saved.session)) == 3
    store.withdraw(saved.session, saved.turns[2])
    assert contents(store, saved.session) == ["one", "two"]
    new = store.save(new_session("other"), turns("one"))
    store.withdraw(new.session, new.turns[0])
    assert store.find("other") is None


def test_pins_belong_to_a_session(store):
    """They are loaded with its turns, and can be removed."""
    saved = store.save(new_session("work"), turns("one", "two"))
    for pinned in (True, True, False):
        store.pin(saved.session, saved.turns[0].id, pinned=pinned)
        assert [turn.pinned for turn in store.load_turns(saved.session)] == [pinned, False]


def test_the_latest_summary_of_a_branch_is_found(store):
    """Not that of another branch."""
    saved = store.save(new_session("work"), turns("one", "two", "three", "four", "five", "six"))
    assert store.find_summary(saved.turns) is None
    for turn in (saved.turns[3], saved.turns[1]):
        store.save_summary(Summary(turn.id, f"up to {turn.content}", "small"))
    assert store.find_summary(saved.turns) == Summary(saved.turns[3].id, "up to four", "small")
    assert store.find_summary(saved.turns[:3]).content == "up to two"
    store.save_summary(Summary(saved.turns[1].id, "again", "large"))
    assert store.find_summary(saved.turns[:3]).content == "again"


def test_names_are_unique(store):
    """Renaming to another session's name changes nothing; renaming to its own succeeds."""
    one, two = (save(store, new_session(name), "x", "y") for name in ("one", "two"))
    assert not store.rename(one, "two") and store.rename(two, "two")
    assert [each.session.name for each in store.list()] == ["two", "one"]


def test_the_list_begins_with_the_last_used(store):
    """With the number of messages and the first of them."""
    first = store.save(new_session("first"), turns("hello", "hi"))
    store.save(new_session("second"), turns("good day", "yes"))
    store.save(first.session, [*first.turns, *turns("and", "so")])
    assert [(each.session.name, each.message_count, each.first_message) for each in store.list()] == [
        ("first", 4, "hello"),
        ("second", 2, "good day"),
    ]
    assert store.last_used().name == "first"


def test_a_missing_session_has_suggestions(store):
    """A misspelt name has suggestions."""
    save(store, new_session("invoices"), "x", "y")
    with pytest.raises(MissingError) as caught:
        store.get("invoice")
    assert caught.value.suggestions == ("invoices",) and caught.value.kind == "session"


def test_search_folds_case(store):
    """As in Unicode: a sharp s equals ss, a final sigma a sigma; each matching line with its position."""
    save(store, new_session("a"), "first line\nDie STRASSE ist lang", "ὈΔΥΣΣΕΎΣ")
    assert [(m.name, m.number, m.role, m.line) for m in store.search("straße")] == [
        ("a", 1, Role.USER, "Die STRASSE ist lang")
    ]
    assert [m.number for m in store.search("ὀδυσσεύς")] == [2]
    assert list(store.search("100%")) == [] == list(store.search("lines"))


def test_search_finds_words_and_phrases(store):
    """All words of the query, parts of words too, in any order; a phrase in quotes; short ones; no operators."""
    save(store, new_session("a"), "The invoice is\ndue on Friday", '発注書です "x" OR y')
    found = [
        [match.line for match in store.search(query)]
        for query in ("due invoice", "invo day", '"invoice is"', '"is invoice"', "is", "due snow", "注書で", '"', "x\0")
    ]
    both = ["The invoice is", "due on Friday"]
    assert found == [both, both, both[:1], [], both[:1], [], ['発注書です "x" OR y'], ['発注書です "x" OR y'], []]
    assert [match.number for match in store.search("OR invoice")] == [] and list(store.search("  ")) == []


def test_search_numbers_messages_of_all_branches(store):
    """In the order of writing, which is the order of the tree."""
    start = store.save(new_session("work"), turns("one", "two"))
    store.save(start.session, [*start.turns, *turns("left", "three")])
    store.save(start.session, [*start.turns, *turns("right", "four")])
    assert [match.number for word in ("left", "right", "four") for match in store.search(word)] == [3, 5, 6]


def test_removed_text_is_gone_from_the_file(store, path):
    """Not only from the tables."""
    secret = "a very secret text that nobody else should read"
    saved = save(store, new_session("work", secret), secret, secret * 100)
    assert secret.encode() in path.read_bytes()
    store.remove([saved])
    assert secret.encode() not in path.read_bytes() and store.list() == []
    store._database._connection.execute("CREATE VIRTUAL TABLE temp.terms USING fts5vocab ('main', 'turn_index', 'row')")
    assert store._database._connection.execute("SELECT term FROM terms").fetchall() == []


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
        saved = empty.save(new_session("a"), said).session
        assert list(empty.load_turns(saved)) == said


def test_lone_surrogates_are_replaced(store):
    """A server may send them in JSON; a pair becomes its character."""
    saved = save(store, new_session("a"), "a\ud800b", "\ud83d\ude00")
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
from llmcli.store.session import StoredMessage
from llmcli.types import Role
path, who = Path(sys.argv[1]), sys.argv[2]
with SessionStore(path) as store:
    session = store.get("work")
    said = list(store.load_turns(session))
print("ready", flush=True)
sys.stdin.readline()
for number in range(10):
    said += [StoredMessage(Role.USER, f"{who} {number}"), StoredMessage(Role.ASSISTANT, "yes")]
    with SessionStore(path) as store:
        session, said = (done := store.save(session, said)).session, list(done.turns)
print(session.name)
"""


def test_two_processes_continue_one_session(store, path):
    """Both write at once: two branches of one session, each complete."""
    save(store, new_session("work"), "one", "two")
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
    assert {process.communicate(timeout=60)[0].strip() for process in both} == {"work"}
    assert [each.session.name for each in store.list()] == ["work"]
    written = [turn.content for turn in store.load_tree(store.get("work"))]
    for who in ("left", "right"):
        assert [text for text in written if text.startswith(who)] == [f"{who} {number}" for number in range(10)]
    branch = contents(store, store.get("work"))
    assert branch[:2] == ["one", "two"] and len({text.split()[0] for text in branch[2::2]}) == 1 and len(branch) == 22


@pytest.mark.slow
def test_many_may_start_at_once(tmp_path):
    """A file whose tables another process is creating is not damaged."""
    for number in range(10):
        path = tmp_path / f"{number}.db"
        with ThreadPoolExecutor(8) as threads:
            found = threads.map(lambda each, path=path: _begin(path, f"s{each}"), range(8))
            assert set(found) == {f"s{each}" for each in range(8)}


def _begin(path, name):
    with SessionStore(path) as own:
        return save(own, new_session(name), "x", "y").name


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
        listed = [(each, opened.find(each.session.name), opened.load_turns(each.session)) for each in opened.list()]
        return listed, list(opened.search("xxx"))


def test_a_damaged_file_is_refused(store, path):
    """Wherever its bytes are wrong: 65, not a traceback, and nothing is skipped."""
    for number in range(40):
        save(store, new_session(f"s{number}"), "x" * 500, "y" * 500)
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
    save(store, new_session("a"), "marked text", "y")
    path.write_bytes(path.read_bytes().replace(b"marked", b"\xff\xff\xff\xff\xff\xff"))
    with pytest.raises(BadDocument), SessionStore(path, read_only=True) as opened:
        opened.load_turns(opened.last_used())


def test_a_locked_file_is_a_temporary_failure(store, path, monkeypatch):
    """If another process writes for long: 75. Reading still works."""
    saved = save(store, new_session("a"), "x", "y")
    monkeypatch.setattr(database, "_BUSY_TIMEOUT_S", 0.01)
    holder = sqlite3.connect(path, isolation_level=None)
    holder.execute("BEGIN IMMEDIATE")
    with SessionStore(path) as other:
        assert other.last_used() == saved
        with pytest.raises(TemporaryFailure):
            save(other, saved, "z", "a")
        with pytest.raises(TemporaryFailure):
            other.check_writable()
    holder.close()
    assert len(store.load_turns(saved)) == 2


def test_a_full_disk(store, path):
    """An answer without space is not saved in part, and the error says that the disk is full."""
    saved = save(store, new_session("a"), "x", "y")
    store._database._connection.execute("PRAGMA max_page_count = 30")
    with pytest.raises(OutputError) as caught:
        save(store, saved, "z" * 100_000, "a")
    assert caught.value.detail == "No space left on device"
    assert len(store.load_turns(saved)) == 2
    store._database._connection.execute("PRAGMA max_page_count = 1000")
    assert save(store, saved, "z" * 100_000, "a").id == saved.id  # and continues with more space


def test_a_read_only_file_can_be_read(store, path, monkeypatch):
    """From a read-only medium sessions can be read; saving is refused."""
    saved = save(store, new_session("a"), "x", "y")
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
