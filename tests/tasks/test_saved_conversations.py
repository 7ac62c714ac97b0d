"""Saved conversations: what is saved, and how they continue."""

from __future__ import annotations

import pytest
from scripted import Reply, ScriptedBackend
from tasks.helpers import error, notices, result

from llmcli.errors import InternalError
from llmcli.store.turn import Turn
from llmcli.tasks.chat import Conversation
from llmcli.tasks.execution.task_requests import GenerationOptions
from llmcli.types import Delta, Result, Role

ID = "0123456789abcdef" * 2


class Keeper:
    """Records what is to be saved."""

    def __init__(self, *turns, model=""):
        self.turns, self.model, self.id = turns, model, ID
        self.saves, self.models, self.renewed = [], [], 0

    def save(self, turns, model):
        self.saves.append([(turn.content, turn.interrupted) for turn in turns])
        self.models.append(model)

    def renew(self):
        self.renewed += 1


@pytest.fixture
def talk(prompts):
    """Return a function that begins a conversation with a backend, saved by a keeper."""
    return lambda backend, keeper, **more: Conversation(backend, prompts, GenerationOptions(), saved=keeper, **more)


def test_each_answer_is_saved_before_its_result(talk):
    """It is saved before the result is yielded."""
    keeper = Keeper()
    events = talk(ScriptedBackend(lambda _: "fine"), keeper).send("one")
    assert isinstance(next(events), Delta) and keeper.saves == []
    assert isinstance(next(events), Result)
    assert keeper.saves == [[("one", False), ("fine", False)]] and keeper.models == ["scripted"]


def test_earlier_turns_are_sent_and_saved(talk):
    """A conversation continues where it was."""
    keeper = Keeper(Turn(Role.USER, "one"), Turn(Role.ASSISTANT, "two"), model="scripted")
    backend = ScriptedBackend(lambda _: "four")
    conversation = talk(backend, keeper)
    assert notices(conversation.send("three")) == []
    assert [message.content for message in backend.requests[0].messages[1:]] == ["one", "two", "three"]
    assert [content for content, _ in keeper.saves[0]] == ["one", "two", "three", "four"]


def test_turns_have_their_times(talk):
    """A question is not newer than its answer."""
    conversation = talk(ScriptedBackend(), Keeper())
    result(conversation.send("one"))
    question, answer = conversation.history
    assert 1_600_000_000 < question.time <= answer.time


def test_requests_carry_the_session(talk, prompts):
    """An engine may keep their state; requests of an unsaved conversation carry none."""
    backend, keeper = ScriptedBackend(), Keeper()
    conversation = talk(backend, keeper)
    result(conversation.send("one"))
    keeper.id = None
    result(conversation.send("two"))
    result(Conversation(backend, prompts, GenerationOptions()).send("three"))
    assert [request.session for request in backend.requests] == [ID, None, None]


def test_an_interrupted_answer_is_saved_as_interrupted(talk):
    """The part that was generated."""
    keeper = Keeper()
    events = talk(ScriptedBackend(lambda _: Reply("half an answer", stalls=True)), keeper).send("one")
    next(events), next(events)
    events.close()
    assert keeper.saves == [[("one", False), ("half an", True)]]


def test_a_failed_answer_is_saved_as_interrupted(talk):
    """Nothing that was shown is lost; a message without any answer is not saved."""
    keeper = Keeper()
    reply = Reply("half", error=InternalError())
    assert isinstance(error(talk(ScriptedBackend(lambda _: reply), keeper).send("one")), InternalError)
    assert keeper.saves == [[("one", False), ("half", True)]]
    assert isinstance(error(talk(ScriptedBackend(lambda _: InternalError()), keeper).send("one")), InternalError)
    assert len(keeper.saves) == 1


def test_a_reset_begins_another_session(talk):
    """The old conversation stays saved."""
    keeper = Keeper()
    conversation = talk(ScriptedBackend(), keeper)
    result(conversation.send("one"))
    conversation.reset()
    result(conversation.send("two"))
    assert keeper.renewed == 1 and keeper.saves[-1] == [("two", False), ("two", False)]


def test_another_model_is_reported_once(talk):
    """A notice says that another model continues the conversation."""
    keeper = Keeper(Turn(Role.USER, "one"), Turn(Role.ASSISTANT, "two"), model="large")
    conversation = talk(ScriptedBackend(model="small"), keeper)
    assert notices(conversation.send("x")) == ["large answered in this conversation so far; small answers from now on"]
    assert notices(conversation.send("y")) == []


def test_a_conversation_may_be_saved_later(prompts):
    """With all earlier turns; an empty one leaves nothing."""
    keeper = Keeper()
    conversation = Conversation(ScriptedBackend(), prompts, GenerationOptions())
    conversation.save_to(keeper)
    assert keeper.saves == []
    other = Conversation(ScriptedBackend(), prompts, GenerationOptions())
    result(other.send("one"))
    other.save_to(keeper)
    assert keeper.saves == [[("one", False), ("one", False)]]


def test_a_long_saved_conversation_is_sent_as_far_as_it_fits(talk):
    """With a smaller context the oldest turns are left out and a notice says so; all turns stay saved."""
    turns = [Turn(role, "word " * 10) for _ in range(10) for role in (Role.USER, Role.ASSISTANT)]
    keeper = Keeper(*turns)
    (notice,) = notices(talk(ScriptedBackend(lambda _: "fine", context=100), keeper).send("and now?"))
    assert "no longer fit" in notice and len(keeper.saves[0]) == 22
