"""How long to wait for the Hub, and how often to retry."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from email.utils import parsedate_to_datetime

from llmcli.errors import TemporaryFailure
from llmcli.frozen_dataclass import frozen
from llmcli.interrupt import Interrupt
from llmcli.models.hub.stalls import (
    MAX_READ_TIMEOUTS,
    MIN_BYTES_PER_S,
    STALL_WINDOW_S,
    TIMEOUT_RESET_BYTES,
    StallDetector,
)
from llmcli.models.hub.threaded_iterator import sleep_interruptibly

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
    min_bytes_per_s: float = MIN_BYTES_PER_S
    stall_window_s: float = STALL_WINDOW_S
    max_read_timeouts: int = MAX_READ_TIMEOUTS
    timeout_reset_bytes: int = TIMEOUT_RESET_BYTES

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
