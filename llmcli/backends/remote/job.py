"""A job on a server elsewhere: a thread for each request under way, and what they say in one queue."""

from __future__ import annotations

import heapq
import queue
import threading
import time
from collections.abc import Callable, Iterator
from types import TracebackType
from typing import TYPE_CHECKING, Self

from llmcli.backends.remote.call import Call, Ended, Late
from llmcli.errors import InternalError, Unsupported
from llmcli.types import (
    Event,
    Finished,
    FinishReason,
    Phase,
    Priority,
    ReasoningPiece,
    Request,
    RequestProgress,
    TextPiece,
    Timings,
)

if TYPE_CHECKING:
    from llmcli.backends.remote.backend import RemoteBackend

_POLL = 0.05
"""Seconds between looks at the interrupt while waiting for events."""
_QUEUE = 4096
"""Events that may lie unread before the answers are held back."""
_REPORT_INTERVAL_S = 0.25
"""Seconds between two reports on the progress of one request."""
_TOKEN = 4
"""Characters a token, of a server that sends several tokens at once."""


class RemoteJob:
    """A job (see ``backends.base.Job``) of ``backend``."""

    def __init__(self, backend: RemoteBackend) -> None:
        self._backend = backend
        self._events: queue.Queue[Event | None] = queue.Queue(_QUEUE)
        self._lock = threading.Lock()
        self._waiting: list[tuple[bool, int, Request]] = []  # a heap: interactive ones first, then as they came
        self._running: dict[str, Call] = {}
        self._open: set[str] = set()
        self._threads = 0
        self._number = 0
        self._closed_input = False
        self._over = False

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with self._lock:
            self._over = True
            self._waiting.clear()
            running = list(self._running.values())
        for call in running:
            call.end()

    # ---- Job ------------------------------------------------------------------------------------------------------

    def submit(self, request: Request) -> None:
        """Add a request."""
        with self._lock:
            if request.id in self._open or self._closed_input:
                raise InternalError("job", detail=f"request {request.id} submitted twice, or after the input's end")
            self._open.add(request.id)
            self._number += 1
            heapq.heappush(self._waiting, (request.priority is Priority.BULK, self._number, request))
            if self._threads >= self._backend.most:
                return
            self._threads += 1
        threading.Thread(target=self._work, name="remote", daemon=True).start()

    def cancel(self, request_id: str) -> None:
        """End a request."""
        with self._lock:
            waiting = [entry for entry in self._waiting if entry[2].id == request_id]
            for entry in waiting:
                self._waiting.remove(entry)
                heapq.heapify(self._waiting)
            call = self._running.get(request_id)
        if call is not None:
            call.end()
        if waiting:
            self._events.put(Finished(request_id, FinishReason.CANCELLED))

    def close_input(self) -> None:
        """No more requests will come."""
        self._closed_input = True

    def __iter__(self) -> Iterator[Event]:
        while not (self._closed_input and not self._open):
            self._backend.check()
            try:
                event = self._events.get(timeout=_POLL)
            except queue.Empty:
                continue
            if isinstance(event, Finished):
                with self._lock:
                    self._open.discard(event.id)
            if event is not None:
                yield event

    # ---- the threads --------------------------------------------------------------------------------------------------

    def _work(self) -> None:
        """Do what waits, until nothing does."""
        while True:
            with self._lock:
                if self._over or not self._waiting:
                    self._threads -= 1
                    return
                _, _, request = heapq.heappop(self._waiting)
                call = self._running[request.id] = Call(request.deadline)
            finished = self._ended(request, call)
            with self._lock:
                del self._running[request.id]
            self._put(finished, None)

    def _ended(self, request: Request, call: Call) -> Finished:
        """Run a request and return its end, whatever it is."""
        try:
            return self._run(request, call)
        except Ended:
            return Finished(request.id, FinishReason.CANCELLED)
        except Late:
            return Finished(request.id, FinishReason.TIMEOUT)
        except Exception as error:  # noqa: BLE001 (the task raises it)
            return Finished(request.id, FinishReason.ERROR, error=error)

    def _run(self, request: Request, call: Call) -> Finished:
        backend = self._backend
        if request.grammar is not None:
            raise Unsupported("a grammar", detail=f"{backend.server.label} takes none")
        if request.candidates:
            started = time.monotonic()
            scores, usage = backend.score(call, request)
            self._put(scores, call)
            return Finished(request.id, FinishReason.STOP, usage, Timings(total_s=time.monotonic() - started))
        if request.schema is not None or request.labels:
            text, finished = backend.structured(call, request)
            self._put(TextPiece(request.id, text), call)
            return finished

        def put(event: Event) -> None:
            self._put(event, call)

        return backend.stream(call, request, _reported(request, put) if request.progress else put)

    def _put(self, event: Event, call: Call | None) -> None:
        """Hand on an event; waits while the consumer is behind. Raises ``Ended`` and ``Late`` for a ``call``."""
        while not self._over:
            if call is not None:
                call.check()
            try:
                self._events.put(event, timeout=_POLL)
            except queue.Full:
                continue
            return


def _reported(request: Request, put: Callable[[Event], None]) -> Callable[[Event], None]:
    """Return ``put`` that tells about how many tokens it was given too: as many as pieces, unless those are long."""
    pieces = characters = 0
    due = 0.0

    def hand_on(event: Event) -> None:
        nonlocal pieces, characters, due
        put(event)
        if isinstance(event, TextPiece | ReasoningPiece):
            pieces, characters = pieces + 1, characters + len(event.text)
            now = time.monotonic()
            if now >= due:
                due = now + _REPORT_INTERVAL_S
                put(RequestProgress(request.id, Phase.WRITING, max(pieces, characters // _TOKEN)))

    return hand_on
