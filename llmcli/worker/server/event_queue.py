"""From the engine's thread to the event loop: a sink whose pending events are taken all at once."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Collection, Sequence
from concurrent.futures import ThreadPoolExecutor

from llmcli.engine.engine import Engine
from llmcli.job_queue import MAX_QUEUED_EVENTS
from llmcli.types import Event, Finished, Request, TextDelta
from llmcli.worker.server.metrics import WorkerMetrics


class AsyncEventQueue:
    """The events of one client's requests (an ``EventSink`` of the engine); ``open_ids`` are those that have not ended.

    A request counts as active until it has ended, also when ``consumer_gone``: until then the engine works on it.
    """

    def __init__(self, metrics: WorkerMetrics) -> None:
        """Called in the event loop that will take the events."""
        self._metrics = metrics
        self._loop = asyncio.get_running_loop()
        self._ready = asyncio.Event()
        self._flush_requested = False
        self._coalescing: asyncio.Future[None] | None = None
        self._lock = threading.Lock()
        self._events: list[Event] = []
        self.open_ids: set[str] = set()
        self.consumer_gone = False

    @property
    def full(self) -> bool:
        """Whether the client is behind."""
        return len(self._events) > MAX_QUEUED_EVENTS

    # ---- in any thread -----------------------------------------------------------------------------------------------

    def emit(self, event: Event) -> None:
        """Take an event."""
        with self._lock:
            first = not self._events
            self._events.append(event)
        if isinstance(event, Finished):
            self._call_in_loop(self._stop_coalescing)
        if first:
            self.wake()

    def wake(self) -> None:
        """Let ``drain`` return, perhaps without events. Does nothing after the end of the loop."""
        self._call_in_loop(self._signal_ready)

    def _call_in_loop(self, function: Callable[..., None], *given: object) -> None:
        if not self._loop.is_closed():
            self._loop.call_soon_threadsafe(function, *given)

    def _submit_in_thread(self, engine: Engine, requests: Sequence[Request]) -> None:
        for number, request in enumerate(requests):
            try:
                engine.submit(request, self)
            except BaseException:  # the model cannot be loaded: these never reach the engine
                self._call_in_loop(self._forget_unsubmitted, [each.id for each in requests[number:]])
                raise

    # ---- in the event loop -------------------------------------------------------------------------------------------

    async def submit(self, engine: Engine, requests: Sequence[Request], pool: ThreadPoolExecutor) -> None:
        """Submit requests in a thread of ``pool``; their events come here. Raises what loading the model raises."""
        ids = [request.id for request in requests]
        self._metrics.begin_requests(len(ids))
        self.open_ids.update(ids)
        submitting = pool.submit(self._submit_in_thread, engine, requests)
        try:
            await asyncio.wrap_future(submitting)
        except asyncio.CancelledError:
            if submitting.cancel():  # no thread has started it
                self._forget_unsubmitted(ids)
            raise

    def disconnect(self) -> None:
        """The client has left: start nothing more for it; count its events, but drop them."""
        self.consumer_gone = True
        self._signal_ready()

    def _signal_ready(self) -> None:
        if self.consumer_gone:
            self._pop_events()
        self._ready.set()

    def _forget_unsubmitted(self, ids: Collection[str]) -> None:
        """Forget requests that never reached the engine."""
        dropped = self.open_ids.intersection(ids)
        self.open_ids -= dropped
        self._metrics.end_requests(len(dropped))

    async def coalesce(self, seconds: float) -> None:
        """Let events accumulate for this delay, or until a request ends."""
        if not self._flush_requested:
            self._coalescing = pausing = self._loop.create_future()
            # asyncio.wait_for would cost several times this
            timer = self._loop.call_later(seconds, _resolve_future, pausing)
            try:
                await pausing
            finally:
                timer.cancel()
                self._coalescing = None
        self._flush_requested = False

    def _stop_coalescing(self) -> None:
        self._flush_requested = True
        if self._coalescing is not None:
            _resolve_future(self._coalescing)

    async def drain(self) -> list[Event]:
        """Wait for events and return them."""
        await self._ready.wait()
        self._ready.clear()
        return self._pop_events()

    def _pop_events(self) -> list[Event]:
        with self._lock:
            events, self._events = self._events, []
        self._metrics.record_finished(events)
        for event in events:
            if isinstance(event, Finished):
                self.open_ids.discard(event.id)
        return events


def _resolve_future(pausing: asyncio.Future[None]) -> None:
    if not pausing.done():
        pausing.set_result(None)


_COALESCE_ABOVE_REQUESTS = 8
"""Concurrent requests above which text is sent in larger pieces, to save processor time."""
_STREAM_COALESCE_S = 0.25
"""Coalescing delay then, in seconds, for all pieces of a stream but the first."""
_RESPONSE_COALESCE_S = 0.5
"""The same for an answer that is sent whole."""


class RequestEvents:
    """The events of some requests, until all have ended; ``close`` cancels what has not."""

    def __init__(
        self,
        engine: Engine,
        requests: list[Request],
        metrics: WorkerMetrics,
        pool: ThreadPoolExecutor,
        *,
        streams: bool,
    ) -> None:
        """``pool``: the threads that render and tokenize. ``streams``: the client reads pieces as they arrive."""
        self._engine = engine
        self._requests = requests
        self._metrics = metrics
        self._pool = pool
        self._streaming = streams
        self._delivering = False
        self._queue = AsyncEventQueue(metrics)
        self._buffered: list[Event] = []

    async def submit(self) -> None:
        """Submit the requests. Raises what loading the model raises."""
        await self._queue.submit(self._engine, self._requests, self._pool)

    def __aiter__(self) -> RequestEvents:
        return self

    async def __anext__(self) -> Event:
        while not self._buffered:
            if not self._queue.open_ids:
                raise StopAsyncIteration
            if not self._streaming:
                await self._queue.coalesce(_RESPONSE_COALESCE_S)
            elif self._delivering and self._metrics.num_active > _COALESCE_ABOVE_REQUESTS:
                await self._queue.coalesce(_STREAM_COALESCE_S)
            self._delivering = True
            self._buffered = merge_text_events(await self._queue.drain())
        return self._buffered.pop(0)

    async def close(self) -> None:
        """Cancel what has not ended."""
        if self._queue.open_ids:
            self._queue.disconnect()
            self._engine.cancel(lambda sequence: sequence.sink is self._queue)


def merge_text_events(events: list[Event]) -> list[Event]:
    """Return the events, with adjacent pieces of one text merged."""
    joined: list[Event] = []
    for event in events:
        before = joined[-1] if joined else None
        if isinstance(event, TextDelta) and isinstance(before, TextDelta) and before.id == event.id:
            joined[-1] = TextDelta(event.id, before.text + event.text)
        else:
            joined.append(event)
    return joined
