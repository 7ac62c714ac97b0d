import pytest

from llmcli.errors import InternalError, TimedOut
from llmcli.tasks.runner.answers import (
    AnswerBuffer,
    UsageTally,
    is_truncated,
    request_error,
)
from llmcli.tasks.runner.task_requests import GenerationOptions
from llmcli.types import Finished, FinishReason, TextDelta, Timings, Usage


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
