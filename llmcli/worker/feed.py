"""From the engine's thread to the event loop: a sink whose events are taken all at once, as many as there are."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Collection, Sequence
from concurrent.futures import ThreadPoolExecutor

from llmcli.engine.engine import Engine
from llmcli.types import Event, Finished, Request
from llmcli.worker.activity import Activity

_LIMIT = 4096
"""Events that may lie untaken before their sequences wait."""


class Feed:
    """The events of one client's requests (an ``engine.sequence.Sink``); ``open`` are the ids that have not ended.

    A request counts as active until it has ended, also when the client is ``gone``: until then the engine works on it.
    """

    def __init__(self, activity: Activity) -> None:
        """Called in the event loop that will take the events."""
        self._activity = activity
        self._loop = asyncio.get_running_loop()
        self._ready = asyncio.Event()
        self._hurry = False
        self._pausing: asyncio.Future[None] | None = None
        self._lock = threading.Lock()
        self._events: list[Event] = []
        self.open: set[str] = set()
        self.gone = False

    @property
    def full(self) -> bool:
        """The client is behind."""
        return len(self._events) > _LIMIT

    # ---- in any thread -----------------------------------------------------------------------------------------------

    def emit(self, event: Event) -> None:
        """Take an event."""
        with self._lock:
            first = not self._events
            self._events.append(event)
        if isinstance(event, Finished):
            self._call(self._stop_pausing)
        if first:
            self.wake()

    def wake(self) -> None:
        """Let ``take`` return, with nothing perhaps. After the end of the loop nothing happens."""
        self._call(self._wake)

    def _call(self, function: Callable[..., None], *given: object) -> None:
        if not self._loop.is_closed():
            self._loop.call_soon_threadsafe(function, *given)

    def _submit(self, engine: Engine, requests: Sequence[Request]) -> None:
        for number, request in enumerate(requests):
            try:
                engine.submit(request, self)
            except BaseException:  # the model cannot be loaded: these never reach the engine, which would end them
                self._call(self._drop, [each.id for each in requests[number:]])
                raise

    # ---- in the event loop -------------------------------------------------------------------------------------------

    async def submit(self, engine: Engine, requests: Sequence[Request], pool: ThreadPoolExecutor) -> None:
        """Have a thread of ``pool`` submit requests whose events come here. Raises what the model's loading raises."""
        ids = [request.id for request in requests]
        self._activity.begin(len(ids))
        self.open.update(ids)
        submitting = pool.submit(self._submit, engine, requests)
        try:
            await asyncio.wrap_future(submitting)
        except asyncio.CancelledError:
            if submitting.cancel():  # no thread has come to it, and none will
                self._drop(ids)
            raise

    def leave(self) -> None:
        """The client went: nothing is begun for it any more, and its events are counted, but not kept."""
        self.gone = True
        self._wake()

    def _wake(self) -> None:
        if self.gone:
            self._taken()
        self._ready.set()

    def _drop(self, ids: Collection[str]) -> None:
        """Forget requests that never reached the engine."""
        dropped = self.open.intersection(ids)
        self.open -= dropped
        self._activity.end(len(dropped))

    async def pause(self, seconds: float) -> None:
        """Let events gather for so long, or until a request ends."""
        if not self._hurry:
            self._pausing = pausing = self._loop.create_future()
            timer = self._loop.call_later(seconds, _end, pausing)  # an asyncio.wait_for would cost several times this
            try:
                await pausing
            finally:
                timer.cancel()
                self._pausing = None
        self._hurry = False

    def _stop_pausing(self) -> None:
        self._hurry = True
        if self._pausing is not None:
            _end(self._pausing)

    async def take(self) -> list[Event]:
        """Wait for events and return them."""
        await self._ready.wait()
        self._ready.clear()
        return self._taken()

    def _taken(self) -> list[Event]:
        with self._lock:
            events, self._events = self._events, []
        self._activity.count(events)
        for event in events:
            if isinstance(event, Finished):
                self.open.discard(event.id)
        return events


def _end(pausing: asyncio.Future[None]) -> None:
    if not pausing.done():
        pausing.set_result(None)
