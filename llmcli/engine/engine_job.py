"""A job on an engine: its events wait in a queue of their own until the consumer reads them."""

from __future__ import annotations

import queue
import threading
from collections.abc import Iterator
from types import TracebackType
from typing import TYPE_CHECKING, Self

from llmcli.errors import InternalError
from llmcli.types import Event, Finished, Request

if TYPE_CHECKING:
    from llmcli.engine.engine import Engine

_MAX_UNREAD_EVENTS = 4096
"""Events that a job may leave unread before its sequences wait."""
_POLL_S = 0.05
"""Seconds between checks of the interrupt while waiting for events."""


class EngineJob:
    """A job on an engine (see ``backends.base.Job``)."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._events: queue.SimpleQueue[Event] = queue.SimpleQueue()
        self._open_requests: set[str] = set()
        self._lock = threading.Lock()
        self._closed_input = False
        self.consumer_gone = False
        """The ``with`` block was left: no more events are read."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.consumer_gone = True
        if self._open_requests:
            self._engine.cancel(lambda sequence: sequence.sink is self)

    @property
    def full(self) -> bool:
        """The consumer is behind."""
        return self._events.qsize() > _MAX_UNREAD_EVENTS

    def emit(self, event: Event) -> None:
        """Queue an event; called in the engine's thread."""
        self._events.put(event)

    def submit(self, request: Request) -> None:
        with self._lock:
            if request.id in self._open_requests or self._closed_input:
                raise InternalError("job", detail=f"request {request.id} submitted twice, or after the input's end")
            self._open_requests.add(request.id)
        self._engine.submit(request, self)

    def cancel(self, request_id: str) -> None:
        self._engine.cancel(lambda sequence: sequence.sink is self and sequence.request.id == request_id)

    def close_input(self) -> None:
        self._closed_input = True

    def __iter__(self) -> Iterator[Event]:
        while self._open_requests or not self._closed_input:
            try:
                event = self._events.get(timeout=_POLL_S)
            except queue.Empty:
                event = None
            error = self._engine.stop_reason()
            if error is not None:
                raise error
            if event is None:
                continue
            if isinstance(event, Finished):
                with self._lock:
                    self._open_requests.discard(event.id)
            elif self._events.qsize() == _MAX_UNREAD_EVENTS:
                self._engine.wake()
            yield event
