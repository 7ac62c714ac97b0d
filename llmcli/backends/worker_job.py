"""A job on a worker: what it has sent, what came back, and what it does when the worker ends in the middle."""

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
from llmcli.worker import crash, wire
from llmcli.worker.client import Gone

if TYPE_CHECKING:
    from llmcli.backends.worker import WorkerBackend

_PATIENCE = 60.0
"""Seconds for which a wait for events may last that nothing ends."""
_QUEUE = 4096
"""Events that may lie unread before the worker is held back."""
_AHEAD = 256
"""Requests that the worker has at once: its plans look at no more, and after a crash fewer are suspect."""
_CRASHES = 8
"""Crashes that a job outlives; each tells one request that the worker does not bear."""
_MISSES = 3
"""Times that a worker may be found just as it ends."""


class _Lost:
    """The worker ended; ``heard``: after it had said something."""

    def __init__(self, *, heard: bool, pid: int) -> None:
        self.heard = heard
        self.pid = pid


class WorkerJob:
    """A job on a worker (see ``backends.base.Job``), called ``number`` among those of its backend.

    When the worker is told to end, what it has not begun is sent to a fresh one. When it crashes, requests end with the
    cause whose text is read as it comes. Gathered ones are sent to a fresh worker: those that the old one had one at a time, so that the one that it
    does not bear is told from the others, and fails alone, the second time that it is the only one.
    """

    def __init__(self, backend: WorkerBackend, number: int) -> None:
        self._backend = backend
        self._number = number
        self._events: queue.SimpleQueue[Event | LlmError | _Lost | None] = queue.SimpleQueue()
        self._taken = threading.Event()  # the consumer has taken one, or takes no more
        self._lock = threading.Lock()
        self._unsent: collections.deque[Request] = collections.deque()
        self._sent: dict[str, Request] = {}
        self._suspects: set[str] = set()
        self._alone: set[str] = set()
        self._begun: set[str] = set()  # something of the answer has come
        self._crashes = self._misses = 0
        self._closed_input = False
        self._over = False

    def __enter__(self) -> Self:
        self._backend.interrupt.wakers.append(self._wake)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._over = True
        self._taken.set()
        self._backend.interrupt.wakers.remove(self._wake)
        self._backend.forget(self._number)
        with self._lock:
            self._unsent.clear()
            self._cancel(list(self._sent))

    # ---- Job ------------------------------------------------------------------------------------------------------

    def submit(self, request: Request) -> None:
        """Add a request."""
        with self._lock:
            if request.id in self._sent or self._closed_input:
                raise InternalError("job", detail=f"request {request.id} submitted twice, or after the input's end")
            self._unsent.append(request)
            self._pump()

    def cancel(self, request_id: str) -> None:
        """End a request."""
        with self._lock:
            for request in [request for request in self._unsent if request.id == request_id]:
                self._unsent.remove(request)
                self._events.put(Finished(request_id, FinishReason.CANCELLED))
            if request_id in self._sent:
                self._cancel([request_id])

    def close_input(self) -> None:
        """No more requests will come."""
        self._closed_input = True
        self._wake()

    def __iter__(self) -> Iterator[Event]:
        while not self._done:
            event = self._next()
            if isinstance(event, _Lost):
                yield from self._recover(event)
            elif isinstance(event, LlmError):
                raise event
            elif event is not None:
                yield event

    @property
    def _done(self) -> bool:
        """Nothing more will come."""
        return self._closed_input and not (self._sent or self._unsent) and self._events.empty()

    def _next(self) -> Event | LlmError | _Lost | None:
        """Wait for what comes next; None when there may be something to look at. Raises what the user did.

        Nobody polls: of many commands that wait for one worker each look would take the processor from its engine.
        """
        interrupt = self._backend.interrupt
        interrupt.check()
        remaining = interrupt.remaining
        try:
            event = self._events.get_nowait()
        except queue.Empty:
            try:
                with self._backend.waiting(self):
                    event = self._events.get(timeout=_PATIENCE if remaining is None else min(remaining, _PATIENCE))
            except queue.Empty:
                return None
        self._taken.set()
        return event

    def _wake(self) -> None:
        """Let ``_next`` return; a signal handler may call it."""
        self._events.put(None)

    # ---- for the thread that reads ----------------------------------------------------------------------------------

    def take(self, event: Event) -> None:
        """Take an event; waits while the consumer is behind, unless others wait for what comes after it."""
        self._put(event)
        if not isinstance(event, RequestProgress):
            self._begun.add(event.id)
        if isinstance(event, Finished):
            with self._lock:
                self._begun.discard(event.id)
                self._sent.pop(event.id, None)
                self._suspects.discard(event.id)
                self._pump()
            self._wake()  # it may have been the last

    def fail(self, error: LlmError) -> None:
        """The worker cannot do anything, and says why."""
        self._put(error)

    def lose(self, *, heard: bool, pid: int) -> None:
        """The worker ended (see ``_Lost``)."""
        self._put(_Lost(heard=heard, pid=pid))

    def _put(self, event: Event | LlmError | _Lost) -> None:
        self._taken.clear()
        while self._events.qsize() >= _QUEUE and not (self._over or self._backend.others_wait(self)):
            self._taken.wait()
            self._taken.clear()
        self._events.put(event)

    def let_through(self) -> None:
        """Let ``take`` look again whether it has to wait."""
        self._taken.set()

    # ---- sending ----------------------------------------------------------------------------------------------------

    def _name(self, request_id: str) -> str:
        return f"{self._number}:{request_id}"

    def _pump(self) -> None:
        """Send what may be sent now; the lock is held."""
        most = 1 if self._suspects else _AHEAD
        lines = []
        while self._unsent and len(self._sent) < most:
            request = self._unsent.popleft()
            self._sent[request.id] = request
            lines.append(wire.line(submit=wire.dump_request(request) | {"id": self._name(request.id)}))
        self._write(lines)

    def _write(self, lines: list[bytes]) -> None:
        if lines:
            with contextlib.suppress(Gone):  # the thread that reads finds out too, and says so in the order of events
                self._backend.send(lines)

    def _cancel(self, names: list[str]) -> None:
        if names:
            with contextlib.suppress(Gone):  # with the exchange its requests have ended
                self._backend.tell([wire.line(cancel=self._name(name)) for name in names])

    # ---- after the end of a worker ----------------------------------------------------------------------------------

    def _recover(self, lost: _Lost) -> Iterator[Event]:
        """Go on with a fresh worker; yields the ends of the requests that are given up."""
        with self._lock:
            sent, self._sent = self._sent, {}
            if not sent and not self._unsent:
                return
            cause = self._backend.starter.cause(lost.pid)
            told = cause.detail == crash.TOLD
            missed = not lost.heard and not self._backend.starter.started
            if (told or missed) and self._misses < _MISSES:  # what it has not begun, the next one does
                self._misses += 1
                again = [r for r in sent.values() if r.gathered or r.id not in self._begun]
            else:
                self._crashes += 1
                again = self._bearable(sent)
                self._suspects = {request.id for request in again}
            given_up = [name for name in sent if name not in {request.id for request in again}]
            self._unsent.extendleft(reversed(again))
        for name in given_up:
            yield Finished(name, FinishReason.ERROR, error=cause)
        with self._lock:
            self._pump()

    def _bearable(self, sent: dict[str, Request]) -> list[Request]:
        """Return which of the requests that the worker had when it crashed are tried again."""
        if self._crashes > _CRASHES:
            return []
        if len(sent) == 1 and self._suspects:  # it was alone; but somebody may have killed the worker, so twice
            (name,) = sent
            if name in self._alone:
                return []
            self._alone.add(name)
        return [request for request in sent.values() if request.gathered]
