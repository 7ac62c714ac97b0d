"""Saved chats: what is saved when, continuing one, and ``llm sessions``."""

from __future__ import annotations

import json
import os
import re
import threading
from pathlib import Path

import pytest
from scripted import Reply
from terminal import PROMPT, ended

from llmcli.errors import OutputError, TemporaryFailure
from llmcli.store.session import StoredMessage, new_session
from llmcli.store.session_store import SessionStore
from llmcli.types import Role

NAMES = ["../x", "a/b", ".hidden", "-x", "", "a\nb", "é", "x" * 101, "a\x1b[2J"]


@pytest.fixture
def file():
    """Return the path of the saved chats."""
    return Path(os.environ["LLMCLI_DATA_DIR"]) / "sessions.db"


@pytest.fixture
def store(file):
    """Open the saved chats beside the program."""

    def opened():
        file.parent.mkdir(parents=True, exist_ok=True)
        return SessionStore(file)

    return opened


@pytest.fixture
def work(store):
    """Save a chat called work that contains control sequences, and one called other."""
    with store() as sessions:
        said = [
            StoredMessage(Role.USER, "What is **rain**?\nSay it \x1b]0;evil\x07briefly."),
            StoredMessage(Role.ASSISTANT, "Water."),
        ]
        sessions.save(
            new_session("other"),
            [StoredMessage(Role.USER, "Hi"), StoredMessage(Role.ASSISTANT, "Ho", interrupted=True)],
        )
        return sessions.save(new_session("work", "Be kind."), said).session


def rows(run):
    return [json.loads(line) for line in run.out.splitlines()]


def contents(store, name):
    with store() as sessions:
        return [turn.content for turn in sessions.load_turns(sessions.get(name))]


# ---- llm chat -----------------------------------------------------------------------------------------------------


def test_a_pipe_is_saved_only_when_asked(llm, file):
    """A script saves nothing by default."""
    assert llm("chat", stdin=b"one\n").out == "one\n"
    assert llm("chat", "--no-save", stdin=b"one\n").code == 0
    assert not file.exists()


@pytest.mark.parametrize(("lines", "out", "code"), [(b"ok\nbad \377\n", "ok\n", 3), (b"bad \377\nok\n", "", 65)])
def test_a_pipe_that_turns_bad_is_partial(llm, lines, out, code):
    """The exit code tells whether something was answered before the line that is no text."""
    run = llm("chat", stdin=lines)
    assert (run.code, run.out) == (code, out) and "standard input is not UTF-8" in run.err


def test_a_named_session_goes_on(llm, store):
    """The first command starts it, the second continues it and sends the earlier messages."""
    first = llm("chat", "--session", "work", stdin=b"one\ntwo\n")
    assert (first.code, first.out, first.err) == (0, "one\ntwo\n", "")
    run = llm("chat", "--session", "work", stdin=b"three\n")
    assert (run.code, run.err) == (0, "")
    assert [m.content for m in run.backend.requests[0].messages[1:]] == ["one", "one", "two", "two", "three"]
    assert contents(store, "work") == ["one", "one", "two", "two", "three", "three"]


def test_requests_of_a_session_name_it(llm, store):
    """Always the same id; requests of an unsaved chat have none."""
    ids = {llm("chat", "--session", "a", stdin=b"x\n").backend.requests[0].session for _ in range(2)}
    with store() as sessions:
        assert ids == {sessions.get("a").id}
    assert llm("chat", stdin=b"x\n").backend.requests[0].session is None


def test_continue_takes_the_one_used_last(llm, store):
    """Whatever it is called; without a saved chat, the error says how to begin one."""
    run = llm("chat", "--continue", stdin=b"x\n")
    assert run.code == 66 and "llm chat --session NAME" in run.err and run.backend is None
    for name in ("a", "b", "a"):
        llm("chat", "--session", name, stdin=b"x\n")
    assert llm("chat", "--continue", stdin=b"y\n").code == 0
    assert contents(store, "a")[-1] == "y" and "y" not in contents(store, "b")


@pytest.mark.parametrize(
    "argv", [["--continue", "--session", "a"], ["--no-save", "--session", "a"], ["--no-save", "--continue"]]
)
def test_options_that_exclude_each_other(llm, argv, file):
    """No name is assumed."""
    run = llm("chat", *argv, stdin=b"x\n")
    assert run.code == 2 and all(word in run.err for word in argv if word.startswith("--")) and not file.exists()


@pytest.mark.parametrize("name", NAMES)
def test_names_that_try_to_escape(llm, name, file):
    """They are refused before anything is opened, and drive no terminal."""
    for argv in (
        ["chat", "--session", name],
        ["sessions", "show", "--", name],
        ["sessions", "rm", "--yes", "--", name],
    ):
        run = llm(*argv, stdin=b"x\n")
        assert run.code == 2 and "\x1b" not in run.err and run.err.count("\n") == 2
    assert {path.name for path in file.parent.glob("*")} <= {"sessions.db"}


def test_the_instructions_are_kept(llm, store):
    """A session keeps its --system; another one replaces it from then on, "" removes it."""

    def system(*argv):
        return llm("chat", "--session", "a", *argv, stdin=b"x\n").backend.requests[-1].messages[0].content

    assert "Speak French." in system("--system", "Speak French.")
    assert "Speak French." in system()
    assert "Speak Finnish." in system("--system", "Speak Finnish.")
    assert "Finnish" in system() and "French" not in system()
    assert "Finnish" not in system("--system", "")
    with store() as sessions:
        assert sessions.get("a").system == ""


def test_another_model_is_reported(llm, terminal, tiny):
    """The model is that of -m or the default as usual; on a terminal a line says that it differs."""
    llm("chat", "--session", "a", stdin=b"x\n")
    other = ["chat", "--session", "a", "-m", str(tiny("chatml"))]
    screen = terminal(columns=400)
    assert llm(*other, stdin=b"x\n", err=screen.slave).code == 0
    assert re.search(
        r"llama.gguf answered in this conversation so far; .*chatml.gguf answers from now on", screen.close()
    )
    for argv, answered in (([], "chatml"), (["-q"], "llama")):
        screen = terminal(columns=400)
        llm("chat", "--session", "a", *argv, stdin=b"x\n", err=screen.slave)
        assert (answered in screen.close()) == (not argv)


def test_an_answer_that_fails_leaves_no_session(llm, file, store):
    """A session is created with its first answer."""
    run = llm("chat", "--session", "a", stdin=b"x\n", answer=lambda _: OutputError("x"))
    assert run.code == 74 and file.exists()
    with store() as sessions:
        assert sessions.list() == []


@pytest.mark.slow
def test_an_interrupted_answer_is_saved(llm, store):
    """The part so far, marked."""
    run = llm("chat", "--session", "a", "--timeout", "2", stdin=b"x\n", answer=lambda _: Reply("so far", stalls=True))
    assert run.code == 124
    with store() as sessions:
        assert [(t.content, t.interrupted) for t in sessions.load_turns(sessions.get("a"))] == [
            ("x", False),
            ("so far", True),
        ]


def test_an_overtaken_chat_becomes_a_branch(llm, store):
    """Another process continued the session during this chat: both conversations are complete, one line says so."""
    llm("chat", "--session", "a", stdin=b"x\n")

    def meanwhile(request):
        if request.messages[-1].content == "mine":
            with store() as sessions:
                session = sessions.get("a")
                said = [
                    *sessions.load_turns(session)[:2],
                    StoredMessage(Role.USER, "theirs"),
                    StoredMessage(Role.ASSISTANT, "yes"),
                ]
                sessions.save(session, said)
        return "fine"

    run = llm("chat", "--session", "a", stdin=b"mine\nmore\n", answer=meanwhile)
    assert run.code == 0 and run.out == "fine\nfine\n"
    assert run.err == "llm: warning: another process continued a; this conversation goes on as a branch of it\n"
    assert contents(store, "a") == ["x", "x", "mine", "fine", "more", "fine"]
    rows = [json.loads(line) for line in llm("sessions", "tree", "a", "--json").out.splitlines()]
    theirs = next(row for row in rows if row["content"] == "theirs")
    assert theirs["parent"] == 2 and not theirs["current"] and len(rows) == 8


def test_a_session_removed_during_a_chat_is_saved_again(llm, store):
    """No later turn is lost, and a line says so."""
    llm("chat", "--session", "a", stdin=b"one\n")
    with store() as sessions:
        session = sessions.get("a")

    def removing(request):
        with store() as sessions:
            sessions.remove([session])
        return "fine"

    run = llm("chat", "--session", "a", stdin=b"two\n", answer=removing)
    assert run.code == 0 and "a was removed in the meantime" in run.err and run.err.count("\n") == 1
    assert contents(store, "a") == ["one", "one", "two", "fine"]


# ---- where nothing can be saved -----------------------------------------------------------------------------------


def test_a_named_session_that_cannot_be_saved_is_an_error_before_the_talk(llm, file):
    """Damaged: 78; no directory can be created: 74. No model is asked."""
    file.parent.mkdir(parents=True)
    file.write_bytes(b"no database " * 100)
    run = llm("chat", "--session", "a", stdin=b"x\n")
    assert (run.code, run.out, run.backend) == (78, "", None) and "Move it away" in run.err
    run = llm("chat", "--session", "a", stdin=b"x\n", env={"LLMCLI_DATA_DIR": str(file / "below")})
    assert (run.code, run.out, run.backend) == (74, "", None) and run.err.count("\n") == 2


def test_a_disk_that_fills_up_does_not_end_a_named_talk(llm, monkeypatch, store):
    """Everything is answered; one error says what is not saved, and the code says that something failed."""
    monkeypatch.setattr(SessionStore, "save", _refusing("No space left on device"))
    run = llm("chat", "--session", "a", stdin=b"one\ntwo\n")
    assert (run.code, run.out) == (3, "one\ntwo\n")
    assert (
        run.err.startswith("llm: session a: cannot write") and "Free some space" in run.err and run.err.count("\n") == 2
    )
    assert [request.session is None for request in run.backend.requests] == [False, True]


def test_unsaved_turns_are_saved_with_the_next_answer(llm, monkeypatch, store):
    """After a lock or a full disk, the conversation is complete in the end, and the code is 0."""
    saving, calls = SessionStore.save, []

    def at_first(self, *given, **more):
        calls.append(given)
        if len(calls) == 1:
            raise TemporaryFailure("sessions.db")
        return saving(self, *given, **more)

    monkeypatch.setattr(SessionStore, "save", at_first)
    run = llm("chat", "--session", "a", stdin=b"one\ntwo\n")
    assert run.code == 0 and contents(store, "a") == ["one", "one", "two", "two"]


def _refusing(detail):
    def save(*_, **__):
        raise OutputError("sessions.db", detail=detail)

    return save


def stray(session_id):
    """Create a file like the engine's state of a conversation, and return it."""
    file = Path(os.environ["LLMCLI_CACHE_DIR"], "prefixes", f"{'a' * 16}-12-{'b' * 32}-{session_id}.state")
    file.parent.mkdir(parents=True, exist_ok=True)
    file.touch()
    return file


@pytest.mark.parametrize("argv", [["work"], ["--all"]])
def test_removing_a_session_removes_orphaned_states(llm, work, store, argv):
    """States of chats that were never saved, or that others removed, are deleted; those of others stay."""
    with store() as sessions:
        other = stray(sessions.get("other").id)
    lost, mine = stray("c" * 32), stray(work.id)
    shared = lost.with_name(f"{'a' * 16}-12-{'b' * 32}.state")  # of a prompt file
    shared.touch()
    assert llm("sessions", "rm", "--yes", *argv).code == 0
    assert not (lost.exists() or mine.exists())
    assert other.exists() == (argv == ["work"]) and shared.exists()
    assert llm("sessions", "rm", "--yes", "--all").code == 0
    stray("c" * 32)
    assert llm("sessions", "rm", "--all").code == 0 and not lost.exists(), "also where nothing is saved"


def test_a_chat_that_is_saved_again_leaves_no_state_under_its_old_id(llm, work, store):
    """Another process removed the session: the state under its id is deleted."""
    kept = stray(work.id)

    def removing(_request):
        with store() as sessions:
            found = sessions.find("work")
            if found.id == work.id:
                sessions.remove([found])
        return "fine"

    run = llm("chat", "--session", "work", stdin=b"and snow?\nand hail?\n", answer=removing)
    assert "work was removed in the meantime" in run.err and run.code == 0
    assert not kept.exists() and contents(store, "work")[::2][1:] == ["and snow?", "and hail?"]


def test_an_unsaved_chat_leaves_no_state(llm, monkeypatch):
    """No state of a conversation that is not saved anywhere."""
    ids = []

    def failing(_self, session, *_, **__):
        ids.append(stray(session.id))
        raise OutputError("sessions.db", detail="No space left on device")

    monkeypatch.setattr(SessionStore, "save", failing)
    assert llm("chat", "--session", "a", stdin=b"one\n").code == 3
    assert ids and not any(file.exists() for file in ids)


def test_nothing_to_answer(llm):
    """Without a terminal and with --no-stdin there is no message."""
    run = llm("chat", "--no-stdin", "--session", "a")
    assert run.code == 2 and "nothing to answer" in run.err


def test_a_damaged_file_is_one_error_for_each_command(llm, file):
    """With the code of what llm keeps and a next step; the file does not change."""
    file.parent.mkdir(parents=True)
    file.write_bytes(b"no database " * 100)
    commands = ["list", "show a", "rm --yes a", "rm --yes --all", "export a", "search a", "rename a b"]
    for argv in commands:
        run = llm("sessions", *argv.split())
        assert (run.code, run.out) == (78, "") and run.err.count("\n") == 2 and "Move it away" in run.err
        assert json.loads(llm("sessions", *argv.split(), "--json").err)["error"]["code"] == 78
    assert file.read_bytes() == b"no database " * 100


# ---- a person -----------------------------------------------------------------------------------------------------

SHORT = ["--max-tokens", "5", "--seed", "1"]


def talk(child, *typed):
    """Type messages, each at its prompt, and leave; return everything that was shown."""
    shown = []
    for text in typed:
        child.expect(PROMPT)
        shown.append(child.before)
        child.sendline(text)
    child.expect(PROMPT)
    shown.append(child.before)
    child.sendeof()
    assert ended(child) == 0
    return re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", "".join([*shown, child.before]))


@pytest.mark.slow
def test_a_chat_on_a_terminal_is_saved_and_continued(person, llm, store):
    """Under a name of date and time; --continue shows it; an empty chat leaves nothing."""
    talk(person("chat"))
    assert llm("sessions", "list").out == ""
    shown = talk(person("chat", *SHORT), "hello there", "once more")
    (row,) = rows(llm("sessions", "list", "--json"))
    assert re.fullmatch(r"20\d\d-\d\d-\d\d-\d{4}", row["name"])
    assert (row["messages"], row["first"]) == (4, "hello there") and f"Saved as {row['name']}." in shown
    shown = talk(person("chat", "--continue", *SHORT), "and now")
    assert re.search(rf"Continuing {row['name']}: 4 messages, the last at 20\d\d-\d\d-\d\d \d\d:\d\d\.", shown)
    assert contents(store, row["name"])[::2] == ["hello there", "once more", "and now"]
    shown = talk(person("chat", "--continue", "-q"))
    assert "Going on" not in shown and "Saved" not in shown


@pytest.mark.slow
@pytest.mark.parametrize(("argv", "env"), [(["--no-save"], {}), ([], {"LLMCLI_CHAT_SAVE": "off"})])
def test_saving_can_be_turned_off(person, file, argv, env):
    """For one chat and for all."""
    talk(person("chat", *SHORT, *argv, env=env), "hello")
    assert not file.exists()


def test_a_chat_says_how_to_continue_with_the_same_model(person, tiny):
    """Without the option another model would answer; a shell reads the path as one word."""
    model = tiny("llama")
    shown = talk(person("chat", "--session", "work", "-m", str(model), *SHORT), "hello")
    assert f"To continue: llm chat -m {model} --session work" in " ".join(shown.split())


@pytest.mark.slow
def test_save_and_reset_in_a_chat(person, store):
    """/save sets a name, also for a chat that was not to be saved; after /reset another chat begins."""
    shown = talk(person("chat", "--no-save", *SHORT), "one", "/save mine", "two", "/save ../x", "/reset", "three")
    assert "This chat is saved as mine." in shown and "cannot be the name" in shown
    assert "A new chat begins; the previous one stays saved as mine." in shown
    assert contents(store, "mine")[::2] == ["one", "two"]
    with store() as sessions:
        assert [each.session.name for each in sessions.list()] == ["mine"], "--no-save holds for chats without a name"
    shown = talk(person("chat", *SHORT), "four", "/save yours", "/reset", "five", "/reset")
    with store() as sessions:
        (other,) = {each.session.name for each in sessions.list()} - {"mine", "yours"}
    assert contents(store, other)[::2] == ["five"]
    assert "Saved as" not in shown, "nothing was said since"


@pytest.mark.slow
def test_only_saved_chats_are_announced(person, store, file):
    """No name is announced for a chat that never began, was removed, or whose file is damaged."""
    shown = talk(person("chat"), "/save mine")
    assert "will be saved after its first answer as mine" in shown and "Saved as" not in shown
    child = person("chat", "--session", "gone", *SHORT)
    child.expect(PROMPT)
    child.sendline("one")
    child.expect(PROMPT)
    with store() as sessions:
        sessions.remove([sessions.get("gone")])
    child.sendeof()
    assert ended(child) == 0 and "Saved as" not in child.before
    child = person("chat", *SHORT)
    child.expect(PROMPT)
    child.sendline("one")
    child.expect(PROMPT)
    file.write_bytes(b"no database " * 1000)
    child.sendline("/reset")
    child.expect(PROMPT)
    assert "A new chat begins; the previous one was not saved." in child.before


def test_alt_enter_begins_a_line(person, store):
    """A message of several lines is one message."""
    child = person("chat", "--session", "lines", *SHORT)
    child.expect(PROMPT)
    child.send("first\x1b\rsecond\r")
    child.expect("second.*\x1b\\[\\?2004h.*>")  # typed, answered, and the next prompt
    child.sendeof()
    assert ended(child) == 0
    assert contents(store, "lines")[0] == "first\nsecond"


@pytest.mark.slow
def test_a_name_that_is_taken_stays_with_its_session(person, work, store):
    """/save reports it, and the chat continues."""
    shown = talk(person("chat", *SHORT), "one", "/save work", "two")
    assert "the session work already exists" in shown and contents(store, "work")[1] == "Water."


@pytest.mark.slow
def test_a_chat_continues_when_nothing_can_be_saved(person, file):
    """One warning, and no answer is lost."""
    file.parent.mkdir(parents=True)
    file.write_bytes(b"no database " * 100)
    shown = talk(person("chat", *SHORT), "one", "two")
    assert shown.count("\nllm: warning: this conversation is not saved") == 1 and "Saved as" not in shown


def test_removing_asks_for_confirmation(person, work, store):
    """On a terminal; Enter means no."""
    child = person("sessions", "rm", "work")
    child.expect(r"Remove work\? \[y/N\]")
    child.sendline("")
    assert ended(child) == 1
    child = person("sessions", "rm", "--all")
    child.expect(r"Remove 2 saved chats\? \[y/N\]")
    child.sendline("y")
    assert ended(child) == 0
    with store() as sessions:
        assert sessions.list() == []


# ---- llm sessions -------------------------------------------------------------------------------------------------


def test_nothing_is_saved_yet(llm, terminal, file):
    """Listing creates no file; a terminal gets a sentence, a program nothing."""
    screen = terminal()
    assert llm("sessions", "list", out=screen.slave).code == 0 and screen.close() == "No chat is saved yet."
    assert llm("sessions", "list").out == llm("sessions", "list", "--json").out == ""
    assert llm("sessions", "rm", "--all", "--yes").code == 0
    assert llm("sessions", "show", "a").code == llm("sessions", "search", "a").code == 66
    assert not file.exists()


def test_the_list(llm, work, terminal):
    """The last used one first: columns, tabs, objects; control sequences of the first question are removed."""
    lines = [line.split("\t") for line in llm("sessions", "list").out.splitlines()]
    assert [(line[0], *line[2:]) for line in lines] == [
        ("work", "2", "", "What is **rain**? Say it briefly."),
        ("other", "2", "", "Hi"),
    ]
    assert re.fullmatch(r"20\d\d-\d\d-\d\dT\d\d:\d\d:\d\dZ", lines[0][1])
    assert list(rows(llm("sessions", "list", "--json"))[0]) == ["name", "updated", "messages", "model", "first"]
    screen = terminal()
    llm("sessions", "list", out=screen.slave)
    shown = screen.close().splitlines()
    assert shown[0].split() == ["NAME", "UPDATED", "MESSAGES", "MODEL", "FIRST"] and shown[1].startswith("work")
    assert b"evil" not in screen.raw


def test_show(llm, work, terminal):
    """Unchanged Markdown in a pipe, rendered without control sequences on a terminal; all fields as an object."""
    out = llm("sessions", "show", "work").out
    assert out.startswith("# work\n") and "## System\n\nBe kind.\n\n## User\n\nWhat is **rain**?\n" in out
    assert out.endswith("## Assistant\n\nWater.\n")
    assert "## Assistant (interrupted)\n\nHo\n" in llm("sessions", "show", "other").out
    screen = terminal()
    llm("sessions", "show", "work", out=screen.slave)
    assert "What is rain?" in screen.close() and b"evil" not in screen.raw
    shown = json.loads(llm("sessions", "show", "work", "--json").out)
    assert (shown["name"], shown["id"], shown["system"]) == ("work", work.id, "Be kind.")
    assert [(m["role"], m["interrupted"]) for m in shown["messages"]] == [("user", False), ("assistant", False)]


def test_a_missing_name(llm, work):
    """66, with similar names."""
    run = llm("sessions", "show", "wrok")
    assert run.code == 66 and run.err == "llm: no session called wrok\nDid you mean work?\n"
    assert "Try: llm sessions list" in llm("sessions", "show", "nothing-like-it").err


def test_export(llm, work, tmp_path, terminal):
    """As Markdown or as OpenAI's messages, printed or written; a terminal gets no control sequences."""
    messages = json.loads(llm("sessions", "export", "work", "--json").out)
    assert [message["role"] for message in messages] == ["system", "user", "assistant"]
    assert messages[1]["content"].startswith("What is **rain**?\nSay it \x1b]0;evil")
    target = tmp_path / "work.md"
    assert llm("sessions", "export", "work", "-o", str(target)).out == ""
    assert target.read_text() == llm("sessions", "export", "work").out == llm("sessions", "show", "work").out
    screen = terminal()
    llm("sessions", "export", "work", out=screen.slave)
    assert "Water." in screen.close() and b"evil" not in screen.raw
    assert llm("sessions", "export", "work", "-o", "/no/such/directory/x").code == 73


def test_search(llm, work, terminal):
    """The line with the number of its message, ignoring case; no match is 66 as for llm models search."""
    assert llm("sessions", "search", "WATER").out == "work\t2\tassistant\tWater.\n"
    assert rows(llm("sessions", "search", "rain", "--json"))[0]["message"] == 1
    run = llm("sessions", "search", "snow")
    assert run.code == 66 and run.out == "" and run.err.startswith("llm: no saved chat mentions snow\n")
    assert llm("sessions", "search", "  ").code == 2
    screen = terminal()
    llm("sessions", "search", "briefly", out=screen.slave)
    assert "Say it briefly." in screen.close() and b"evil" not in screen.raw


def test_a_terminal_shows_the_place_in_a_long_line(llm, store, terminal):
    """Also if case folding adds characters to the line."""
    with store() as sessions:
        sessions.save(
            new_session("a"),
            [StoredMessage(Role.USER, "ß" * 300 + " needle " + "y" * 300), StoredMessage(Role.ASSISTANT, "no")],
        )
    screen = terminal()
    llm("sessions", "search", "NEEDLE", out=screen.slave)
    assert "needle" in screen.close()


def test_rm(llm, work, store):
    """Several at once or none, with the states that a model kept. Without a terminal: --yes."""
    mine = stray(work.id)
    prompts = mine.with_name(f"{'a' * 16}-12-{'0' * 32}.state")  # of a prompt file
    prompts.touch()
    assert "llm sessions rm --yes work --json" in llm("sessions", "rm", "work", "--json").err
    run = llm("sessions", "rm", "work")
    assert run.code == 2 and "llm sessions rm --yes work" in run.err
    assert llm("sessions", "rm", "--yes", "work", "nothing").code == 66 and mine.exists()
    assert rows(llm("sessions", "rm", "--yes", "work", "other", "work", "--json")) == [{"removed": ["work", "other"]}]
    assert prompts.exists() and not mine.exists()
    assert llm("sessions", "list").out == ""


def test_removing_all_removes_typed_lines_and_old_copies(llm, work, file):
    """Removing one chat leaves them, since they may belong to others."""
    sides = [file.with_name("chat_history"), file.with_name("sessions.db.v1-backup")]
    for side in sides:
        side.write_text("secret")
    assert llm("sessions", "rm", "--yes", "work").code == 0 and all(side.exists() for side in sides)
    assert llm("sessions", "rm", "--yes", "--all").code == 0 and not any(side.exists() for side in sides)


@pytest.mark.parametrize("argv", [[], ["--all", "work"]])
def test_rm_wants_names_or_all(llm, work, argv):
    """Not both, not none."""
    assert llm("sessions", "rm", "--yes", *argv).code == 2


def test_rename(llm, work):
    """Another session's name is refused."""
    assert llm("sessions", "rename", "work", "play").code == 0
    assert llm("sessions", "show", "play").code == 0 and llm("sessions", "show", "work").code == 66
    run = llm("sessions", "rename", "play", "other")
    assert run.code == 2 and "the session other already exists" in run.err
    assert llm("sessions", "rename", "play", "../x").code == 2


def test_names_are_offered(llm, work, monkeypatch):
    """A Tab press offers saved chats for chat and sessions, without control sequences."""
    monkeypatch.setenv("_LLM_COMPLETE", "complete_fish")
    monkeypatch.setenv("_TYPER_COMPLETE_FISH_ACTION", "get-args")
    for line in (
        "chat --session w",
        "sessions show w",
        "sessions rm other w",
        "sessions export w",
        "sessions rename w",
    ):
        monkeypatch.setenv("_TYPER_COMPLETE_ARGS", f"llm {line}")
        run = llm()
        assert run.out.strip() == "work\tWhat is **rain**? Say it briefly." and run.err == ""


def test_two_commands_create_one_name_at_once(llm, process, store):
    """Two scripts that create the same session at the same time: both conversations are saved."""
    both = [process("chat", "--session", "a", *SHORT, stdin=-1) for _ in range(2)]
    threads = [threading.Thread(target=each.communicate, args=(b"hello\n",)) for each in both]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert {each.returncode for each in both} <= {0, 3}
    with store() as sessions:
        (session,) = (each.session for each in sessions.list())
        assert [turn.content for turn in sessions.load_tree(session)].count("hello") == 2


@pytest.fixture
def branched(llm):
    """Save a chat called work that has a branch after its second message, written by two chats."""
    for lines in (b"one\ntwo\n", b"three\n"):
        assert llm("chat", "--session", "work", stdin=lines).code == 0
    assert llm("sessions", "fork", "work", "--at", "2", "--as", "other").out == "other\n"
    assert llm("chat", "--session", "other", stdin=b"four\n").code == 0


def test_a_fork_shares_messages(llm, branched, store):
    """The new chat sends the messages up to the fork; the first one is unchanged; the default name is free."""
    assert contents(store, "other") == ["one", "one", "four", "four"]
    assert contents(store, "work")[::2] == ["one", "two", "three"]
    assert rows(llm("sessions", "fork", "work", "--json")) == [{"name": "work-fork", "from": "work", "at": None}]
    assert llm("sessions", "fork", "work").out == "work-fork-2\n"
    assert contents(store, "work-fork") == contents(store, "work")


def test_forks_that_are_refused(llm, branched):
    """A name that is taken, or invalid; a message or a chat that does not exist."""
    for argv, code in (
        (["work", "--as", "other"], 2),
        (["work", "--as", "../x"], 2),
        (["work", "--at", "7"], 2),
        (["work", "--at", "0"], 2),
        (["nothing"], 66),
    ):
        run = llm("sessions", "fork", *argv)
        assert (run.code, run.out) == (code, "") and run.err.count("\n") == 2


def test_the_tree(llm, branched, store, terminal):
    """Only branches are indented, and a star marks the current one; rows for programs; no control sequences."""
    with store() as sessions:
        session = sessions.get("work")
        turns = sessions.load_turns(session)
        said = [StoredMessage(Role.USER, "x\x1b]0;evil\x07y"), StoredMessage(Role.ASSISTANT, "z", interrupted=True)]
        sessions.save(session, [*turns[:2], *said])
        sessions.pin(session, turns[0].id, pinned=True)
    screen = terminal()
    llm("sessions", "tree", "work", out=screen.slave)
    assert screen.close().splitlines() == [
        "* 1 user (pinned): one",
        "* 2 assistant: one",
        "├─   3 user: two",
        "│    4 assistant: two",
        "│    5 user: three",
        "│    6 assistant: three",
        "└─ * 7 user: xy",
        "   * 8 assistant (interrupted): z",
    ]
    lines = [line.split("\t") for line in llm("sessions", "tree", "work").out.splitlines()]
    assert [line[:2] for line in lines[:3]] == [["1", ""], ["2", "1"], ["3", "2"]] and lines[6][1] == "2"
    (row, *_) = rows(llm("sessions", "tree", "work", "--json"))
    assert list(row) == ["number", "parent", "role", "current", "pinned", "interrupted", "time", "content"]
    assert llm("sessions", "tree", "nothing").code == 66


def test_a_search_finds_all_branches(llm, branched):
    """Under the chat that wrote the message, with its number in the tree."""
    assert llm("sessions", "search", "two").out == "work\t3\tuser\ttwo\nwork\t4\tassistant\ttwo\n"
    assert llm("sessions", "search", "one").out == "work\t1\tuser\tone\nwork\t2\tassistant\tone\n"
    assert llm("sessions", "search", "four").out.splitlines()[0] == "other\t3\tuser\tfour"


def test_a_newer_file_is_refused(llm, work, file):
    """By every command, with 78 and a next step; it does not change."""
    import sqlite3

    connection = sqlite3.connect(file)
    connection.execute("PRAGMA user_version = 99")
    connection.close()
    before = file.read_bytes()
    for argv in (["sessions", "list"], ["sessions", "tree", "work"], ["chat", "--session", "work"]):
        run = llm(*argv, stdin=b"x\n")
        assert (run.code, run.out) == (78, "") and "a newer version of llm" in run.err and run.err.count("\n") == 2
    assert file.read_bytes() == before
