"""The measured rate of a download, which is kept for the estimate of the next one."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from llmcli.files import private_files

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
