"""From events and replies to the bytes of a command's exchange: coalesced, and those of gathered requests whole."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from starlette.types import Send

from llmcli.types import Event, Finished, TextDelta
from llmcli.worker import protocol
from llmcli.worker.server.event_queue import AsyncEventQueue
from llmcli.worker.server.metrics import WorkerMetrics

_MAX_COALESCE_S = 1.0
"""Most seconds for which unwatched text is coalesced, however many requests there are."""


def coalesce_delay(pause: float, active: int) -> float:
    """Return the coalescing delay in seconds for one client with a minimum of ``pause``, among ``active`` requests.

    It grows with their number: all clients together cost the engine as much as two would.
    """
    return min(pause * max(1.0, active / 2), max(pause, _MAX_COALESCE_S))


class EventWriter:
    """Writes the events of ``queue``, and replies, to one client."""

    def __init__(self, queue: AsyncEventQueue, metrics: WorkerMetrics, send: Send) -> None:
        self.coalesce_s = 0.0
        """The minimum coalescing delay in seconds."""
        self.client_gone = False
        """Whether nothing more can be sent."""
        self._queue = queue
        self._metrics = metrics
        self._send = send
        self._replies: list[bytes] = []
        self._whole_texts: dict[str, list[str]] = {}  # texts of gathered requests: sent when they end
        self._ending = False

    def gather(self, request_ids: Iterable[str]) -> None:
        """Send the texts of these requests when they end."""
        self._whole_texts.update((request_id, []) for request_id in request_ids)

    def reply(self, line: bytes) -> None:
        """Send a line."""
        self._replies.append(line)
        self._queue.wake()

    def end(self) -> None:
        """End the exchange after what was queued."""
        self._ending = True
        self._queue.wake()

    def fail(self, error: Exception) -> None:
        """End the exchange with an error."""
        self._replies.append(protocol.encode_message(failed=protocol.dump_error(error)))
        self.end()

    async def write(self, closing: Callable[[], bool]) -> None:
        """Send events and replies as they become available; ``closing``: end as soon as no request is open."""
        while True:
            events = await self._queue.drain()
            if self.client_gone:
                return
            lines = [*filter(None, map(self._encode_event, events)), *self._replies]
            self._replies.clear()
            over = self._ending or (closing() and not self._queue.open_ids)
            if lines or over:
                await self._send({"type": "http.response.body", "body": b"".join(lines), "more_body": not over})
            if over:
                return
            if self.coalesce_s and self._queue.open_ids:
                await self._queue.coalesce(coalesce_delay(self.coalesce_s, self._metrics.num_active))

    def _encode_event(self, event: Event) -> bytes:
        """Return the line for an event; pieces of a gathered request are kept until it ends."""
        texts = self._whole_texts.get(event.id)
        if texts is None:
            return protocol.encode_message(event=protocol.dump_event(event))
        if isinstance(event, TextDelta):
            texts.append(event.text)
            return b""
        line = protocol.encode_message(event=protocol.dump_event(event))
        if isinstance(event, Finished):
            del self._whole_texts[event.id]
            if texts:
                return protocol.encode_message(event=protocol.dump_event(TextDelta(event.id, "".join(texts)))) + line
        return line
