"""A job on a worker: requests sent, events received, and recovery when the worker ends in between."""

from __future__ import annotations

import collections
import contextlib
import queue
import threading
from collections.abc import Iterator
from types import TracebackType
from typing import TYPE_CHECKING, Self

from llmcli.errors import InternalError, LlmError
from llmcli.types import Event, Finished, FinishReason, Request, RequestProgress
from llmcli.worker import crash_reason, protocol
from llmcli.worker.client.channel import WorkerGone

if TYPE_CHECKING:
    from llmcli.backends.worker_backend import WorkerBackend

_MAX_WAIT_S = 60.0
"""Most seconds of one wait for events."""
_MAX_QUEUED_EVENTS = 4096
"""Unread events above which the worker is held back."""
_MAX_IN_FLIGHT = 256
"""Requests that the worker has at once: it schedules no more, and after a crash fewer are suspect."""
_MAX_CRASHES = 8
"""Crashes that a job survives; each may identify one request that crashes the worker."""
_MAX_STALE_WORKERS = 3
"""Times that a worker may be found just as it ends."""


class Disconnected:
    """The worker ended; ``heard``: after it had sent something."""

    def __init__(self, *, heard: bool, pid: int) -> None:
        self.heard = heard
        self.pid = pid


class WorkerJob:
    """A job on a worker (see ``backends.base.Job``), called ``number`` among those of its backend.

    When the worker is told to end, requests that it has not begun go to the next one. When it crashes, streamed requests
    end with the cause. Gathered requests go to the next worker; those in flight during the crash one at a time, so that
    the request that crashes the worker is identified. It fails the second time that it was alone in flight.
    """

    def __init__(self, backend: WorkerBackend, number: int) -> None:
        self._backend = backend
        self._number = number
        self._events: queue.SimpleQueue[Event | LlmError | Disconnected | None] = queue.SimpleQueue()
        self._consumed = threading.Event()  # the consumer has taken an event, or takes no more
        self._lock = threading.Lock()
        self._pending: collections.deque[Request] = collections.deque()
        self._in_flight: dict[str, Request] = {}
        self._suspect_ids: set[str] = set()
        self._crashed_alone_ids: set[str] = set()
        self._started_ids: set[str] = set()  # a part of the answer has arrived
        self._num_crashes = self._num_stale_workers = 0
        self._closed_input = False
        self._left = False

    def __enter__(self) -> Self:
        self._backend.interrupt.wakers.append(self._wake_consumer)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._left = True
        self._consumed.set()
        self._backend.interrupt.wakers.remove(self._wake_consumer)
        self._backend.forget_job(self._number)
        with self._lock:
            self._pending.clear()
            self._send_cancel(list(self._in_flight))

    # ---- Job ------------------------------------------------------------------------------------------------------

    def submit(self, request: Request) -> None:
        """Add a request."""
        with self._lock:
            if request.id in self._in_flight or self._closed_input:
                raise InternalError("job", detail=f"request {request.id} submitted twice, or after the input's end")
            self._pending.append(request)
            self._send_pending()

    def cancel(self, request_id: str) -> None:
        """End a request."""
        with self._lock:
            for request in [request for request in self._pending if request.id == request_id]:
                self._pending.remove(request)
                self._events.put(Finished(request_id, FinishReason.CANCELLED))
            if request_id in self._in_flight:
                self._send_cancel([request_id])

    def close_input(self) -> None:
        """No more requests will come."""
        self._closed_input = True
        self._wake_consumer()

    def __iter__(self) -> Iterator[Event]:
        while not self._is_complete:
            event = self._next_event()
            if isinstance(event, Disconnected):
                yield from self._recover_from_disconnect(event)
            elif isinstance(event, LlmError):
                raise event
            elif event is not None:
                yield event

    @property
    def _is_complete(self) -> bool:
        """Nothing more will come."""
        return self._closed_input and not (self._in_flight or self._pending) and self._events.empty()

    def _next_event(self) -> Event | LlmError | Disconnected | None:
        """Wait for the next event; None to check the state again. Raises as ``Interrupt.check``.

        There is no polling: with many commands on one worker, it would take processor time from the engine.
        """
        interrupt = self._backend.interrupt
        interrupt.check()
        remaining = interrupt.remaining
        try:
            event = self._events.get_nowait()
        except queue.Empty:
            try:
                with self._backend.register_waiter(self):
                    event = self._events.get(timeout=_MAX_WAIT_S if remaining is None else min(remaining, _MAX_WAIT_S))
            except queue.Empty:
                return None
        self._consumed.set()
        return event

    def _wake_consumer(self) -> None:
        """Let ``_next_event`` return; a signal handler may call it."""
        self._events.put(None)

    # ---- for the thread that reads ----------------------------------------------------------------------------------

    def accept_event(self, event: Event) -> None:
        """Queue an event; wait while the consumer is behind, unless others wait for later messages."""
        self._enqueue(event)
        if not isinstance(event, RequestProgress):
            self._started_ids.add(event.id)
        if isinstance(event, Finished):
            with self._lock:
                self._started_ids.discard(event.id)
                self._in_flight.pop(event.id, None)
                self._suspect_ids.discard(event.id)
                self._send_pending()
            self._wake_consumer()  # it may have been the last

    def accept_error(self, error: LlmError) -> None:
        """The worker has failed, with this error."""
        self._enqueue(error)

    def accept_disconnect(self, *, heard: bool, pid: int) -> None:
        """The worker ended (see ``Disconnected``)."""
        self._enqueue(Disconnected(heard=heard, pid=pid))

    def _enqueue(self, event: Event | LlmError | Disconnected) -> None:
        self._consumed.clear()
        while self._events.qsize() >= _MAX_QUEUED_EVENTS and not (self._left or self._backend.has_other_waiters(self)):
            self._consumed.wait()
            self._consumed.clear()
        self._events.put(event)

    def unblock_reader(self) -> None:
        """Let ``accept_event`` check again whether it has to wait."""
        self._consumed.set()

    # ---- sending ----------------------------------------------------------------------------------------------------

    def _wire_id(self, request_id: str) -> str:
        return f"{self._number}:{request_id}"

    def _send_pending(self) -> None:
        """Send what may be sent now; the lock is held."""
        most = 1 if self._suspect_ids else _MAX_IN_FLIGHT
        lines = []
        while self._pending and len(self._in_flight) < most:
            request = self._pending.popleft()
            self._in_flight[request.id] = request
            lines.append(
                protocol.encode_message(submit=protocol.dump_request(request) | {"id": self._wire_id(request.id)})
            )
        self._send_lines(lines)

    def _send_lines(self, lines: list[bytes]) -> None:
        if lines:
            with contextlib.suppress(WorkerGone):  # the reader thread reports it, in the order of events
                self._backend.send(lines)

    def _send_cancel(self, names: list[str]) -> None:
        if names:
            with contextlib.suppress(WorkerGone):  # with the exchange its requests have ended
                self._backend.send_if_connected([protocol.encode_message(cancel=self._wire_id(name)) for name in names])

    # ---- after the end of a worker ----------------------------------------------------------------------------------

    def _recover_from_disconnect(self, lost: Disconnected) -> Iterator[Event]:
        """Go on with a new worker; yield the ends of requests that are given up."""
        with self._lock:
            sent, self._in_flight = self._in_flight, {}
            if not sent and not self._pending:
                return
            cause = self._backend.launcher.find_crash_reason(lost.pid)
            told = cause.detail == crash_reason.STOP_REQUESTED
            missed = not lost.heard and not self._backend.launcher.spawned
            if (told or missed) and self._num_stale_workers < _MAX_STALE_WORKERS:
                # queued requests go to the next worker
                self._num_stale_workers += 1
                again = [r for r in sent.values() if r.gathered or r.id not in self._started_ids]
            else:
                self._num_crashes += 1
                again = self._retryable_after_crash(sent)
                self._suspect_ids = {request.id for request in again}
            given_up = [name for name in sent if name not in {request.id for request in again}]
            self._pending.extendleft(reversed(again))
        for name in given_up:
            yield Finished(name, FinishReason.ERROR, error=cause)
        with self._lock:
            self._send_pending()

    def _retryable_after_crash(self, sent: dict[str, Request]) -> list[Request]:
        """Return which of the requests in flight during a crash are retried."""
        if self._num_crashes > _MAX_CRASHES:
            return []
        if len(sent) == 1 and self._suspect_ids:  # it was alone; but the worker may have been killed, so twice
            (name,) = sent
            if name in self._crashed_alone_ids:
                return []
            self._crashed_alone_ids.add(name)
        return [request for request in sent.values() if request.gathered]
