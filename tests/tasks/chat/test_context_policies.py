"""The messages of a conversation that are sent if it exceeds the context, by its policy."""

from __future__ import annotations

import dataclasses

import pytest
from scripted import ScriptedBackend
from tasks.helpers import error, notices, result

from llmcli.cli.console.error_messages import describe
from llmcli.errors import InternalError
from llmcli.errors.incomplete_results import RepetitionStopped
from llmcli.tasks.chat import OverflowPolicy
from llmcli.tasks.chat.conversation import Conversation
from llmcli.tasks.runner.task_requests import GenerationOptions
from llmcli.types import ItemFailed


def answer(request):
    """Summarize in three words, answer in nine."""
    return "a short summary" if request.id.startswith("chat.summary") else "word " * 9


def sent(backend):
    """Return the messages of the last request of the chat."""
    last = [request for request in backend.requests if not request.id.startswith("chat.summary")][-1]
    return [message.content for message in last.messages]


@pytest.fixture
def talk(prompts):
    """Return a function that begins a conversation with a backend of 200 tokens."""

    def begin(policy=OverflowPolicy.SUMMARIZE, answer=answer, **more):
        backend = ScriptedBackend(answer, context=200)
        return Conversation(backend, prompts, GenerationOptions(), policy=policy, **more), backend

    return begin


def fill(conversation, count=8):
    """Send messages until some no longer fit; return the notices."""
    return [each for number in range(count) for each in notices(conversation.send(f"message {number} " + "text " * 8))]


def test_a_summary_replaces_the_oldest_messages(talk):
    """One line says so, later requests carry it, the next summary includes the earlier one, and all turns stay."""
    conversation, backend = talk(system="be brief")
    said = fill(conversation, 16)
    assert len(said) > 1 and all("a summary replaces them" in each for each in said)
    assert sent(backend)[0] == "be kind be brief\n\nSummary of the earlier conversation:\na short summary"
    summaries = [request.messages[0].content for request in backend.requests if "summary" in request.id]
    assert summaries[0].startswith(" + User: message 0") and summaries[1].startswith("a short summary + User: ")
    assert len(conversation.history) == 32
    assert result(conversation.send("x")).warnings == (
        f"a summary replaces the first {conversation.part.start} messages",
    )


def test_without_a_summary_the_oldest_messages_are_left_out(talk):
    """A model that cannot summarize does not end the chat."""
    conversation, backend = talk(answer=lambda r: InternalError() if "summary" in r.id else "word " * 9)
    said = fill(conversation, 12)
    assert any("are left out" in each for each in said) and conversation.part.summary == ""
    assert len(sent(backend)) < len(conversation.history)


def test_the_policy_may_be_to_stop(talk):
    """The message is refused and nothing changes; another policy lets it through."""
    conversation, backend = talk(OverflowPolicy.STOP)
    failures = []
    for number in range(12):
        events = conversation.send(f"message {number} " + "text " * 8)
        failures += [event.error for event in events if isinstance(event, ItemFailed)]
    assert failures and {each.type_name for each in failures} == {"ConversationFull"}
    assert "of 200 tokens, which leaves no room for an answer" in describe(failures[0])[0]
    assert len(conversation.history) == 24 - 2 * len(failures)
    before = conversation.history
    error(conversation.send("more " * 10))
    assert conversation.history == before
    conversation.policy = OverflowPolicy.SLIDE
    assert result(conversation.send("more " * 10)) and len(sent(backend)) < len(conversation.history)


@pytest.mark.parametrize("policy", [OverflowPolicy.SLIDE, OverflowPolicy.SUMMARIZE])
def test_pinned_exchanges_are_always_sent(talk, policy):
    """The question with its answer, in their place before the others, so that roles alternate."""
    conversation, backend = talk(policy)
    result(conversation.send("remember this"))
    conversation.set_pinned(0, pinned=True)
    fill(conversation, 12)
    assert conversation.part.start > 2
    assert sent(backend)[1:3] == ["remember this", "word " * 8 + "word"] or sent(backend)[1] == "remember this"
    last = backend.requests[-1].messages[1:]
    assert [str(message.role) for message in last] == ["user", "assistant"] * (len(last) // 2) + ["user"]


def test_compacting_on_demand(talk):
    """Everything but the last exchange is summarized at once."""
    conversation, backend = talk()
    for text in ("one", "two", "three"):
        result(conversation.send(text))
    assert notices(conversation.compact()) and conversation.part.start == 4
    result(conversation.send("four"))
    assert sent(backend)[1] == "three"
    conversation.go_back(2)
    assert notices(conversation.compact(kept=4)) == ["there is nothing to summarize"]


def test_going_back_before_a_summary_sends_the_messages_again(talk):
    """A summary of messages that were taken back is not sent."""
    conversation, backend = talk()
    for text in ("one", "two", "three"):
        result(conversation.send(text))
    list(conversation.compact())
    conversation.go_back(2)
    result(conversation.send("other"))
    assert sent(backend)[1] == "one" and "summary" not in sent(backend)[0]


def test_an_answer_that_repeats_itself_is_stopped(talk):
    """It is kept as interrupted, and the result says why it is incomplete."""
    conversation, backend = talk(answer=lambda _: "and so on " * 1000)
    backend.stops_repetition = True
    backend._info = backend._info.__class__(model="scripted", model_id="x", context=20_000)
    got = result(conversation.send("go"))
    assert got.cut and isinstance(got.incomplete, RepetitionStopped) and len(got.text) < 2000
    assert conversation.history[-1].interrupted
    conversation.options = dataclasses.replace(conversation.options, stop_repetition=False)
    assert len(result(conversation.retry()).text) > 9000
