"""A job on an engine: its events wait in its own queue until the consumer reads them."""

from __future__ import annotations

import queue
from collections.abc import Callable
from typing import Protocol

from llmcli.engine.sequences.sequence import EventSink, Sequence
from llmcli.job_queue import MAX_QUEUED_EVENTS, BaseJob, JobHost
from llmcli.types import Event, Finished, Request


class EngineHost(JobHost, Protocol):
    """What a job needs of its engine."""

    def submit(self, request: Request, sink: EventSink) -> None:
        """Run a request; its events go to ``sink``."""
        ...

    def cancel(self, should_end: Callable[[Sequence], bool]) -> None:
        """Cancel sequences before the next step."""
        ...

    def wake(self) -> None:
        """Continue sequences whose sink was full."""
        ...


class EngineJob(BaseJob[Event]):
    """A job on an engine, and the sink of its sequences."""

    def __init__(self, engine: EngineHost) -> None:
        super().__init__(engine, queue.SimpleQueue())
        self._engine = engine

    @property
    def full(self) -> bool:
        """Whether the consumer is behind."""
        return self._items.qsize() > MAX_QUEUED_EVENTS

    def emit(self, event: Event) -> None:
        """Queue an event; called in the engine's thread."""
        self._items.put(event)

    def cancel(self, request_id: str) -> None:
        """Cancel a request."""
        self._engine.cancel(lambda sequence: sequence.sink is self and sequence.request.id == request_id)

    def _start(self, request: Request) -> None:
        self._engine.submit(request, self)

    def _abandon(self) -> None:
        if self._open_ids:
            self._engine.cancel(lambda sequence: sequence.sink is self)

    def _accept_item(self, item: Event) -> Event:
        if self._items.qsize() == MAX_QUEUED_EVENTS and not isinstance(item, Finished):
            self._engine.wake()
        return item
