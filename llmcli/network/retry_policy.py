"""The one policy of retries for the Hub, packages, servers and pages: what is tried again, when, and how often."""

from __future__ import annotations

import random
import re
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from email.utils import parsedate_to_datetime

from llmcli.errors import TemporaryFailure
from llmcli.errors.network_errors import ServerUnreachable
from llmcli.fast_dataclass import frozen

_RETRY_AFTER_SECONDS = re.compile(r"[0-9]{1,9}(?:\.[0-9]{1,3})?")
_RATE_LIMIT_RESET = re.compile(r";\s*t=([0-9]{1,9})")  # the Hub's RateLimit header: "api";r=0;t=55
_RANDOM = random.Random()  # noqa: S311 (spreads tries over time)


def parse_retry_after(headers: Mapping[str, str], now: Callable[[], float] = time.time) -> float | None:
    """Return the seconds that a server asks to wait, None if it asks for nothing; ``headers`` with lower-case names.

    They are in Retry-After, as seconds or a date (RFC 9110, section 10.2.3), or in the Hub's RateLimit.
    """
    value = headers.get("retry-after", "").strip()
    if _RETRY_AFTER_SECONDS.fullmatch(value):
        return float(value)
    with suppress(ValueError, OverflowError):
        return max(0.0, parsedate_to_datetime(value).timestamp() - now())
    match = _RATE_LIMIT_RESET.search(headers.get("ratelimit", ""))
    return float(match.group(1)) if match else None


@frozen
class RetryPolicy:
    """How often one request is tried, and the pause between attempts, which doubles from ``first_pause_s``.

    A server to which no connection can be made is tried ``max_connect_tries`` times. A request that is asked to wait
    longer than ``max_pause_s`` is not retried. ``jitter``: pauses vary, so that requests that were refused together are
    not repeated together.
    """

    max_tries: int = 5
    max_connect_tries: int = 3
    first_pause_s: float = 0.5
    max_pause_s: float = 60.0
    jitter: bool = True

    def pause(self, failures: int, asked: float | None) -> float:
        """Return the seconds to wait after so many failures in a row; ``asked``: those that the server asks for."""
        if asked is not None:
            is_varied = self.jitter and asked <= self.max_pause_s
            return asked + _RANDOM.uniform(0, self.first_pause_s) if is_varied else asked
        usual: float = min(self.first_pause_s * 2 ** (failures - 1), self.max_pause_s)
        return usual * _RANDOM.uniform(0.5, 1.0) if self.jitter else usual

    def next_pause(self, error: Exception, failures: int) -> float | None:
        """Return the seconds to wait after ``error``, the last of so many failures in a row; None if it is final."""
        if not isinstance(error, TemporaryFailure):
            return None
        tries = self.max_connect_tries if isinstance(error, ServerUnreachable) else self.max_tries
        wait = self.pause(failures, error.retry_after)
        return None if failures >= tries or wait > self.max_pause_s else wait


class RetryCounter:
    """Counts the failures in a row of one request, and pauses between its attempts with ``sleep``."""

    def __init__(self, policy: RetryPolicy, sleep: Callable[[float], object]) -> None:
        """``sleep`` waits so many seconds, and raises if the request is not wanted any more."""
        self._policy = policy
        self._sleep = sleep
        self._failures = 0

    def reset(self) -> None:
        """Start counting again, after progress."""
        self._failures = 0

    def wait_or_raise(self, error: TemporaryFailure, *, num_attempts: int = 1, longest: float | None = None) -> float:
        """Wait before the next attempt and return the seconds, or raise ``error`` if there is none.

        ``num_attempts``: those that failed since the last call. A pause of more than ``longest`` seconds is not made.
        """
        self._failures += num_attempts
        wait = self._policy.next_pause(error, self._failures)
        if wait is None or (longest is not None and wait > longest):
            raise error
        self._sleep(wait)
        return wait
