"""Stopping: one object that signal handlers set and every long operation asks.

A signal handler must not raise (an exception inside a native call is lost or comes seconds late), so it sets a flag
here. Whatever may take long calls ``check()`` between its steps; the engine reads ``requested`` in its abort callback.
"""

from __future__ import annotations

import signal
import time
from collections.abc import Callable

from llmcli.errors import HungUp, Interrupted, LlmError, Terminated, TimedOut

_ERRORS: dict[int, type[LlmError]] = {signal.SIGINT: Interrupted, signal.SIGHUP: HungUp}


class Interrupt:
    """A flag and a deadline. Safe to read from any thread; set only from a signal handler or a test."""

    def __init__(self, timeout: float | None = None) -> None:
        """``timeout``: seconds from now, or None."""
        self.signal: int | None = None
        self.deadline = None if timeout is None else time.monotonic() + timeout
        self.wakers: list[Callable[[], object]] = []
        """Called at once when a signal comes, in its handler: only what may run there, as ``queue.SimpleQueue.put``."""

    def set(self, signum: int) -> None:
        """Remember that signal ``signum`` arrived."""
        self.signal = signum
        for wake in self.wakers:
            wake()

    def clear(self) -> None:
        """Forget the signal (chat: Ctrl-C stopped the answer, not the program)."""
        self.signal = None

    @property
    def remaining(self) -> float | None:
        """Seconds until the deadline (never negative), or None without one."""
        return None if self.deadline is None else max(0.0, self.deadline - time.monotonic())

    @property
    def error(self) -> LlmError | None:
        """Why work has to stop now, or None."""
        if self.signal is not None:
            return _ERRORS.get(self.signal, Terminated)()
        if self.deadline is not None and time.monotonic() >= self.deadline:
            return TimedOut()
        return None

    @property
    def requested(self) -> bool:
        """True once work has to stop."""
        return self.signal is not None or (self.deadline is not None and time.monotonic() >= self.deadline)

    def check(self) -> None:
        """Raise ``Interrupted``, ``HungUp``, ``Terminated`` or ``TimedOut`` when work has to stop."""
        error = self.error
        if error is not None:
            raise error
