"""Whether a transfer moves: too few bytes for too long is a stall, however many connections and tries it takes."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable

from llmcli.errors import TryAgain

RATE = 1000
"""Bytes a second: what is slower for ``WINDOW_S`` seconds has stalled."""
WINDOW_S = 60.0
TIMEOUTS = 10
"""Times that a server may stop sending in the middle, each noticed after ``Patience.stall`` seconds, ..."""
RENEWAL_BYTES = 64 << 20
"""... until so many bytes have come since the first of them: a server that sends a little each time is given up too."""
_MARKS_PER_WINDOW = 60


class Stalled(TryAgain):
    """A transfer that did not go on; what has come is kept, and the next try begins after it."""


class ReadTimedOut(Stalled):
    """A server stopped sending in the middle of an answer; another try may go on."""


class StallDetector:
    """Watches the transfer of ``subject``, from its first connection to its last."""

    def __init__(
        self,
        subject: str,
        *,
        rate: float = RATE,
        window: float = WINDOW_S,
        timeouts: int = TIMEOUTS,
        renewal: int = RENEWAL_BYTES,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._subject = subject
        self._rate, self._window = rate, window
        self._timeouts_allowed, self._renewal = timeouts, renewal
        self._clock = clock
        self._paused = 0.0
        self._received = 0
        self._marks = deque(
            [(self._now, 0)]
        )  # (time, bytes until then), the first one at least a window old if possible
        self._timeouts = 0
        self._renewed_at = 0  # bytes that had come at the first of the timeouts that count

    @property
    def _now(self) -> float:
        """The time without pauses."""
        return self._clock() - self._paused

    def received(self, count: int) -> None:
        """Count bytes that came. Raises ``Stalled``."""
        self._received += count
        self.check()

    def paused(self, seconds: float) -> None:
        """Leave out time in which nothing was asked for: the pause before a try."""
        self._paused += seconds

    def timed_out(self) -> None:
        """A server stopped sending in the middle. Raises ``Stalled`` when that has happened too often."""
        if not self._timeouts or self._received - self._renewed_at >= self._renewal:
            self._timeouts, self._renewed_at = 0, self._received
        self._timeouts += 1
        if self._timeouts >= self._timeouts_allowed:
            raise Stalled(self._subject, detail=f"the server stopped sending {self._timeouts} times")
        self.check()

    def check(self) -> None:
        """Raise ``Stalled`` when too little came in the last ``window`` seconds."""
        now = self._now
        if now - self._marks[-1][0] >= self._window / _MARKS_PER_WINDOW:
            self._marks.append((now, self._received))
        while len(self._marks) > 1 and self._marks[1][0] <= now - self._window:
            self._marks.popleft()
        since, before = self._marks[0]
        if now - since >= self._window and self._received - before < self._rate * self._window:
            detail = f"less than {self._rate:,.0f} bytes a second came for {self._window:.0f} seconds"
            raise Stalled(self._subject, detail=detail)
