"""Saved conversations: what is saved, and how they continue."""

from __future__ import annotations

from dataclasses import replace

import pytest
from scripted import Reply, ScriptedBackend
from tasks.helpers import error, notices, result

from llmcli.errors import InternalError
from llmcli.store.session import StoredMessage
from llmcli.tasks.chat import conversation
from llmcli.tasks.chat.conversation import Conversation
from llmcli.tasks.runner.task_requests import GenerationOptions
from llmcli.types import Delta, Result, Role

ID = "0123456789abcdef" * 2


class Keeper:
    """Records what is to be saved, and gives each message an id."""

    def __init__(self, *turns, model=""):
        self.turns, self.model, self.id = self._number((), turns), model, ID
        self.saves, self.models, self.renewed, self.withdrawn = [], [], 0, []
        self.summaries, self.updates = [], []

    def _number(self, earlier, turns):
        self.last = getattr(self, "last", 0)
        numbered = list(earlier)
        for turn in turns:
            self.last += not turn.id
            parent = numbered[-1].id if numbered else 0
            numbered.append(turn if turn.id else replace(turn, id=self.last, parent=parent))
        return tuple(numbered)

    def save(self, turns, model):
        self.turns = self._number((), turns)
        self.saves.append([(turn.content, turn.interrupted) for turn in turns])
        self.models.append(model)
        return self.turns

    def update(self, turn):
        assert turn.id == self.turns[-1].id
        self.turns = (*self.turns[:-1], turn)
        self.updates.append((turn.content, turn.interrupted))

    def withdraw(self, turn):
        self.withdrawn.append(turn.content)
        self.turns = self.turns[:-1]

    def find_summary(self, turns):
        return next((each for each in self.summaries if each.turn in {turn.id for turn in turns}), None)

    def save_summary(self, summary):
        self.summaries.append(summary)

    def renew(self):
        self.renewed += 1

    @property
    def said(self):
        """What is saved in the end."""
        return [(turn.content, turn.interrupted) for turn in self.turns]


@pytest.fixture
def talk(prompts):
    """Return a function that begins a conversation with a backend, saved by a keeper."""
    return lambda backend, keeper, **more: Conversation(backend, prompts, GenerationOptions(), saved=keeper, **more)


def test_each_answer_is_saved_before_its_result(talk):
    """The question before it is sent, the answer when it begins and before the result is yielded."""
    keeper = Keeper()
    events = talk(ScriptedBackend(lambda _: "fine thing"), keeper).send("one")
    assert isinstance(next(events), Delta)
    assert keeper.saves == [[("one", False)], [("one", False), ("fine", True)]]
    assert isinstance(next(events), Delta) and isinstance(next(events), Result)
    assert keeper.said == [("one", False), ("fine thing", False)] and set(keeper.models) == {"scripted"}


def test_an_answer_is_saved_while_it_is_written(talk, monkeypatch):
    """What a killed process leaves is marked as interrupted."""
    monkeypatch.setattr(conversation, "PARTIAL_SAVE_S", 0.0)
    keeper = Keeper()
    result(talk(ScriptedBackend(lambda _: "a b c"), keeper).send("one"))
    assert keeper.updates == [("a b", True), ("a b c", True), ("a b c", False)]


def test_earlier_turns_are_sent_and_saved(talk):
    """A conversation continues where it was."""
    keeper = Keeper(StoredMessage(Role.USER, "one"), StoredMessage(Role.ASSISTANT, "two"), model="scripted")
    backend = ScriptedBackend(lambda _: "four")
    conversation = talk(backend, keeper)
    assert notices(conversation.send("three")) == []
    assert [message.content for message in backend.requests[0].messages[1:]] == ["one", "two", "three"]
    assert [content for content, _ in keeper.said] == ["one", "two", "three", "four"]


def test_a_question_that_a_killed_process_left_can_be_asked_again(talk):
    """It is not sent with the next message; a retry answers it."""
    left = (StoredMessage(Role.USER, "one"), StoredMessage(Role.ASSISTANT, "two"), StoredMessage(Role.USER, "three"))
    backend = ScriptedBackend(lambda _: "four")
    conversation = talk(backend, keeper := Keeper(*left))
    assert conversation.unanswered.content == "three" and len(conversation.history) == 2
    result(conversation.retry())
    assert [message.content for message in backend.requests[0].messages[1:]] == ["one", "two", "three"]
    assert [turn.id for turn in keeper.turns] == [1, 2, 3, 4] and conversation.unanswered is None
    conversation = talk(backend, keeper := Keeper(*left))
    result(conversation.send("other"))
    assert [turn.content for turn in keeper.turns] == ["one", "two", "other", "four"]


def test_a_retry_makes_a_branch(talk):
    """The question keeps its id, the answer is new; a retry that fails leaves the earlier answer."""
    answers = iter(["one", "two", InternalError()])
    conversation = talk(ScriptedBackend(lambda _: next(answers)), keeper := Keeper())
    result(conversation.send("q"))
    result(conversation.retry())
    assert [turn.id for turn in keeper.turns] == [1, 3] and keeper.said[1] == ("two", False)
    error(conversation.retry())
    assert [turn.id for turn in keeper.turns] == [1, 3] and keeper.withdrawn == []
    assert [turn.content for turn in conversation.history] == ["q", "two"]


def test_an_edited_question_makes_a_branch(talk):
    """The turns before it stay; those after it are not sent; if it fails, the earlier branch stays."""
    answers = iter(["a", "b", "c", InternalError()])
    backend = ScriptedBackend(lambda _: next(answers))
    conversation = talk(backend, keeper := Keeper())
    for text in ("one", "two"):
        result(conversation.send(text))
    result(conversation.edit(2, "three"))
    assert [turn.content for turn in keeper.turns] == ["one", "a", "three", "c"]
    assert [turn.id for turn in keeper.turns] == [1, 2, 5, 6]
    error(conversation.edit(0, "four"))
    assert keeper.withdrawn == ["four"] and [turn.id for turn in conversation.history] == [1, 2, 5, 6]
    assert [turn.id for turn in keeper.turns] == [1, 2, 5, 6]


def test_going_back(talk):
    """Turns are taken back in pairs; going back further than the beginning leaves an empty conversation."""
    conversation = talk(ScriptedBackend(), keeper := Keeper())
    for text in ("one", "two", "three"):
        result(conversation.send(text))
    conversation.go_back(2)
    assert [turn.content for turn in conversation.history] == ["one", "one"] and len(keeper.turns) == 2
    conversation.go_back(5)
    assert conversation.history == () and keeper.turns == ()


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
    assert keeper.said == [("one", False), ("half an", True)]


def test_a_failed_answer_is_saved_as_interrupted(talk):
    """Nothing that was shown is lost; a message without any answer is not saved."""
    keeper = Keeper()
    reply = Reply("half", error=InternalError())
    assert isinstance(error(talk(ScriptedBackend(lambda _: reply), keeper).send("one")), InternalError)
    assert keeper.said == [("one", False), ("half", True)]
    assert isinstance(error(talk(ScriptedBackend(lambda _: InternalError()), keeper).send("two")), InternalError)
    assert keeper.said == [("one", False), ("half", True)] and keeper.withdrawn == ["two"]


def test_a_reset_begins_another_session(talk):
    """The old conversation stays saved."""
    keeper = Keeper()
    conversation = talk(ScriptedBackend(), keeper)
    result(conversation.send("one"))
    conversation.reset()
    result(conversation.send("two"))
    assert keeper.renewed == 1 and keeper.said == [("two", False), ("two", False)]


def test_another_model_is_reported_once(talk):
    """A notice says that another model continues the conversation."""
    keeper = Keeper(StoredMessage(Role.USER, "one"), StoredMessage(Role.ASSISTANT, "two"), model="large")
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
    """With a smaller context a summary replaces the oldest turns and a notice says so; all turns stay saved."""
    turns = [StoredMessage(role, "word " * 5) for _ in range(10) for role in (Role.USER, Role.ASSISTANT)]
    backend = ScriptedBackend(lambda request: "short" if "summary" in request.id else "fine", context=200)
    keeper = Keeper(*turns)
    told = notices(talk(backend, keeper).send("and now? " * 60))
    assert len(told) == 1 and "a summary replaces them" in told[0] and len(keeper.turns) == 22
    assert keeper.summaries[0].content == "short" and keeper.summaries[0].turn % 2 == 0
    again = ScriptedBackend(lambda _: "fine", context=200)
    assert notices(talk(again, keeper).send("x")) == [], "the saved summary is used"
    assert "short" in again.requests[0].messages[0].content
