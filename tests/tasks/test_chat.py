import pytest
from scripted import Reply, ScriptedBackend
from tasks.helpers import error, notices, of, result, streamed

from llmcli.errors import ContextOverflow, InternalError
from llmcli.interrupt import Interrupt
from llmcli.tasks.chat import OverflowPolicy
from llmcli.tasks.chat.conversation import Conversation
from llmcli.tasks.runner.task_requests import GenerationOptions
from llmcli.types import Delta, FinishReason, Role

SLIDE = OverflowPolicy.SLIDE


def sent(backend):
    """Return the messages of the last request after the system message."""
    return [message.content for message in backend.requests[-1].messages[1:]]


def said(turns):
    """Return the contents of turns without their times."""
    return [(turn.role, turn.content, turn.interrupted) for turn in turns]


def test_the_history_is_sent(prompts):
    """Each message is sent with all earlier turns, in order."""
    backend = ScriptedBackend(lambda r: f"answer {len(r.messages)}")
    talk = Conversation(backend, prompts, GenerationOptions())
    assert result(talk.send("one")).text == "answer 2"
    list(talk.send("two"))
    assert sent(backend) == ["one", "answer 2", "two"]
    assert [message.role for message in backend.requests[-1].messages] == [
        Role.SYSTEM,
        Role.USER,
        Role.ASSISTANT,
        Role.USER,
    ]


def test_answers_are_streamed(prompts):
    """The pieces of an answer come as they are generated."""
    events = list(Conversation(ScriptedBackend(lambda _: "a b c"), prompts, GenerationOptions()).send("go"))
    assert len(of(Delta, events)) == 3
    assert streamed(events) == "a b c"


def test_reset_forgets(prompts):
    """After a reset no earlier turn is sent."""
    backend = ScriptedBackend()
    talk = Conversation(backend, prompts, GenerationOptions())
    list(talk.send("one"))
    talk.reset()
    list(talk.send("two"))
    assert sent(backend) == ["two"]
    assert len(talk.history) == 2


def test_the_oldest_turns_are_left_out_with_a_notice(prompts):
    """When the history outgrows the context, the oldest turns are not sent and a notice gives their number."""
    backend = ScriptedBackend(lambda _: "word " * 9, context=100)
    talk = Conversation(backend, prompts, GenerationOptions(), policy=SLIDE)
    for number in range(4):
        assert notices(talk.send(f"message {number} " + "text " * 8)) == []
    (notice,) = notices(talk.send("message 4"))
    assert notice == "the oldest 4 messages no longer fit the context and are left out"
    assert sent(backend)[0].startswith("message 2")
    assert len(talk.history) == 10


def test_the_system_message_stays(prompts):
    """The instructions are in every request, however long the conversation is."""
    backend = ScriptedBackend(lambda _: "word " * 9, context=100)
    talk = Conversation(backend, prompts, GenerationOptions(), policy=SLIDE, system="and brief")
    for number in range(20):
        list(talk.send(f"message {number} " + "text " * 8))
    assert {request.messages[0].content for request in backend.requests} == {"be kind and brief"}


def test_every_request_leaves_room_for_an_answer(prompts):
    """However long the conversation is, a quarter of the context is free for the answer."""
    backend = ScriptedBackend(lambda _: "word " * 9, context=100)
    talk = Conversation(backend, prompts, GenerationOptions(), policy=SLIDE)
    for number in range(20):
        assert not result(talk.send(f"message {number}")).cut
    assert all(backend.prompt_tokens(request) <= 75 for request in backend.requests)


def test_turns_are_left_out_in_bulk(prompts):
    """More turns than necessary are left out, so that most requests extend the previous one and reuse its prefix."""
    backend = ScriptedBackend(lambda _: "word " * 9, context=400)
    talk = Conversation(backend, prompts, GenerationOptions(), policy=SLIDE)
    told = sum(bool(notices(talk.send(f"message {number}"))) for number in range(100))
    assert 1 < told < 20


def test_estimated_counts_leave_more_room(prompts):
    """If token counts are estimates, 15% of the context stay free."""
    backend = ScriptedBackend(lambda _: "word " * 9, context=100, exact=False)
    talk = Conversation(backend, prompts, GenerationOptions(), policy=SLIDE)
    for number in range(20):
        list(talk.send(f"message {number}"))
    assert all(backend.prompt_tokens(request) <= 60 for request in backend.requests)


def test_a_message_too_large_is_refused(prompts):
    """A single message larger than the context fails, and is not added to the history."""
    backend = ScriptedBackend(context=50)
    talk = Conversation(backend, prompts, GenerationOptions())
    list(talk.send("hello"))
    events = list(talk.send("word " * 60))
    assert isinstance(error(events), ContextOverflow)
    assert notices(events) == [], "nothing is left out for what is refused"
    assert [turn.content for turn in talk.history] == ["hello", "hello"]
    list(talk.send("again"))
    assert sent(backend) == ["hello", "hello", "again"]


def test_a_large_message_pushes_out_the_history(prompts):
    """A message that fits only alone is sent alone, with a notice."""
    backend = ScriptedBackend(lambda _: "fine", context=50)
    talk = Conversation(backend, prompts, GenerationOptions(), policy=SLIDE)
    list(talk.send("hello"))
    said = "the oldest 2 messages no longer fit the context and are left out"
    events = list(talk.send("word " * 45))
    assert notices(events) == [said]
    assert result(events).warnings == (said,)
    assert len(sent(backend)) == 1
    later = list(talk.send("hello"))
    assert len(sent(backend)) < len(talk.history) - 1
    assert result(later).warnings, "every answer tells that something was left out"


def test_an_interrupted_answer_is_kept_and_marked(prompts):
    """The part of an answer before it was stopped stays in the history, marked, and is sent with the next message."""
    backend = ScriptedBackend(lambda r: Reply("half an answer", stalls=True) if len(r.messages) == 2 else "whole")
    talk = Conversation(backend, prompts, GenerationOptions())
    events = talk.send("one")
    next(events), next(events)
    events.close()
    assert said(talk.history) == [(Role.USER, "one", False), (Role.ASSISTANT, "half an", True)]
    assert backend.cancelled == ["chat.1"]
    list(talk.send("two"))
    assert sent(backend) == ["one", "half an", "two"]


def test_a_signal_keeps_the_answer_so_far(prompts):
    """A signal that ends the job leaves the answer so far in the history."""
    interrupt = Interrupt()
    backend = ScriptedBackend(lambda _: Reply("half", stalls=True), interrupt=interrupt)
    talk = Conversation(backend, prompts, GenerationOptions())
    events = talk.send("one")
    next(events)
    interrupt.set(2)
    with pytest.raises(type(interrupt.error)):
        next(events)
    assert said(talk.history)[-1] == (Role.ASSISTANT, "half", True)


def test_a_failure_without_an_answer_is_not_remembered(prompts):
    """A message without any answer does not change the history, so that roles keep alternating."""
    backend = ScriptedBackend(lambda _: InternalError())
    talk = Conversation(backend, prompts, GenerationOptions())
    assert isinstance(error(talk.send("one")), InternalError)
    assert talk.history == ()


def test_reasoning_is_not_kept(prompts):
    """A model's reasoning is shown but is not part of the history."""
    backend = ScriptedBackend(lambda _: Reply("yes", reasoning="hm hm"))
    talk = Conversation(backend, prompts, GenerationOptions(reasoning=True))
    list(talk.send("really?"))
    assert talk.history[-1].content == "yes"


def test_the_context_cuts_an_answer(prompts):
    """An answer that fills the context is cut and reported as cut."""
    answer = result(
        Conversation(ScriptedBackend(lambda _: "so " * 99, context=40), prompts, GenerationOptions()).send("go")
    )
    assert (answer.cut, answer.finish_reason) == (True, FinishReason.LENGTH)
