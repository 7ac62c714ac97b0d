"""Reading in a thread, so that it can be interrupted, and the detection of transfers that have stalled.

A signal handler only sets a flag, and a blocked read would continue after it. So reads happen in a daemon thread, and
the caller checks the interrupt ten times a second. A transfer has stalled when too few bytes came for too long, over
any number of connections and attempts.
"""

from __future__ import annotations

import queue
import threading
import time
from collections import deque
from collections.abc import Callable, Generator, Iterator
from typing import Generic, TypeVar

from llmcli.errors import TemporaryFailure
from llmcli.errors.network_errors import ReadTimedOut, TransferStalled
from llmcli.fast_dataclass import frozen, replace
from llmcli.interrupt import Interrupt
from llmcli.network.retry_policy import RetryCounter, RetryPolicy

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


def iterate_in_thread(
    items: Iterator[T], interrupt: Interrupt, first_within: float, cancel: Callable[[], object] = lambda: None
) -> Generator[T, None, None]:
    """Yield ``items`` from a separate thread. Closing this iterator ends the thread at its next item.

    ``cancel`` is called then: it may end the wait for that item.

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
        cancel()


def sleep_interruptibly(seconds: float, interrupt: Interrupt) -> None:
    """Sleep; raises what ``interrupt.check`` raises as soon as it does."""
    end = time.monotonic() + seconds
    while True:
        interrupt.check()
        left = end - time.monotonic()
        if left <= 0:
            return
        time.sleep(min(left, _POLL_S))


_MIN_BYTES_PER_S = 1000
"""Bytes a second: a slower transfer counts as stalled after ``_STALL_WINDOW_S`` seconds."""
_STALL_WINDOW_S = 60.0
_MAX_READ_TIMEOUTS = 10
"""Times that a server may stop sending, each detected after ``DownloadRetryPolicy.read_timeout_s``, ..."""
_TIMEOUT_RESET_BYTES = 64 << 20
"""... until this many bytes have come since the first time, so that a server that sends little each time fails too."""
_SAMPLES_PER_WINDOW = 60


class StallDetector:
    """Watches the transfer of ``subject``, from its first connection to its last."""

    def __init__(
        self,
        subject: str,
        *,
        min_bytes_per_s: float = _MIN_BYTES_PER_S,
        window_s: float = _STALL_WINDOW_S,
        max_timeouts: int = _MAX_READ_TIMEOUTS,
        reset_bytes: int = _TIMEOUT_RESET_BYTES,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._subject = subject
        self._min_bytes_per_s, self._window_s = min_bytes_per_s, window_s
        self._max_timeouts, self._reset_bytes = max_timeouts, reset_bytes
        self._clock = clock
        self._paused_s = 0.0
        self._received_bytes = 0
        # (time, bytes until then); the first is a window old if possible
        self._samples = deque([(self._active_time, 0)])
        self._timeouts = 0
        self._timeouts_since_bytes = 0  # bytes received at the first of these timeouts

    @property
    def _active_time(self) -> float:
        """The time without pauses."""
        return self._clock() - self._paused_s

    def add_bytes(self, count: int) -> None:
        """Count received bytes. Raises ``TransferStalled``."""
        self._received_bytes += count
        self.raise_if_stalled()

    def exclude_pause(self, seconds: float) -> None:
        """Exclude time without a request: the pause before an attempt."""
        self._paused_s += seconds

    def add_timeout(self) -> None:
        """Count a timeout of a server that stopped sending. Raises ``TransferStalled`` when there were too many."""
        if not self._timeouts or self._received_bytes - self._timeouts_since_bytes >= self._reset_bytes:
            self._timeouts, self._timeouts_since_bytes = 0, self._received_bytes
        self._timeouts += 1
        if self._timeouts >= self._max_timeouts:
            raise TransferStalled(self._subject, detail=f"the server stopped sending {self._timeouts} times")
        self.raise_if_stalled()

    def raise_if_stalled(self) -> None:
        """Raise ``TransferStalled`` if too few bytes came in the last ``window_s`` seconds."""
        now = self._active_time
        if now - self._samples[-1][0] >= self._window_s / _SAMPLES_PER_WINDOW:
            self._samples.append((now, self._received_bytes))
        while len(self._samples) > 1 and self._samples[1][0] <= now - self._window_s:
            self._samples.popleft()
        since, before = self._samples[0]
        if now - since >= self._window_s and self._received_bytes - before < self._min_bytes_per_s * self._window_s:
            detail = f"slower than {self._min_bytes_per_s:,.0f} bytes a second for {self._window_s:.0f} seconds"
            raise TransferStalled(self._subject, detail=detail)


@frozen
class DownloadRetryPolicy(RetryPolicy):
    """How downloads are retried, and how long they wait for a connection, a response and the next bytes, in seconds.

    ``max_tries`` counts failures in a row without progress. A server that cannot be reached is not tried again, since
    another source may have the file. Downloads do not fail together, so their pauses need no jitter. The fields from
    ``min_bytes_per_s`` on are those of ``StallDetector``.
    """

    max_connect_tries: int = 1
    first_pause_s: float = 1.0
    jitter: bool = False
    connect_timeout_s: float = 4.0
    response_timeout_s: float = 8.0
    read_timeout_s: float = 20.0
    min_bytes_per_s: float = _MIN_BYTES_PER_S
    stall_window_s: float = _STALL_WINDOW_S
    max_read_timeouts: int = _MAX_READ_TIMEOUTS
    timeout_reset_bytes: int = _TIMEOUT_RESET_BYTES

    def make_stall_detector(self, subject: str) -> StallDetector:
        """Return a detector for the transfer of ``subject``."""
        return StallDetector(
            subject,
            min_bytes_per_s=self.min_bytes_per_s,
            window_s=self.stall_window_s,
            max_timeouts=self.max_read_timeouts,
            reset_bytes=self.timeout_reset_bytes,
        )


def count_retries(policy: RetryPolicy, interrupt: Interrupt) -> RetryCounter:
    """Return a counter whose pauses end with an interrupt."""
    return RetryCounter(policy, lambda seconds: sleep_interruptibly(seconds, interrupt))


class DownloadAttempts:
    """The attempts to download ``subject``, each of which continues after the bytes of the one before."""

    def __init__(self, policy: DownloadRetryPolicy, subject: str, interrupt: Interrupt) -> None:
        self._policy = policy
        self._interrupt = interrupt
        self._detector = policy.make_stall_detector(subject)
        self._retries = count_retries(policy, interrupt)
        self._is_connected = False

    def add_bytes(self, count: int) -> None:
        """Count received bytes. Raises ``TransferStalled``."""
        if not self._is_connected:  # from now on, a failed connection is retried as any other failure
            self._is_connected = True
            policy = replace(self._policy, max_connect_tries=self._policy.max_tries)
            self._retries = count_retries(policy, self._interrupt)
        self._detector.add_bytes(count)

    def wait_or_raise(self, error: TemporaryFailure, *, has_progressed: bool) -> None:
        """Wait before the next attempt, or raise ``error`` or ``TransferStalled`` if there is none.

        ``has_progressed``: the failed attempt brought bytes that no attempt before it had.
        """
        if isinstance(error, TransferStalled) and not isinstance(error, ReadTimedOut):
            raise error
        if has_progressed:
            self._retries.reset()
        if isinstance(error, ReadTimedOut):
            self._detector.add_timeout()
        self._detector.raise_if_stalled()
        self._detector.exclude_pause(self._retries.wait_or_raise(error))
