"""Detects stalled transfers: too few bytes for too long, over any number of connections and attempts."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable

from llmcli.errors.network_errors import TransferStalled

MIN_BYTES_PER_S = 1000
"""Bytes a second: a slower transfer counts as stalled after ``STALL_WINDOW_S`` seconds."""
STALL_WINDOW_S = 60.0
MAX_READ_TIMEOUTS = 10
"""Times that a server may stop sending, each detected after ``DownloadRetryPolicy.read_timeout_s``, ..."""
TIMEOUT_RESET_BYTES = 64 << 20
"""... until this many bytes have come since the first time, so that a server that sends little each time fails too."""
_SAMPLES_PER_WINDOW = 60


class StallDetector:
    """Watches the transfer of ``subject``, from its first connection to its last."""

    def __init__(
        self,
        subject: str,
        *,
        min_bytes_per_s: float = MIN_BYTES_PER_S,
        window_s: float = STALL_WINDOW_S,
        max_timeouts: int = MAX_READ_TIMEOUTS,
        reset_bytes: int = TIMEOUT_RESET_BYTES,
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
