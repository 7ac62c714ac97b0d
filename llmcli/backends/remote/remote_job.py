"""A job on a remote server: a thread for each running request, and one queue for their events."""

from __future__ import annotations

import heapq
import queue
import threading
import time
from collections.abc import Callable, Iterator
from types import TracebackType
from typing import TYPE_CHECKING, Self

from llmcli.backends.remote.transport.cancel import Cancelled, CancelToken, DeadlineExceeded
from llmcli.errors import InternalError, Unsupported
from llmcli.types import (
    Event,
    Finished,
    FinishReason,
    Phase,
    Priority,
    ReasoningDelta,
    Request,
    RequestProgress,
    TextDelta,
    Timings,
)

if TYPE_CHECKING:
    from llmcli.backends.remote.remote_backend import RemoteBackend

_POLL_S = 0.05
"""Seconds between checks for an interrupt while waiting for events."""
_MAX_QUEUED_EVENTS = 4096
"""Unread events above which the answers are held back."""
_REPORT_INTERVAL_S = 0.25
"""Seconds between two reports on the progress of one request."""
_CHARS_PER_TOKEN = 4
"""Characters a token, of a server that sends several tokens at once."""


class RemoteJob:
    """A job (see ``backends.base.Job``) of ``backend``."""

    def __init__(self, backend: RemoteBackend) -> None:
        self._backend = backend
        self._events: queue.Queue[Event | None] = queue.Queue(_MAX_QUEUED_EVENTS)
        self._lock = threading.Lock()
        self._pending: list[tuple[bool, int, Request]] = []  # a heap: interactive ones first, then as they came
        self._running: dict[str, CancelToken] = {}
        self._open_ids: set[str] = set()
        self._num_threads = 0
        self._num_submitted = 0
        self._closed_input = False
        self._left = False

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with self._lock:
            self._left = True
            self._pending.clear()
            running = list(self._running.values())
        for call in running:
            call.cancel()

    # ---- Job ------------------------------------------------------------------------------------------------------

    def submit(self, request: Request) -> None:
        """Add a request."""
        with self._lock:
            if request.id in self._open_ids or self._closed_input:
                raise InternalError("job", detail=f"request {request.id} submitted twice, or after the input's end")
            self._open_ids.add(request.id)
            self._num_submitted += 1
            heapq.heappush(self._pending, (request.priority is Priority.BULK, self._num_submitted, request))
            if self._num_threads >= self._backend.max_concurrency:
                return
            self._num_threads += 1
        threading.Thread(target=self._run_pending, name="remote", daemon=True).start()

    def cancel(self, request_id: str) -> None:
        """End a request."""
        with self._lock:
            waiting = [entry for entry in self._pending if entry[2].id == request_id]
            for entry in waiting:
                self._pending.remove(entry)
                heapq.heapify(self._pending)
            call = self._running.get(request_id)
        if call is not None:
            call.cancel()
        if waiting:
            self._events.put(Finished(request_id, FinishReason.CANCELLED))

    def close_input(self) -> None:
        """No more requests will come."""
        self._closed_input = True

    def __iter__(self) -> Iterator[Event]:
        while not (self._closed_input and not self._open_ids):
            self._backend.check_interrupt()
            try:
                event = self._events.get(timeout=_POLL_S)
            except queue.Empty:
                continue
            if isinstance(event, Finished):
                with self._lock:
                    self._open_ids.discard(event.id)
            if event is not None:
                yield event

    # ---- the threads --------------------------------------------------------------------------------------------------

    def _run_pending(self) -> None:
        """Run pending requests until there are none."""
        while True:
            with self._lock:
                if self._left or not self._pending:
                    self._num_threads -= 1
                    return
                _, _, request = heapq.heappop(self._pending)
                call = self._running[request.id] = CancelToken(request.deadline)
            finished = self._run_to_end(request, call)
            with self._lock:
                del self._running[request.id]
            self._enqueue(finished, None)

    def _run_to_end(self, request: Request, call: CancelToken) -> Finished:
        """Run a request and return its end, whatever it is."""
        try:
            return self._run_request(request, call)
        except Cancelled:
            return Finished(request.id, FinishReason.CANCELLED)
        except DeadlineExceeded:
            return Finished(request.id, FinishReason.TIMEOUT)
        except Exception as error:  # noqa: BLE001 (the task raises it)
            return Finished(request.id, FinishReason.ERROR, error=error)

    def _run_request(self, request: Request, call: CancelToken) -> Finished:
        backend = self._backend
        if request.grammar is not None:
            raise Unsupported("a grammar", detail=f"{backend.server.label} takes none")
        if request.candidates:
            started = time.monotonic()
            scores, usage = backend.score(call, request)
            self._enqueue(scores, call)
            return Finished(request.id, FinishReason.STOP, usage, Timings(total_s=time.monotonic() - started))
        if request.schema is not None or request.labels:
            text, finished = backend.generate_structured(call, request)
            self._enqueue(TextDelta(request.id, text), call)
            return finished

        def put(event: Event) -> None:
            self._enqueue(event, call)

        return backend.stream(call, request, _with_progress(request, put) if request.progress else put)

    def _enqueue(self, event: Event, call: CancelToken | None) -> None:
        """Queue an event; wait while the consumer is behind. Raises as ``call.check``."""
        while not self._left:
            if call is not None:
                call.check()
            try:
                self._events.put(event, timeout=_POLL_S)
            except queue.Full:
                continue
            return


def _with_progress(request: Request, put: Callable[[Event], None]) -> Callable[[Event], None]:
    """Return ``put`` that also reports progress: about a token for each piece, more for long ones."""
    pieces = characters = 0
    due = 0.0

    def hand_on(event: Event) -> None:
        nonlocal pieces, characters, due
        put(event)
        if isinstance(event, TextDelta | ReasoningDelta):
            pieces, characters = pieces + 1, characters + len(event.text)
            now = time.monotonic()
            if now >= due:
                due = now + _REPORT_INTERVAL_S
                put(RequestProgress(request.id, Phase.WRITING, max(pieces, characters // _CHARS_PER_TOKEN)))

    return hand_on
