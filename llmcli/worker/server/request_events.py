"""The events of one HTTP request, in the pieces that its client gets."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

from llmcli.engine.engine import Engine
from llmcli.types import Event, Request, TextDelta
from llmcli.worker.server.event_queue import AsyncEventQueue
from llmcli.worker.server.metrics import WorkerMetrics

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
        streams: bool = False,
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
