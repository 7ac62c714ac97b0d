"""Reading from the Hub: interruptible, watched for stalls, retried, and measured.

A signal handler only sets a flag, and a blocked read would continue after it. So reads happen in a daemon thread, and
the caller checks the interrupt ten times a second. A transfer has stalled when too few bytes came for too long, over
any number of connections and attempts. The measured rate is kept for the estimate of the next download.
"""

from __future__ import annotations

import math
import queue
import re
import threading
import time
from collections import deque
from collections.abc import Callable, Generator, Iterator, Mapping
from contextlib import suppress
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Generic, TypeVar

from llmcli.errors import TemporaryFailure
from llmcli.errors.network_errors import TransferStalled
from llmcli.fast_dataclass import frozen
from llmcli.files import private_files
from llmcli.interrupt import Interrupt

T = TypeVar("T")
_POLL_S = 0.1  # seconds
_QUEUE_ITEMS = 8  # items in flight
_ERROR_NUMBER = re.compile(r"\[Errno -?\d+\] ")


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


def describe_failure(error: Exception) -> str:
    """Return the message of a failed connection without the system's error number, or the name of the error."""
    return _ERROR_NUMBER.sub("", str(error)) or type(error).__name__


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


_RETRY_AFTER_SECONDS = re.compile(r"[0-9]{1,9}")
_RATE_LIMIT_RESET = re.compile(r";\s*t=([0-9]{1,9})")  # the Hub's RateLimit header: "api";r=0;t=55


@frozen
class DownloadRetryPolicy:
    """Seconds to wait for a connection, for the first byte of a response, for the next bytes; attempts and pauses.

    ``max_tries`` counts failures in a row without progress; the pause doubles from ``backoff_s`` to ``max_wait_s``; a
    server that asks for a longer pause ends the attempts. The other fields are those of ``StallDetector``.
    """

    connect_timeout_s: float = 4.0
    response_timeout_s: float = 8.0
    read_timeout_s: float = 20.0
    max_tries: int = 5
    backoff_s: float = 1.0
    max_wait_s: float = 60.0
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


class RetryCounter:
    """Counts failures in a row, and pauses between attempts."""

    def __init__(self, retry_policy: DownloadRetryPolicy, interrupt: Interrupt) -> None:
        self._retry_policy = retry_policy
        self._interrupt = interrupt
        self._failures = 0

    def reset(self) -> None:
        """Start counting again, after progress."""
        self._failures = 0

    def wait_or_raise(self, error: TemporaryFailure) -> float:
        """Wait before the next attempt and return the seconds, or raise ``error`` if there is none."""
        self._failures += 1
        wait = error.retry_after
        if wait is None:
            wait = min(self._retry_policy.backoff_s * 2 ** (self._failures - 1), self._retry_policy.max_wait_s)
        if self._failures >= self._retry_policy.max_tries or wait > self._retry_policy.max_wait_s:
            raise error
        sleep_interruptibly(wait, self._interrupt)
        return wait


def parse_retry_after(headers: Mapping[str, str], now: Callable[[], float] = time.time) -> float | None:
    """Return the seconds that a server asks to wait: Retry-After (seconds or a date) or the Hub's RateLimit."""
    value = headers.get("retry-after", "").strip()
    if _RETRY_AFTER_SECONDS.fullmatch(value):
        return float(value)
    with suppress(ValueError, OverflowError):
        return max(0.0, parsedate_to_datetime(value).timestamp() - now())
    match = _RATE_LIMIT_RESET.search(headers.get("ratelimit", ""))
    return float(match.group(1)) if match else None


MIN_MEASURED_BYTES = 8 << 20
"""A transfer of fewer bytes tells too little about the network."""


class TransferMeter:
    """Counts the bytes of responses and the seconds in which they came, without the pauses between attempts."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._since = clock()
        self._seconds = 0.0
        self._bytes = 0

    def begin_response(self) -> None:
        """Count from now on: the bytes of a response follow."""
        self._since = self._clock()

    def add_bytes(self, count: int) -> None:
        """Count received bytes."""
        now = self._clock()
        self._seconds += now - self._since
        self._since = now
        self._bytes += count

    @property
    def bytes_per_s(self) -> float | None:
        """The mean rate; None if too few bytes came."""
        return self._bytes / self._seconds if self._bytes >= MIN_MEASURED_BYTES and self._seconds > 0 else None


def save_rate(path: Path, bytes_per_s: float) -> None:
    """Keep the rate of a download in a file."""
    with suppress(OSError):  # the next estimate assumes a rate
        private_files.replace_file(path, f"{bytes_per_s:.0f}\n".encode())


def load_rate(path: Path) -> float | None:
    """Return the rate of the last download in bytes a second; None if none is known."""
    try:
        rate = float(path.read_bytes()[:100])
    except (OSError, ValueError):
        return None
    return rate if rate > 0 and math.isfinite(rate) else None
