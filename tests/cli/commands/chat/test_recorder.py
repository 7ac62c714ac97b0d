"""A chat is saved in its session, also when saving fails or another process continues it."""

from __future__ import annotations

import os

import pytest

from llmcli.cli.command_context import CommandContext
from llmcli.cli.commands.chat import session_files
from llmcli.cli.commands.chat.recorder import ChatRecorder, choose_recorder
from llmcli.cli.console.console import Console
from llmcli.cli.console.environment import Environment
from llmcli.cli.flags import Flags
from llmcli.errors import MissingError, UsageError
from llmcli.interrupt import Interrupt
from llmcli.store.session import StoredMessage, new_session
from llmcli.types import Role

TURNS = (StoredMessage(Role.USER, "hello"), StoredMessage(Role.ASSISTANT, "hi"))
MORE = (*TURNS, StoredMessage(Role.USER, "again"), StoredMessage(Role.ASSISTANT, "hi again"))


@pytest.fixture
def saved(tmp_path):
    """Return a function that makes a recorder of the session of a name, and one that returns its turns."""
    path, log = tmp_path / "data" / "sessions.db", tmp_path / "err"
    forgotten = []

    def forget(is_forgotten):
        forgotten.extend(each for each in known if is_forgotten(each))

    known = set()

    def make(name="work", *, named=True, by_default=True, turns=(), session=None):
        session = session or new_session(name)
        known.add(session.id)
        return ChatRecorder(console, path, session, turns, forget_states=forget, by_default=by_default, named=named)

    with log.open("wb") as file:
        console = Console(Environment(stderr=file.fileno()), Interrupt())
        make.path, make.said, make.forgotten, make.known = path, log.read_text, forgotten, known
        yield make


def names(path):
    """Return names and numbers of messages of the saved chats."""
    with session_files.open_read_only(path) as sessions:
        return {each.session.name: each.message_count for each in sessions.list()}


def block(path):
    """Prevent saving at ``path`` until ``path.parent`` is a directory again."""
    path.parent.rename(path.parent.with_name("aside"))
    path.parent.write_text("a file is in the way")


def unblock(path):
    """Undo ``block``."""
    path.parent.unlink()
    path.parent.with_name("aside").rename(path.parent)


def test_each_answer_is_saved_once(saved):
    """Saved turns are not saved again."""
    recorder = saved()
    for turns in (TURNS, MORE):
        recorder.save(turns, "tiny")
    assert names(saved.path) == {"work": 4} and recorder.is_saved and recorder.changed
    assert recorder.id == recorder.session.id and recorder.model == "tiny"


def test_nothing_is_saved_when_saving_is_off(saved):
    """Requests have no session id, so that no model keeps anything of it."""
    recorder = saved(named=False, by_default=False)
    recorder.save(TURNS, "tiny")
    assert recorder.id is None and not saved.path.exists() and not recorder.is_saved


def test_a_failure_is_told_once_and_costs_the_code_of_a_named_chat(saved):
    """The chat continues without an id; once it can be saved again, all of it is saved."""
    recorder = saved()
    recorder.save(TURNS, "tiny")
    block(saved.path)
    for turns in (MORE, MORE):
        recorder.save(turns, "tiny")
        recorder.flush_warnings()
    assert saved.said().count("session work: ") == 1
    assert recorder.id is None and recorder.exit_code == 3 and not recorder.is_saved
    unblock(saved.path)
    recorder.save(MORE, "tiny")
    assert names(saved.path) == {"work": 4} and recorder.exit_code == 0 and recorder.id is not None


def test_a_chat_without_a_name_warns_and_succeeds(saved):
    """The user did not ask to save it."""
    recorder = saved(named=False)
    recorder.save(TURNS, "tiny")
    block(saved.path)
    recorder.save(MORE, "tiny")
    recorder.flush_warnings()
    assert "llm: warning: this conversation is not saved: " in saved.said() and recorder.exit_code == 0


def test_states_of_a_failed_session_are_forgotten(saved):
    """A model may have kept a state under the id before saving failed; once saved, the id is valid again."""
    recorder = saved()
    recorder.save(TURNS, "tiny")
    block(saved.path)
    recorder.save(MORE, "tiny")
    recorder.flush_warnings()
    assert saved.forgotten == [recorder.session.id]
    unblock(saved.path)
    recorder.save(MORE, "tiny")
    saved.forgotten.clear()
    recorder.flush_warnings()
    assert saved.forgotten == []


def test_a_session_that_another_process_continued_gets_a_branch(saved):
    """One line tells the user, once."""
    first = saved()
    turns = first.save(TURNS, "tiny")
    second = saved(session=first.session, turns=turns)
    second.save((*turns, *MORE[2:]), "tiny")
    mine = first.save((*turns, StoredMessage(Role.USER, "else"), StoredMessage(Role.ASSISTANT, "what?")), "tiny")
    first.save((*mine, *MORE[2:]), "tiny")
    first.flush_warnings()
    assert names(saved.path) == {"work": 6} and len(first.load_tree()) == 8
    assert saved.said().count("another process continued work; this conversation goes on as a branch of it") == 1
    assert saved.forgotten == []


def test_a_session_removed_meanwhile_is_saved_completely(saved):
    """A message tells the user."""
    recorder = saved()
    recorder.save(TURNS, "tiny")
    with session_files.open_sessions(saved.path) as sessions:
        sessions.remove([recorder.session])
    recorder.save(MORE, "tiny")
    recorder.flush_warnings()
    assert names(saved.path) == {"work": 4} and "work was removed in the meantime" in saved.said()


def test_the_name_is_looked_up_before_it_is_shown(saved):
    """Another process may have renamed the session."""
    recorder = saved()
    assert not recorder.refresh_saved_name()
    recorder.save(TURNS, "tiny")
    with session_files.open_sessions(saved.path) as sessions:
        sessions.rename(recorder.session, "renamed")
    assert recorder.refresh_saved_name() and recorder.session.name == "renamed"


def test_renaming_needs_a_free_and_valid_name(saved):
    """An unsaved chat is saved from now on."""
    saved("other").save(TURNS, "tiny")
    recorder = saved(named=False, by_default=False)
    for name in ("other", "no/name", ""):
        with pytest.raises(UsageError):
            recorder.rename(name)
    recorder.rename("mine")
    recorder.save(TURNS, "tiny")
    assert names(saved.path) == {"other": 2, "mine": 2} and recorder.named


def test_another_session_begins_with_the_same_instructions(saved):
    """It has a generated name, its own id, and is saved only by default."""
    recorder = saved(session=new_session("work", "be brief"), by_default=False)
    before = recorder.session
    recorder.save(TURNS, "tiny")
    recorder.renew()
    assert recorder.session.system == "be brief" and recorder.session.id != before.id
    assert recorder.session.name != "work" and not recorder.saves and not recorder.is_saved


def test_options_that_exclude_each_other_are_refused():
    """Each names a session, or none."""
    with CommandContext(Flags(), Environment(environ=dict(os.environ)), Interrupt()) as ctx:
        for name, go_on, off in (("work", True, False), ("work", False, True), (None, True, True)):
            with pytest.raises(UsageError):
                choose_recorder(ctx, name, go_on=go_on, off=off, system=None)
        with pytest.raises(MissingError):
            choose_recorder(ctx, None, go_on=True, off=False, system=None)


def test_a_named_session_continues_and_its_instructions_may_be_replaced():
    """The turns are loaded; without --system the instructions stay."""
    with CommandContext(Flags(), Environment(environ=dict(os.environ)), Interrupt()) as ctx:
        choose_recorder(ctx, "work", go_on=False, off=False, system="be brief").save(TURNS, "tiny")
        again = choose_recorder(ctx, "work", go_on=False, off=False, system=None)
        assert [turn.content for turn in again.turns] == ["hello", "hi"] and again.session.system == "be brief"
        assert choose_recorder(ctx, None, go_on=True, off=False, system="be long").session.system == "be long"
