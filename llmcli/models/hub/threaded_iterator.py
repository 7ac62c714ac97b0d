"""Interruptible network reads: a blocking iterator runs in a thread while the caller checks the interrupt.

A signal handler only sets a flag, and a blocked read would continue after it. So reads happen in a daemon thread, and
the caller checks the interrupt ten times a second.
"""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Generator, Iterator
from typing import Generic, TypeVar

from llmcli.frozen_dataclass import frozen
from llmcli.interrupt import Interrupt

T = TypeVar("T")
_POLL_S = 0.1  # seconds
_QUEUE_ITEMS = 8  # items in flight


class FirstItemTimeout(Exception):
    """The first item did not come in time."""


@frozen
class _EndOfItems:
    """The end of the items; ``error`` is set if it came early."""

    error: BaseException | None = None


class _ItemProducer(Generic[T]):
    """The producing thread: puts items into ``item_queue`` until they end, fail, or are abandoned."""

    def __init__(self, items: Iterator[T]) -> None:
        self.item_queue: queue.Queue[T | _EndOfItems] = queue.Queue(_QUEUE_ITEMS)
        self.abandoned = threading.Event()
        self._items = items

    def run(self) -> None:
        try:
            for item in self._items:
                if not self._put_until_abandoned(item):
                    return
            self._put_until_abandoned(_EndOfItems())
        except BaseException as error:  # noqa: BLE001 (it is raised again in the caller's thread)
            self._put_until_abandoned(_EndOfItems(error))
        finally:
            close = getattr(self._items, "close", None)
            if close is not None:  # a generator holds a connection
                close()

    def _put_until_abandoned(self, item: T | _EndOfItems) -> bool:
        while not self.abandoned.is_set():
            try:
                self.item_queue.put(item, timeout=_POLL_S)
            except queue.Full:
                continue
            return True
        return False


def iterate_in_thread(items: Iterator[T], interrupt: Interrupt, first_within: float) -> Generator[T, None, None]:
    """Yield ``items`` from a separate thread. Closing this iterator ends the thread at its next item.

    Raises what ``items`` raises, what ``interrupt.check`` raises, and ``FirstItemTimeout`` when the first item takes
    longer than ``first_within`` seconds.
    """
    producer = _ItemProducer(items)
    threading.Thread(target=producer.run, name="llm network", daemon=True).start()
    limit: float | None = time.monotonic() + first_within
    try:
        while True:
            interrupt.check()
            try:
                item = producer.item_queue.get(timeout=_POLL_S)
            except queue.Empty:
                if limit is not None and time.monotonic() > limit:
                    raise FirstItemTimeout from None
                continue
            if isinstance(item, _EndOfItems):
                if item.error is not None:
                    raise item.error
                return
            limit = None
            yield item
    finally:
        producer.abandoned.set()


def sleep_interruptibly(seconds: float, interrupt: Interrupt) -> None:
    """Sleep; raises what ``interrupt.check`` raises as soon as it does."""
    end = time.monotonic() + seconds
    while True:
        interrupt.check()
        left = end - time.monotonic()
        if left <= 0:
            return
        time.sleep(min(left, _POLL_S))
