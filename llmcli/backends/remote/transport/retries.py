"""Trying a request again after a temporary failure."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import TypeVar

from llmcli.backends.remote.transport.cancel import CancelToken
from llmcli.backends.remote.transport.concurrency_limiter import ConcurrencyLimiter
from llmcli.errors import TemporaryFailure
from llmcli.errors.network_errors import RateLimited, ServerUnreachable
from llmcli.frozen_dataclass import frozen

T = TypeVar("T")


@frozen
class RetryPolicy:
    """How often one request is tried, and the pause between attempts, which doubles from ``first_pause_s``.

    A request that is asked to wait longer than ``max_pause_s`` is not retried.
    """

    max_tries: int = 5
    max_connect_tries: int = 3
    first_pause_s: float = 0.5
    max_pause_s: float = 60.0


class Retrier:
    """Runs attempts of requests to one server under ``limiter``. Safe to use from several threads."""

    def __init__(self, limiter: ConcurrencyLimiter, policy: RetryPolicy) -> None:
        self._limiter = limiter
        self._policy = policy
        self._random = random.Random()  # noqa: S311 (spreads tries over time)

    def run(self, call: CancelToken, attempt: Callable[[], T]) -> T:
        """Return what ``attempt`` returns; repeat it after a ``TemporaryFailure``, unless something was delivered.

        Failures of a busy server do not count while it answers other requests.
        """
        failures, answered = 0, self._limiter.num_answered
        while True:
            try:
                with self._limiter.acquire(call):
                    return attempt()
            except TemporaryFailure as error:
                if isinstance(error, RateLimited) and self._limiter.num_answered > answered:
                    failures, answered = 0, self._limiter.num_answered
                failures += 1
                wait = self._delay(failures, error.retry_after)
                policy = self._policy
                tries = policy.max_connect_tries if isinstance(error, ServerUnreachable) else policy.max_tries
                if call.delivered or failures >= tries or wait > policy.max_pause_s:
                    raise
                call.sleep(wait)

    def _delay(self, failures: int, asked: float | None) -> float:
        """Return how long to wait: with jitter, so that requests refused together are not retried together."""
        policy = self._policy
        if asked is not None:
            return asked if asked > policy.max_pause_s else asked + self._random.uniform(0, policy.first_pause_s)
        usual: float = policy.first_pause_s * 2 ** (failures - 1)
        return min(usual, policy.max_pause_s) * self._random.uniform(0.5, 1.0)
