"""Recovery of a job's requests when its worker ends: which go to the next worker, and which fail.

A pure policy: no lock, no queue, no I/O. The job reports what it sent and received, and asks for decisions.
"""

from __future__ import annotations

from llmcli.frozen_dataclass import frozen
from llmcli.types import Request

MAX_IN_FLIGHT = 256
"""Most requests in flight: the worker schedules no more, and after a crash fewer are suspect."""
MAX_CRASHES = 8
"""Crashes that a job survives; each may identify one request that crashes the worker."""
MAX_STALE_WORKERS = 3
"""How often a worker may turn out to be ending when it is found."""


@frozen
class Recovery:
    """The requests to send again, in order, and the ids of those that fail."""

    retry: tuple[Request, ...]
    failed: tuple[str, ...]


class CrashRecovery:
    """The requests in flight, and what earlier crashes revealed about them.

    If a worker is asked to end, or turns out to be ending, its unanswered requests go to the next worker. If it
    crashes, streamed requests fail. Gathered requests are retried; those in flight during the crash one at a time, to
    identify the request that crashes the worker. That request fails the second time it was alone in flight: the first
    time, the worker may have been killed.
    """

    def __init__(
        self,
        *,
        max_in_flight: int = MAX_IN_FLIGHT,
        max_crashes: int = MAX_CRASHES,
        max_stale_workers: int = MAX_STALE_WORKERS,
    ) -> None:
        self._max_in_flight = max_in_flight
        self._max_crashes = max_crashes
        self._max_stale_workers = max_stale_workers
        self._in_flight: dict[str, Request] = {}
        self._started_ids: set[str] = set()  # a part of the answer has arrived
        self._suspect_ids: set[str] = set()
        self._crashed_alone_ids: set[str] = set()
        self._num_crashes = self._num_stale_workers = 0

    @property
    def limit(self) -> int:
        """How many requests may be in flight."""
        return 1 if self._suspect_ids else self._max_in_flight

    @property
    def can_send(self) -> bool:
        """Whether another request may be sent."""
        return len(self._in_flight) < self.limit

    @property
    def in_flight_ids(self) -> list[str]:
        """The ids of the requests that the worker has."""
        return list(self._in_flight)

    def mark_sent(self, request: Request) -> None:
        """Record that the worker has this request."""
        self._in_flight[request.id] = request

    def mark_started(self, request_id: str) -> None:
        """Record that a part of the answer has arrived; prompt progress does not count."""
        self._started_ids.add(request_id)

    def mark_finished(self, request_id: str) -> None:
        """Record that the worker has finished a request."""
        self._started_ids.discard(request_id)
        self._in_flight.pop(request_id, None)
        self._suspect_ids.discard(request_id)

    def disconnect(self, *, stop_requested: bool, stale: bool) -> Recovery:
        """Decide about all requests in flight; afterwards none is.

        ``stop_requested``: the worker was asked to end. ``stale``: another process had started it, and it sent nothing.
        """
        lost, self._in_flight = self._in_flight, {}
        if (stop_requested or stale) and self._num_stale_workers < self._max_stale_workers:
            self._num_stale_workers += 1
            retry = [each for each in lost.values() if each.gathered or each.id not in self._started_ids]
        else:
            self._num_crashes += 1
            retry = self._retryable_after_crash(lost)
            self._suspect_ids = {request.id for request in retry}
        retried_ids = {request.id for request in retry}
        return Recovery(tuple(retry), tuple(name for name in lost if name not in retried_ids))

    def _retryable_after_crash(self, lost: dict[str, Request]) -> list[Request]:
        if self._num_crashes > self._max_crashes:
            return []
        if len(lost) == 1 and self._suspect_ids:  # it was alone
            (name,) = lost
            if name in self._crashed_alone_ids:
                return []
            self._crashed_alone_ids.add(name)
        return [request for request in lost.values() if request.gathered]
