"""Waits for what another thread or process brings about."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")
POLL_S = 0.01


def wait_until(holds: Callable[[], T], seconds: float = 20.0) -> T:
    """Return what ``holds`` returns as soon as it is true; fail if that takes longer."""
    until = time.monotonic() + seconds
    while not (result := holds()):
        assert time.monotonic() < until, "it did not come true in time"
        time.sleep(POLL_S)
    return result
