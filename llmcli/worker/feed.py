"""From the engine's thread to the event loop: a sink whose events are taken all at once, as many as there are."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable

from llmcli.types import Event, Finished

_LIMIT = 4096
"""Events that may lie untaken before their sequences wait."""


class Feed:
    """The events of one client's requests (an ``engine.sequence.Sink``); ``open`` are the ids that have not ended."""

    def __init__(self) -> None:
        """Called in the event loop that will take the events."""
        self._loop = asyncio.get_running_loop()
        self._ready = asyncio.Event()
        self._hurry = False
        self._pausing: asyncio.Future[None] | None = None
        self._lock = threading.Lock()
        self._events: list[Event] = []
        self.open: set[str] = set()

    @property
    def full(self) -> bool:
        """The client is behind."""
        return len(self._events) > _LIMIT

    def emit(self, event: Event) -> None:
        """Take an event, in any thread."""
        with self._lock:
            first = not self._events
            self._events.append(event)
        if isinstance(event, Finished):
            self._call(self._stop_pausing)
        if first:
            self.wake()

    def wake(self) -> None:
        """Let ``take`` return, with nothing perhaps. In any thread; after the end of the loop nothing happens."""
        self._call(self._ready.set)

    def _call(self, function: Callable[[], None]) -> None:
        if not self._loop.is_closed():
            self._loop.call_soon_threadsafe(function)

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
        with self._lock:
            events, self._events = self._events, []
        for event in events:
            if isinstance(event, Finished):
                self.open.discard(event.id)
        return events


def _end(pausing: asyncio.Future[None]) -> None:
    if not pausing.done():
        pausing.set_result(None)
