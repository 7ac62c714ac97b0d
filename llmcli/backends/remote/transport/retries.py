"""Requests that a server refuses for now: they are tried again, and fewer run at once.

Additive increase, multiplicative decrease, as in TCP (Chiu and Jain, 1989): each successful answer raises the limit a
little, and a 429 or 503 halves it. A pause that the server asks for holds back all requests. A concurrency that the
server has refused is probed at growing intervals, so that it does not keep asking for pauses.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar

from llmcli.backends.remote.transport.remote_call import RemoteCall
from llmcli.backends.remote.transport.request_queue import RequestQueue
from llmcli.errors import TemporaryFailure
from llmcli.errors.network_errors import RateLimited
from llmcli.network.retry_policy import RetryCounter, RetryPolicy

_POLL_S = 0.05
_MIN_PROBE_ANSWERS = 16
_MAX_PROBE_ANSWERS = 1024


class ConcurrencyLimiter:
    """Lets at most ``most`` requests through at once; begins with that many, so that a job is not slow to start.

    Of those that wait, the one that was submitted first is next.
    """

    def __init__(self, most: int, longest: float) -> None:
        """``longest``: the longest pause, in seconds, to wait for."""
        self._max_concurrency = most
        self._max_pause_s = longest
        self._limit = float(most)
        self._running = 0
        self._not_before = 0.0
        self._decreased_at = 0.0
        self._refused_at = most + 1  # the lowest concurrency that was refused
        self._probe_after_answers = _MIN_PROBE_ANSWERS  # successful answers before it is tried again
        self._num_successes = 0
        self._condition = threading.Condition()
        self._queue = RequestQueue()
        self.peak_running = 0
        """The most requests that ran at once."""
        self.num_answered = 0
        """Requests that were answered so far."""

    @property
    def limit(self) -> int:
        """How many requests may run now."""
        return max(1, int(self._limit))

    @contextmanager
    def acquire(self, call: RemoteCall) -> Iterator[None]:
        """Wait for a free slot and hold it during the block, whose outcome adjusts the limit.

        Raises what ``call.check`` raises.
        """
        began = self._wait_for_permit(call)
        try:
            yield
        except RateLimited as busy:
            self._release_permit(busy, began)
            raise
        except BaseException:  # also an interrupt: the permit is given back, and the error goes on to the caller
            self._release_permit(None, began, good=False)
            raise
        else:
            self._release_permit(None, began)

    def _wait_for_permit(self, call: RemoteCall) -> float:
        with self._condition:
            with self._queue.enqueue(call.order) as ticket:
                while (
                    self._running >= self.limit
                    or time.monotonic() < self._not_before
                    or not self._queue.is_first(ticket)
                ):
                    call.check()
                    self._condition.wait(_POLL_S)
                call.check()
            self._running += 1
            self.peak_running = max(self.peak_running, self._running)
            self._condition.notify_all()  # there may be room for the next one, too
            return time.monotonic()

    def _release_permit(self, busy: RateLimited | None, began: float, *, good: bool = True) -> None:
        with self._condition:
            self._running -= 1
            now = time.monotonic()
            if busy is not None:
                if began >= self._decreased_at:  # requests that were sent together halve the limit only once
                    self._limit = max(1.0, self._limit / 2)
                    self._decreased_at = now
                    again = self._running + 1 >= self._refused_at
                    self._probe_after_answers = (
                        min(_MAX_PROBE_ANSWERS, self._probe_after_answers * 2) if again else _MIN_PROBE_ANSWERS
                    )
                    self._refused_at = max(2, self._running + 1)
                    self._num_successes = 0
                if busy.retry_after is not None and busy.retry_after <= self._max_pause_s:
                    self._not_before = max(self._not_before, now + busy.retry_after)
            elif good:
                self.num_answered += 1
                self._num_successes += 1
                wanted = min(self._max_concurrency, self._limit + 1 / self._limit)
                if wanted < self._refused_at or self._num_successes >= self._probe_after_answers:
                    self._limit = wanted
            self._condition.notify_all()


T = TypeVar("T")


class Retrier:
    """Runs attempts of requests to one server under ``limiter``. Safe to use from several threads."""

    def __init__(self, limiter: ConcurrencyLimiter, policy: RetryPolicy) -> None:
        self._limiter = limiter
        self._policy = policy

    def run(self, call: RemoteCall, attempt: Callable[[], T]) -> T:
        """Return what ``attempt`` returns; repeat it after a ``TemporaryFailure``, unless something was delivered.

        Failures of a busy server do not count while it answers other requests.
        """
        retries, answered, num_resent = (
            RetryCounter(self._policy, call.sleep),
            self._limiter.num_answered,
            call.num_resent,
        )
        while True:
            try:
                with self._limiter.acquire(call):
                    return attempt()
            except TemporaryFailure as error:
                if call.delivered:
                    raise
                if isinstance(error, RateLimited) and self._limiter.num_answered > answered:
                    retries.reset()
                    answered = self._limiter.num_answered
                retries.wait_or_raise(error, num_attempts=1 + call.num_resent - num_resent)
                num_resent = call.num_resent
