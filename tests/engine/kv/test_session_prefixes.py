"""Saved conversations on disk: the next process continues where the last one ended, with the answers of a fresh one."""

from __future__ import annotations

import pytest
from engine.tools import Engine, answer, each_model, req

from llmcli.config.engine_options import EngineOptions
from llmcli.engine.kv import disk_prefix_cache
from llmcli.errors import UsageError
from llmcli.types import Message, Role

MODEL_ID = "5e" * 32
ONE, OTHER = "0123456789abcdef" * 2, "f" * 32
FIRST = "hello is it in the world of yes and no and what is it to you"
SAYS = 'start: "yes it is in the world"'


@pytest.fixture(autouse=True)
def _fast_disk(monkeypatch):
    """Make the disk count as fast on any machine, since tiny models evaluate about as fast as a slow disk reads."""
    monkeypatch.setattr(disk_prefix_cache, "_DISK_BYTES_PER_S", 1e15)


def turn(*texts, session=ONE, **fields):
    """Return the request for an answer to the last of ``texts``, which alternate between user and assistant."""
    roles = (Role.USER, Role.ASSISTANT)
    messages = tuple(Message(roles[number % 2], text) for number, text in enumerate(texts))
    return req("a", messages=messages, session=session, **{"grammar": SAYS, **fields})


def scored(*texts, session=ONE):
    """Return the request for log-probabilities of possible next answers."""
    return turn(*texts, session=session, grammar=None, max_tokens=None, candidates=("yes", "no", "hello world"))


def logprobs(outcome):
    return [score.logprob for score in outcome.scores]


@pytest.fixture
def ask(tiny, tmp_path):
    """Return a function that answers requests one after another in a new process and returns the last outcome."""

    def run(name, *requests, **options):
        options = {"cache": tmp_path, "prefix_bytes": 1 << 24, "threads": 1, **options}
        engine = Engine(tiny(name), name, MODEL_ID, EngineOptions(**options), lambda: None)
        try:
            for request in requests:
                outcome = answer(engine, request)["a"]
        finally:
            engine.close()
        return outcome

    return run


def files(tmp_path):
    return sorted(file.name for file in (tmp_path / "prefixes").glob("*"))


@each_model
def test_the_next_process_continues(ask, tmp_path, name):
    """An evaluated conversation is not evaluated again, and the answer is the same.

    If the memory can be truncated, the answer is part of the saved state. Otherwise only the tokens before it are: the
    tokens that a model chose may differ from the tokenization of their text.
    """
    said = ask(name, turn(FIRST))
    assert len(files(tmp_path)) == 1
    went_on = ask(name, scored(FIRST, said.text, "what"))
    fresh = ask(name, scored(FIRST, said.text, "what", session=None), cache=None)
    assert went_on.cached > said.finished.usage.prompt_tokens - 8
    assert went_on.cached >= 20
    assert fresh.cached == 0
    assert logprobs(went_on) == pytest.approx(logprobs(fresh), abs=1.5)


@each_model
def test_a_conversation_that_was_changed(ask, name):
    """The present messages count, whatever is on disk: the state is truncated if possible, else evaluated again."""
    ask(name, turn(FIRST))
    asked = (FIRST, "no it is not", "what")
    went_on, fresh = ask(name, scored(*asked)), ask(name, scored(*asked, session=None), cache=None)
    assert logprobs(went_on) == pytest.approx(logprobs(fresh), abs=1.5)


def test_one_file_for_each_conversation(ask, tmp_path):
    """A continued conversation replaces its file; another conversation has its own file."""
    ask("chatml", turn(FIRST))
    (first,) = files(tmp_path)
    ask("chatml", turn(FIRST, "yes it is in the world", "hello"), turn("no", session=OTHER))
    now = files(tmp_path)
    assert len(now) == 2
    assert first not in now
    assert {name[-39:] for name in now} == {f"-{ONE}.state", f"-{OTHER}.state"}


def test_an_unsaved_conversation_leaves_no_file(ask, tmp_path):
    """A conversation without a session leaves no file."""
    ask("chatml", turn(FIRST, session=None))
    assert not files(tmp_path)


@each_model
def test_a_cancelled_answer_leaves_no_file(tiny, tmp_path, name):
    """Its client may have been killed before it saved anything."""
    engine = Engine(tiny(name), name, MODEL_ID, EngineOptions(cache=tmp_path, prefix_bytes=1 << 24), lambda: None)
    try:
        with engine.open() as job:
            job.submit(turn(FIRST, grammar=None, max_tokens=4000, ignore_eos=True))
            next(iter(job))
    finally:
        engine.close()
    assert not list(tmp_path.rglob("*.state"))


def test_a_conversation_that_is_quick_to_evaluate_is_not_stored(ask, tmp_path, monkeypatch):
    """If the disk is slower than the model, nothing is written."""
    monkeypatch.setattr(disk_prefix_cache, "_DISK_BYTES_PER_S", 1e-9)
    ask("chatml", turn(FIRST))
    assert not files(tmp_path)


@pytest.mark.parametrize("damage", [b"", b"llmstate", None], ids=["empty", "head", "one byte"])
def test_a_damaged_file_is_not_used(ask, tmp_path, damage):
    """A file that differs in any byte is evaluated again."""
    said = ask("chatml", turn(FIRST))
    (file,) = (tmp_path / "prefixes").glob("*")
    data = bytearray(file.read_bytes())
    data[len(data) // 2] ^= 1
    file.write_bytes(bytes(data) if damage is None else damage)
    assert ask("chatml", turn(FIRST, said.text, "what")).cached == 0
    assert ask("chatml", turn(FIRST, said.text, "what")).cached > 0


def test_other_settings_do_not_use_it(ask):
    """A state is only valid for the settings that it was made with."""
    said = ask("chatml", turn(FIRST), kv_type="f16")
    assert ask("chatml", turn(FIRST, said.text, "what"), kv_type="q8_0").cached == 0


def test_a_process_with_the_conversation_in_memory_reads_nothing(ask, monkeypatch):
    """Within a process the memory suffices."""
    monkeypatch.setattr("llmcli.engine.kv.disk_prefix_store.PrefixStore.load", lambda *_: pytest.fail("it was read"))
    outcome = ask("chatml", turn(FIRST), turn(FIRST, "yes it is in the world", "what"))
    assert outcome.cached > 0


@pytest.mark.parametrize("session", ["", "../x", ONE + "0", ONE.upper(), "*" * 32])
def test_invalid_ids_are_refused(ask, session):
    """An id becomes a part of a file's name, so only hexadecimal digits are allowed."""
    outcome = ask("chatml", turn(FIRST, session=session))
    assert isinstance(outcome.error, UsageError)
