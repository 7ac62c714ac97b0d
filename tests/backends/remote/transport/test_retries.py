"""The failures that are retried, the number of retries, and the pauses before them."""

from __future__ import annotations

import pytest

from llmcli.backends.remote.transport.remote_call import RemoteCall
from llmcli.backends.remote.transport.retries import ConcurrencyLimiter, Retrier
from llmcli.errors import RemoteError, TemporaryFailure
from llmcli.errors.network_errors import RateLimited, ServerUnreachable
from llmcli.network.retry_policy import RetryPolicy

POLICY = RetryPolicy(max_tries=4, max_connect_tries=2, first_pause_s=0.001, max_pause_s=1.0)


class Call(RemoteCall):
    """Records the pauses instead of waiting."""

    def __init__(self):
        super().__init__()
        self.pauses = []

    def sleep(self, seconds):
        self.pauses.append(seconds)


def tried(error, *, call, successes_after=None):
    """Return how often an attempt that raises ``error`` is made."""
    attempts = []

    def attempt():
        attempts.append(1)
        if len(attempts) != successes_after:
            raise error
        return "answer"

    retrier = Retrier(ConcurrencyLimiter(1, longest=POLICY.max_pause_s), POLICY)
    if successes_after is None:
        with pytest.raises(type(error)):
            retrier.run(call, attempt)
    else:
        assert retrier.run(call, attempt) == "answer"
    return len(attempts)


@pytest.mark.parametrize(
    ("error", "attempts"),
    [
        (TemporaryFailure("s"), 4),
        (ServerUnreachable("s"), 2),
        (RemoteError("s"), 1),
        (TemporaryFailure("s", retry_after=2.0), 1),
    ],
)
def test_only_temporary_failures_are_retried(error, attempts):
    """As often as the policy allows, and not if the server asks for too long a pause."""
    assert tried(error, call=Call()) == attempts


def test_nothing_is_retried_after_a_delivered_piece():
    """It would be delivered twice."""
    call = Call()
    call.delivered = True
    assert tried(TemporaryFailure("s"), call=call) == 1


def test_pauses_double_and_have_jitter():
    """So requests that failed together are not retried together."""
    call = Call()
    tried(TemporaryFailure("s"), call=call)
    for number, pause in enumerate(call.pauses):
        assert 0.5 <= pause / (POLICY.first_pause_s * 2**number) <= 1.0


def test_a_servers_pause_is_respected():
    """A little longer, never shorter."""
    call = Call()
    assert tried(TemporaryFailure("s", retry_after=0.5), call=call, successes_after=2) == 2
    assert 0.5 <= call.pauses[0] <= 0.5 + POLICY.first_pause_s


def test_a_busy_server_that_answers_others_is_retried_longer():
    """Its refusals do not count meanwhile."""
    limiter = ConcurrencyLimiter(1, longest=POLICY.max_pause_s)
    attempts = []

    def attempt():
        attempts.append(1)
        if len(attempts) == 8:
            return "answer"
        limiter.num_answered += 1
        raise RateLimited("s", retry_after=0.0)

    assert Retrier(limiter, POLICY).run(RemoteCall(), attempt) == "answer"
