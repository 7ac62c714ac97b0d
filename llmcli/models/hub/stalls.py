"""Whether a transfer moves: too few bytes for too long is a stall, however many connections and tries it takes."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable

from llmcli.errors import TemporaryFailure

MIN_BYTES_PER_S = 1000
"""Bytes a second: what is slower for ``WINDOW_S`` seconds has stalled."""
STALL_WINDOW_S = 60.0
MAX_READ_TIMEOUTS = 10
"""Times that a server may stop sending in the middle, each noticed after ``Patience.stall`` seconds, ..."""
TIMEOUT_RESET_BYTES = 64 << 20
"""... until so many bytes have come since the first of them: a server that sends a little each time is given up too."""
_SAMPLES_PER_WINDOW = 60


class TransferStalled(TemporaryFailure, type_name="Stalled"):
    """A transfer that did not go on; what has come is kept, and the next try begins after it."""


class ReadTimedOut(TransferStalled):
    """A server stopped sending in the middle of an answer; another try may go on."""


class StallDetector:
    """Watches the transfer of ``subject``, from its first connection to its last."""

    def __init__(
        self,
        subject: str,
        *,
        rate: float = MIN_BYTES_PER_S,
        window: float = STALL_WINDOW_S,
        timeouts: int = MAX_READ_TIMEOUTS,
        renewal: int = TIMEOUT_RESET_BYTES,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._subject = subject
        self._min_bytes_per_s, self._window_s = rate, window
        self._max_timeouts, self._reset_bytes = timeouts, renewal
        self._clock = clock
        self._paused_s = 0.0
        self._received_bytes = 0
        self._samples = deque(
            [(self._active_time, 0)]
        )  # (time, bytes until then), the first one at least a window old if possible
        self._timeouts = 0
        self._timeouts_since_bytes = 0  # bytes that had come at the first of the timeouts that count

    @property
    def _active_time(self) -> float:
        """The time without pauses."""
        return self._clock() - self._paused_s

    def add_bytes(self, count: int) -> None:
        """Count bytes that came. Raises ``Stalled``."""
        self._received_bytes += count
        self.raise_if_stalled()

    def exclude_pause(self, seconds: float) -> None:
        """Leave out time in which nothing was asked for: the pause before a try."""
        self._paused_s += seconds

    def add_timeout(self) -> None:
        """A server stopped sending in the middle. Raises ``Stalled`` when that has happened too often."""
        if not self._timeouts or self._received_bytes - self._timeouts_since_bytes >= self._reset_bytes:
            self._timeouts, self._timeouts_since_bytes = 0, self._received_bytes
        self._timeouts += 1
        if self._timeouts >= self._max_timeouts:
            raise TransferStalled(self._subject, detail=f"the server stopped sending {self._timeouts} times")
        self.raise_if_stalled()

    def raise_if_stalled(self) -> None:
        """Raise ``Stalled`` when too little came in the last ``window`` seconds."""
        now = self._active_time
        if now - self._samples[-1][0] >= self._window_s / _SAMPLES_PER_WINDOW:
            self._samples.append((now, self._received_bytes))
        while len(self._samples) > 1 and self._samples[1][0] <= now - self._window_s:
            self._samples.popleft()
        since, before = self._samples[0]
        if now - since >= self._window_s and self._received_bytes - before < self._min_bytes_per_s * self._window_s:
            detail = f"less than {self._min_bytes_per_s:,.0f} bytes a second came for {self._window_s:.0f} seconds"
            raise TransferStalled(self._subject, detail=detail)
