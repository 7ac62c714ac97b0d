"""From the engine's thread to the event loop: a sink whose pending events are taken all at once."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Collection, Sequence
from concurrent.futures import ThreadPoolExecutor

from llmcli.engine.engine import Engine
from llmcli.job_queue import MAX_QUEUED_EVENTS
from llmcli.types import Event, Finished, Request
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
