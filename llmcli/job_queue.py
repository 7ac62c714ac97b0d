"""The common base of all jobs: the ids of open requests, the queue of events, and the loop that reads them.

Engine, worker and remote jobs differ in where a request goes and in what happens when the consumer falls behind: the
engine is told that the queue is full, a worker's reader blocks unless others wait for it, and a remote request blocks
until it is cancelled. These policies are in the subclasses.
"""

from __future__ import annotations

import queue
import threading
from abc import ABC, abstractmethod
from collections.abc import Iterator
from types import TracebackType
from typing import Generic, Protocol, Self, TypeVar

from llmcli.errors import InternalError
from llmcli.types import Event, Finished, Request

MAX_QUEUED_EVENTS = 4096
"""Unread events above which their producer is held back."""
POLL_S = 0.05
"""Seconds between checks for an interrupt while waiting for events."""

ItemT = TypeVar("ItemT")


class JobHost(Protocol):
    """What each job needs of the backend that opened it."""

    def check_interrupt(self) -> None:
        """Raise the error that has to end everything, if there is one."""
        ...


class BaseJob(ABC, Generic[ItemT]):
    """A job (see ``backends.base.Job``) whose queue holds events, and items that a subclass turns into events."""

    def __init__(self, host: JobHost, items: queue.SimpleQueue[ItemT | None] | queue.Queue[ItemT | None]) -> None:
        """``items``: the queue that other threads fill; a None in it only ends a wait."""
        self.consumer_gone = False
        """The ``with`` block was left: no more events are read."""
        self._host = host
        self._items = items
        self._lock = threading.Lock()
        self._open_ids: set[str] = set()
        self._closed_input = False

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.consumer_gone = True
        self._abandon()

    def submit(self, request: Request) -> None:
        """Add a request."""
        with self._lock:
            if request.id in self._open_ids or self._closed_input:
                raise InternalError("job", detail=f"request {request.id} submitted twice, or after the input's end")
            self._open_ids.add(request.id)
        try:
            self._start(request)
        except BaseException:  # then nothing comes of it, and the loop must not wait for its end
            with self._lock:
                self._open_ids.discard(request.id)
            raise

    @abstractmethod
    def cancel(self, request_id: str) -> None:
        """Cancel a request."""

    def close_input(self) -> None:
        """Declare that no more requests will come."""
        self._closed_input = True

    def __iter__(self) -> Iterator[Event]:
        while self._open_ids or not self._closed_input:
            item = self._wait_for_item()
            self._host.check_interrupt()
            event = None if item is None else self._accept_item(item)
            if event is None:
                continue
            if isinstance(event, Finished):
                with self._lock:
                    self._open_ids.discard(event.id)
            yield event

    # ---- for subclasses -------------------------------------------------------------------------------------------

    @abstractmethod
    def _start(self, request: Request) -> None:
        """Start a request that was just added."""

    @abstractmethod
    def _abandon(self) -> None:
        """End the requests that still run, since the consumer has left."""

    @abstractmethod
    def _accept_item(self, item: ItemT) -> Event | None:
        """Return the event to yield for an item from the queue, if any."""

    def _wait_for_item(self) -> ItemT | None:
        """Wait for the next item; return None to make the caller check the state again."""
        try:
            return self._items.get(timeout=POLL_S)
        except queue.Empty:
            return None
