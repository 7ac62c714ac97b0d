"""The number of requests that a server gets at once."""

from __future__ import annotations

import contextlib
import threading

import pytest
from waiting import wait_until

from llmcli.backends.remote.transport.remote_call import RemoteCall
from llmcli.backends.remote.transport.retries import ConcurrencyLimiter
from llmcli.errors.network_errors import RateLimited
from llmcli.network.cancellation import Cancelled


def test_the_limit_halves_and_then_grows_slowly():
    """For requests that were refused together the limit halves once; successes raise it by one a round."""
    limiter = ConcurrencyLimiter(8, longest=60)

    def take(count, error=None):
        turns = [limiter.acquire(RemoteCall()) for _ in range(count)]
        for turn in turns:
            turn.__enter__()
        for turn in turns:
            turn.__exit__(type(error) if error else None, error, None)

    take(8, RateLimited("s"))
    assert limiter.limit == 4
    take(4)
    take(4)
    assert limiter.limit == 5 and limiter.peak_running == 8
    for _ in range(6):
        take(1, RateLimited("s", retry_after=1000.0))  # longer than the wait
    assert limiter.limit == 1


def test_what_was_refused_is_tried_seldom():
    """A server that accepts two: few of hundreds of answers are refusals, though each success raises the limit."""
    limiter, refused, good = ConcurrencyLimiter(16, longest=60), 0, 0
    while good < 400:
        together = limiter.limit
        turns = [limiter.acquire(RemoteCall()) for _ in range(together)]
        for turn in turns:
            turn.__enter__()
        for number, turn in reversed(list(enumerate(turns))):  # a refused request is told first
            busy = RateLimited("s") if number >= 2 else None
            turn.__exit__(type(busy) if busy else None, busy, None)
            refused += busy is not None
            good += busy is None
    assert refused < 40 and limiter.limit == 2
    limiter = ConcurrencyLimiter(16, longest=60)  # and a server that accepts more after a while is detected
    for _ in range(3):
        with contextlib.suppress(RateLimited), limiter.acquire(RemoteCall()):
            raise RateLimited("s")
    for _ in range(200):
        with limiter.acquire(RemoteCall()):
            pass
    assert limiter.limit == 16


def test_waiting_for_a_slot_can_be_cancelled():
    """By the thread that cancels the call."""
    limiter, call = ConcurrencyLimiter(1, longest=60), RemoteCall()
    with limiter.acquire(RemoteCall()):
        threading.Timer(0.05, call.cancel).start()
        with pytest.raises(Cancelled), limiter.acquire(call):
            raise AssertionError("there was no turn")


def test_the_request_that_was_submitted_first_is_next():
    """Whatever the order in which they came to wait: a request that failed elsewhere comes late."""
    limiter, served = ConcurrencyLimiter(1, longest=60), []

    def take(number):
        with limiter.acquire(RemoteCall(order=(True, number))):
            served.append(number)

    threads = [threading.Thread(target=take, args=(number,)) for number in (7, 5, 9, 1, 8, 3, 6, 2, 4)]
    with limiter.acquire(RemoteCall()):
        for count, thread in enumerate(threads, start=1):
            thread.start()
            wait_until(lambda count=count: len(limiter._queue._tickets) == count)
    for thread in threads:
        thread.join()
    assert served == sorted(served) and len(served) == len(threads)
