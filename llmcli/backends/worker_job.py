"""A job on a worker: requests sent, events received, and recovery when the worker ends in between.

``CrashRecovery`` is a pure policy without lock, queue or I/O: the job reports what it sent and received, and asks which
requests go to the next worker, and which fail.
"""

from __future__ import annotations

import collections
import contextlib
import queue
import threading
from typing import Protocol, Self

from llmcli.errors import LlmError
from llmcli.fast_dataclass import frozen
from llmcli.interrupt import Interrupt
from llmcli.job_queue import MAX_QUEUED_EVENTS, BaseJob, JobHost
from llmcli.types import AnswerRestarted, Event, Finished, FinishReason, Request, RequestProgress
from llmcli.worker import protocol
from llmcli.worker.client.channel import WorkerGone, WorkerLauncher

_MAX_WAIT_S = 60.0
"""Most seconds of one wait for events."""


class WorkerHost(JobHost, Protocol):
    """What a job needs of the backend that talks to the worker."""

    interrupt: Interrupt
    launcher: WorkerLauncher

    def send(self, lines: list[bytes], job: WorkerJob) -> None:
        """Send lines, in a new exchange if the last one has ended. Raises ``WorkerGone`` and ``LlmError``.

        A job that ``is_disconnected`` gets ``WorkerGone``.
        """
        ...

    def send_if_connected(self, lines: list[bytes]) -> None:
        """Send lines in the current exchange; do nothing if it has ended. Raises ``WorkerGone``."""
        ...

    def has_other_waiters(self, job: object) -> bool:
        """Return whether anything but ``job`` waits for a message of the reader thread."""
        ...

    def register_waiter(self, who: object) -> contextlib.AbstractContextManager[None]:
        """Wait in this block for a message of the reader thread, which does not wait for slow consumers then."""
        ...

    def forget_job(self, number: int) -> None:
        """Drop later events of a job."""
        ...


class Disconnected:
    """The worker ended; ``heard``: after it had sent something."""

    def __init__(self, *, heard: bool, pid: int) -> None:
        self.heard = heard
        self.pid = pid


class Reconnect:
    """All requests that ended with the worker have been reported; the others may be sent to a new worker."""


class WorkerJob(BaseJob[Event | LlmError | Disconnected | Reconnect]):
    """A job on a worker, called ``number`` among those of its backend.

    ``CrashRecovery`` decides what survives a crash.
    """

    def __init__(self, backend: WorkerHost, number: int) -> None:
        super().__init__(backend, queue.SimpleQueue())
        self._backend = backend
        self._number = number
        self._consumed = threading.Event()  # the consumer has taken an item, or takes no more
        self._pending: collections.deque[Request] = collections.deque()
        self._recovery = CrashRecovery()
        self._next_items: collections.deque[AnswerRestarted | Finished | Reconnect] = collections.deque()
        """They come before the queue."""
        self._num_exchanges_lost = self._num_losses_handled = 0

    def __enter__(self) -> Self:
        self._backend.interrupt.wakers.append(self._wake_consumer)
        return self

    # ---- Job ------------------------------------------------------------------------------------------------------

    def cancel(self, request_id: str) -> None:
        """End a request."""
        with self._lock:
            for request in [request for request in self._pending if request.id == request_id]:
                self._pending.remove(request)
                self._items.put(Finished(request_id, FinishReason.CANCELLED))
            if request_id in self._recovery.in_flight_ids:
                self._recovery.mark_cancelled(request_id)
                self._send_cancel([request_id])

    def close_input(self) -> None:
        """No more requests will come."""
        super().close_input()
        self._wake_consumer()

    def _start(self, request: Request) -> None:
        with self._lock:
            self._pending.append(request)
            self._send_pending()

    def _abandon(self) -> None:
        self._consumed.set()
        self._backend.interrupt.wakers.remove(self._wake_consumer)
        self._backend.forget_job(self._number)
        with self._lock:
            self._pending.clear()
            self._send_cancel(self._recovery.in_flight_ids)

    def _wait_for_item(self) -> Event | LlmError | Disconnected | Reconnect | None:
        """Wait for the next item; None to check the state again. Raises as ``Interrupt.check``.

        There is no polling: with many commands on one worker, it would take processor time from the engine.
        """
        if self._next_items:
            return self._next_items.popleft()
        try:
            item = self._items.get_nowait()
        except queue.Empty:
            self._backend.check_interrupt()
            remaining = self._backend.interrupt.remaining
            try:
                with self._backend.register_waiter(self):
                    item = self._items.get(timeout=_MAX_WAIT_S if remaining is None else min(remaining, _MAX_WAIT_S))
            except queue.Empty:
                return None
        self._consumed.set()
        return item

    def _accept_item(self, item: Event | LlmError | Disconnected | Reconnect) -> Event | None:
        if isinstance(item, LlmError):
            raise item
        if isinstance(item, Disconnected):
            self._recover_from_disconnect(item)
            return None
        if isinstance(item, Reconnect):
            with self._lock:
                self._send_pending()
            return None
        return item

    def _wake_consumer(self) -> None:
        """Let ``_wait_for_item`` return; a signal handler may call it."""
        self._items.put(None)

    # ---- for the thread that reads ----------------------------------------------------------------------------------

    def accept_event(self, event: Event) -> None:
        """Queue an event; wait while the consumer is behind, unless others wait for later messages."""
        if isinstance(event, Finished):
            with self._lock:
                self._recovery.mark_finished(event.id)
                self._send_pending()
        elif not isinstance(event, RequestProgress):
            self._recovery.mark_started(event.id)
        self._enqueue(event)

    def accept_error(self, error: LlmError) -> None:
        """The worker has failed, with this error."""
        self._enqueue(error)

    @property
    def is_disconnected(self) -> bool:
        """Whether an exchange has ended and the consumer does not know it yet.

        Until it does, nothing is sent: a request that already went to the next worker would be sent again with those
        that the last worker did not answer.
        """
        return self._num_exchanges_lost > self._num_losses_handled

    def mark_disconnected(self) -> None:
        """Record that the exchange has ended; ``accept_disconnect`` or ``accept_error`` follows."""
        self._num_exchanges_lost += 1

    def accept_disconnect(self, *, heard: bool, pid: int) -> None:
        """The worker ended (see ``Disconnected``)."""
        self._enqueue(Disconnected(heard=heard, pid=pid))

    def _enqueue(self, item: Event | LlmError | Disconnected) -> None:
        self._consumed.clear()
        while self._items.qsize() >= MAX_QUEUED_EVENTS and not (
            self.consumer_gone or self._backend.has_other_waiters(self)
        ):
            self._consumed.wait()
            self._consumed.clear()
        self._items.put(item)

    def unblock_reader(self) -> None:
        """Let ``accept_event`` check again whether it has to wait."""
        self._consumed.set()

    # ---- sending ----------------------------------------------------------------------------------------------------

    def _wire_id(self, request_id: str) -> str:
        return f"{self._number}:{request_id}"

    def _send_pending(self) -> None:
        """Send what may be sent now; the lock is held."""
        lines = []
        while self._pending and self._recovery.can_send and not self.is_disconnected:
            request = self._pending.popleft()
            self._recovery.mark_sent(request)
            lines.append(
                protocol.encode_message(submit=protocol.dump_request(request) | {"id": self._wire_id(request.id)})
            )
        if lines:
            with contextlib.suppress(WorkerGone):  # the reader thread reports it, in the order of events
                self._backend.send(lines, self)

    def _send_cancel(self, names: list[str]) -> None:
        if names:
            with contextlib.suppress(WorkerGone):  # with the exchange its requests have ended
                self._backend.send_if_connected([protocol.encode_message(cancel=self._wire_id(name)) for name in names])

    def _recover_from_disconnect(self, lost: Disconnected) -> None:
        """Report the requests that fail and the answers that begin again; then the remaining requests are sent."""
        from llmcli.worker.client.worker_process import STOP_REQUESTED

        with self._lock:
            self._num_losses_handled += 1
            if not self._recovery.in_flight_ids:
                self._send_pending()
                return
            launcher = self._backend.launcher
            cause = launcher.find_crash_reason(lost.pid)
            recovery = self._recovery.disconnect(
                stop_requested=cause.detail == STOP_REQUESTED,
                stale=not lost.heard and not launcher.spawned,
            )
            self._pending.extendleft(reversed(recovery.retry))
        self._next_items.extend(Finished(name, FinishReason.CANCELLED) for name in recovery.cancelled)
        self._next_items.extend(Finished(name, FinishReason.ERROR, error=cause) for name in recovery.failed)
        self._next_items.extend(AnswerRestarted(name, cause) for name in recovery.restarted)
        self._next_items.append(Reconnect())


_MAX_IN_FLIGHT = 256
"""Most requests in flight: the worker schedules no more, and after a crash fewer are suspect."""
_MAX_CRASHES = 8
"""Successive crashes without an answer in between that a job survives; two identify a request that crashes the worker."""
_MAX_STALE_WORKERS = 3
"""How often a worker may turn out to be ending when it is found."""


@frozen
class Recovery:
    """The requests to send again, in order, and the ids of the others.

    ``restarted``: the ids of the retried requests whose answer had begun. ``cancelled``: they were cancelled before.
    """

    retry: tuple[Request, ...]
    failed: tuple[str, ...]
    restarted: tuple[str, ...] = ()
    cancelled: tuple[str, ...] = ()


class CrashRecovery:
    """The requests in flight, and what earlier crashes revealed about them.

    Unanswered requests go to the next worker. After a crash, those that were in flight are sent one at a time, to
    identify the request that crashes the worker. That request fails the second time it was alone in flight: the first
    time, the worker may have been killed. A worker that was asked to end, or turns out to be ending, has not crashed.
    """

    def __init__(self, *, max_in_flight: int = _MAX_IN_FLIGHT) -> None:
        self._max_in_flight = max_in_flight
        self._in_flight: dict[str, Request] = {}
        self._started_ids: set[str] = set()  # a part of the answer has arrived
        self._cancelled_ids: set[str] = set()
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

    def mark_cancelled(self, request_id: str) -> None:
        """Record that a request in flight was cancelled: it is not sent again."""
        self._cancelled_ids.add(request_id)

    def mark_finished(self, request_id: str) -> None:
        """Record that the worker has finished a request."""
        self._started_ids.discard(request_id)
        self._cancelled_ids.discard(request_id)
        self._in_flight.pop(request_id, None)
        self._suspect_ids.discard(request_id)
        self._num_crashes = self._num_stale_workers = 0

    def disconnect(self, *, stop_requested: bool, stale: bool) -> Recovery:
        """Decide about all requests in flight; afterwards none is.

        ``stop_requested``: the worker was asked to end. ``stale``: another process had started it, and it sent nothing.
        """
        cancelled = tuple(name for name in self._in_flight if name in self._cancelled_ids)
        lost = {name: request for name, request in self._in_flight.items() if name not in cancelled}
        started, retry = self._started_ids, tuple(lost.values())
        self._in_flight, self._started_ids, self._cancelled_ids = {}, set(), set()
        if (stop_requested or stale) and self._num_stale_workers < _MAX_STALE_WORKERS:
            self._num_stale_workers += 1
        else:
            self._num_crashes += 1
            if not self._may_retry_after_crash(lost):
                retry = ()
            self._suspect_ids = {request.id for request in retry}
        if not retry:
            return Recovery((), tuple(lost), (), cancelled)
        return Recovery(retry, (), tuple(name for name in lost if name in started), cancelled)

    def _may_retry_after_crash(self, lost: dict[str, Request]) -> bool:
        if self._num_crashes > _MAX_CRASHES:
            return False
        if len(lost) == 1 and self._suspect_ids:  # it was alone
            (name,) = lost
            if name in self._crashed_alone_ids:
                return False
            self._crashed_alone_ids.add(name)
        return True
