"""From an engine's events to an answer in a protocol of named server-sent events, whole or streamed.

Source of the format: the WHATWG HTML Living Standard, "Server-sent events".
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Iterator
from typing import Any, Protocol

from llmcli.types import Event, Finished


class EventBuilder(Protocol):
    """Builds one answer. The stream events that it yields are JSON objects, whose ``type`` is their name."""

    def feed(self, event: Event) -> Iterator[dict[str, Any]]:
        """Add an event of the engine; yield the stream events that follow from it."""

    def fail(self, error: Exception) -> Iterator[dict[str, Any]]:
        """Yield the stream events for an error that ends the answer."""

    def dump(self) -> dict[str, Any]:
        """Return the answer as it is now."""


async def build_whole(builder: EventBuilder, first: Event, events: AsyncIterator[Event]) -> dict[str, Any]:
    """Return the answer when all of it is there. Raises the error with which the request ended."""
    event: Event | None = first
    while event is not None:
        if isinstance(event, Finished) and event.error is not None:
            raise event.error
        for _ in builder.feed(event):
            pass
        event = await anext(events, None)
    return builder.dump()


async def iter_named_events(builder: EventBuilder, first: Event, events: AsyncIterator[Event]) -> AsyncIterator[bytes]:
    """Yield the bytes of the stream that follow from each event."""
    event: Event | None = first
    while event is not None:
        error = event.error if isinstance(event, Finished) else None
        stream_events = builder.feed(event) if error is None else builder.fail(error)
        data = b"".join(map(encode_named_event, stream_events))
        if data:
            yield data
        event = await anext(events, None) if error is None else None


def encode_named_event(event: dict[str, Any]) -> bytes:
    """Return the lines of one event, three in all."""
    data = json.dumps(event, ensure_ascii=False, separators=(",", ":"))
    return f"event: {event['type']}\ndata: {data}\n\n".encode("utf-8", "replace")
