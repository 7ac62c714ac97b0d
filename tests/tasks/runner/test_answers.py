import pytest
from scripted import ScriptedBackend
from tasks.helpers import run_work

from llmcli.errors import InternalError, TimedOut
from llmcli.tasks.runner.answers import (
    AnswerBuffer,
    Reading,
    UsageTally,
    ask_until,
    is_truncated,
    repeat_with,
    request_error,
)
from llmcli.tasks.runner.task_requests import GenerationOptions
from llmcli.types import Finished, FinishReason, Message, Request, Role, Sampling, TextDelta, Timings, Usage


@pytest.mark.parametrize(
    ("limit", "max_tokens", "cut"), [("max_tokens", 9, False), ("max_tokens", None, True), ("context", 9, True)]
)
def test_only_the_users_limit_leaves_an_answer_complete(limit, max_tokens, cut):
    """An answer is cut if the context or an automatic limit ended it, not if the user's own limit did."""
    finished = Finished("a", FinishReason.LENGTH, limit=limit)
    assert is_truncated(finished, GenerationOptions(max_tokens=max_tokens)) is cut


def test_a_foreign_error_is_a_bug():
    """An error of another kind becomes an internal one that keeps its cause."""
    cause = ValueError("odd")
    error = request_error(Finished("a", FinishReason.ERROR, error=cause))
    assert isinstance(error, InternalError) and error.__cause__ is cause


def test_a_timeout_is_a_failure():
    """A request that ran out of time fails with TimedOut."""
    assert isinstance(request_error(Finished("a", FinishReason.TIMEOUT)), TimedOut)


def test_usage_is_summed():
    """The usage of an item is the sum over its calls."""
    tally = UsageTally()
    tally.add(Finished("a", FinishReason.STOP, Usage(10, 4, 3)))
    tally.add(Finished("b", FinishReason.STOP, Usage(20, 8, 5)))
    assert tally.usage == Usage(30, 12, 8)


def test_timings_of_one_call_are_its_own():
    """The timings of an item of one call are those of the call."""
    tally = UsageTally()
    tally.add(Finished("a", FinishReason.STOP, timings=Timings(0.5, 2.0, 33.0)))
    assert tally.timings == Timings(0.5, 2.0, 33.0)


def test_first_token_of_many_calls_is_the_earliest():
    """The time to the first token of many calls is the shortest of them."""
    tally = UsageTally()
    for seconds in (0.5, 0.2, None):
        tally.add(Finished("a", FinishReason.STOP, timings=Timings(seconds)))
    assert tally.timings.first_token_s == 0.2


def test_an_answer_of_white_space_is_empty():
    """The pieces form the text."""
    buffer, end = AnswerBuffer(), Finished("a", FinishReason.STOP)
    for event in (TextDelta("a", " "), TextDelta("a", "\n")):
        buffer.add_event(event)
    answer = buffer.complete(end)
    assert (answer.text, answer.is_empty, answer.finished) == (" \n", True, end)


def ask_for_number(texts, *, retry=None, attempts=3, temperature=None, seed=None):
    """Ask until an answer is a number; return the readings, and the requests that the backend got."""
    answers = iter(texts)
    backend = ScriptedBackend(lambda _: next(answers))
    request = Request("n", (Message(Role.USER, "a number"),), sampling=Sampling(temperature or 0.0, seed=seed))

    async def work(run):
        async def ask(request):
            text = (await run.ask(request)).text
            return Reading(text, "" if text.isdigit() else f"{text} is no number")

        options = GenerationOptions(temperature=temperature)
        return await ask_until(ask, request, retry or repeat_with(options), attempts=attempts)

    return run_work(backend, work), backend.requests


def test_an_answer_without_a_problem_is_the_last_one():
    """No request follows an answer that nothing is wrong with."""
    readings, requests = ask_for_number(["7", "8"])
    assert readings == [Reading("7")] and len(requests) == 1


def test_all_readings_are_returned_in_order():
    """The caller can choose among answers that all have a problem; there are as many as attempts."""
    readings, requests = ask_for_number(["a", "b", "c", "d"], seed=4)
    assert [reading.value for reading in readings] == ["a", "b", "c"]
    assert [request.id for request in requests] == ["n", "n.again", "n.again.again"]
    assert [request.sampling.seed for request in requests] == [4, 5, 6]


def test_greedy_sampling_is_not_repeated():
    """A request that would give the same answer again is not sent."""
    readings, requests = ask_for_number(["a", "7"], temperature=0)
    assert [reading.value for reading in readings] == ["a"] and len(requests) == 1


def test_the_next_request_is_made_from_the_last_problem():
    """``retry`` gets the last request and its reading, once for each further attempt."""
    calls = []

    def retry(request, last):
        calls.append((request.id, last.problem))
        return Request(f"{request.id}+", (Message(Role.USER, last.problem),))

    _, requests = ask_for_number(["a", "b", "c"], retry=retry, attempts=3)
    assert calls == [("n", "a is no number"), ("n+", "b is no number")]
    assert [request.messages[0].content for request in requests[1:]] == ["a is no number", "b is no number"]


def test_an_error_ends_the_attempts():
    """The failure of a request is raised, whatever was read before."""
    with pytest.raises(TimedOut):
        ask_for_number(["a", TimedOut()])
