"""One evaluation at a time in a process; interactive work comes before bulk work.

Only one thread of a process computes. GNU OpenMP creates a team of threads for every thread that enters a parallel
region. Once there are more of them than cores, they hardly spin before they sleep (libgomp,
``gomp_throttled_spin_count_var``); a model then decoded at 0.7 of its speed.

Bulk work that runs alone takes long steps, which an interactive arrival may abort. After interactive work it takes
short steps, which an arrival may abort when they take longer than they should: how long a first step takes, with the
context that it creates, is not known before. While interactive work goes on, bulk work gets ``BULK_SHARE`` of the time,
in short steps that are never aborted, so it cannot starve.
"""

from __future__ import annotations

import collections
import threading
import time
from collections.abc import Callable
from typing import TypeVar

from llmcli.types import Priority

BULK_SHARE = 0.1
"""The fraction of the time that bulk work keeps while there is always interactive work."""
SHORT_STEP_S = 0.1
"""Seconds that a step of bulk work may take while interactive work waits, or did recently."""
LONG_STEP_S = 1.0
"""Seconds that any other step may take."""
_INTERACTIVE_GRACE_S = 5.0
"""Seconds after the last interactive work during which more is expected."""
_CREDIT_STEPS = 2
"""Steps for which bulk work may accumulate its share."""
_POLL_S = 0.05
_NEVER = float("inf")

_T = TypeVar("_T")


class InlineExecutor:
    """Runs functions in the calling thread, one at a time."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._changed = threading.Condition()
        self._queues: dict[Priority, collections.deque[object]] = {each: collections.deque() for each in Priority}
        self._running: Priority | None = None
        self._demand = 0
        self._grace_until = -_NEVER
        self._preemptible_from = _NEVER
        self._credit_s = 0.0
        self._short_step_s = SHORT_STEP_S

    def run(
        self,
        function: Callable[[], _T],
        priority: Priority = Priority.INTERACTIVE,
        *,
        abandon: Callable[[], bool] = lambda: False,
    ) -> _T | None:
        """Wait until no other function runs and return what ``function`` returns; raises what it raises.

        Returns None without calling it if ``abandon`` returns True during the wait (see ``notify``).
        """
        if not self._acquire(priority, abandon):
            return None
        started = self._clock()
        try:
            return self._execute(function)
        finally:
            self._release(priority, self._clock() - started)

    def _execute(self, function: Callable[[], _T]) -> _T:
        return function()

    def notify(self) -> None:
        """Let waiting callers check their ``abandon`` functions again."""
        with self._changed:
            self._changed.notify_all()

    # ---- bounds of bulk work --------------------------------------------------------------------------------------

    def add_demand(self, change: int) -> None:
        """Change the number of sources of interactive work that could run now by 1 or -1."""
        with self._changed:
            self._demand += change
            if self._demand == 0:
                self._grace_until = self._clock() + _INTERACTIVE_GRACE_S
                self._changed.notify_all()

    def bulk_step_s(self) -> float:
        """Return how many seconds the next step of bulk work may take."""
        return SHORT_STEP_S if self._is_contended() else LONG_STEP_S

    def should_preempt(self) -> bool:
        """Return whether the current bulk step should end because interactive work waits."""
        return self._demand > 0 and self._clock() >= self._preemptible_from

    def _is_contended(self) -> bool:
        return self._demand > 0 or self._clock() < self._grace_until

    # ---- queueing -------------------------------------------------------------------------------------------------

    def _acquire(self, priority: Priority, abandon: Callable[[], bool]) -> bool:
        ticket = object()
        queue = self._queues[priority]
        with self._changed:
            queue.append(ticket)
            try:
                while not (queue[0] is ticket and self._may_run(priority)):
                    if abandon():
                        return False
                    self._changed.wait()
                self._running = priority
            finally:
                queue.remove(ticket)
                self._changed.notify_all()
            self._preemptible_from = self._find_preemption_time(priority)
        return True

    def _find_preemption_time(self, priority: Priority) -> float:
        """Return the time from which interactive arrivals may abort the work of this priority that starts now.

        A short step should end by itself. Aborting a step within bulk work's share would starve bulk work.
        """
        if priority is not Priority.BULK or self._demand:
            return _NEVER
        long = not self._is_contended() or self._short_step_s > 2 * SHORT_STEP_S
        return self._clock() + (0.0 if long else SHORT_STEP_S)

    def _may_run(self, priority: Priority) -> bool:
        if self._running is not None:
            return False
        due = bool(self._queues[Priority.BULK]) and self._credit_s >= self._short_step_s
        if priority is Priority.INTERACTIVE:
            return not due
        return due or not (self._demand or self._queues[Priority.INTERACTIVE])

    def _release(self, priority: Priority, seconds: float) -> None:
        with self._changed:
            self._running = None
            self._preemptible_from = _NEVER
            if priority is Priority.INTERACTIVE:
                if self._queues[Priority.BULK]:
                    earned = self._credit_s + seconds * BULK_SHARE / (1 - BULK_SHARE)
                    self._credit_s = min(earned, _CREDIT_STEPS * self._short_step_s)
            elif self._demand:
                self._credit_s -= seconds
                self._short_step_s = max(SHORT_STEP_S, seconds)
            else:
                self._credit_s = 0.0  # work that runs alone is not starved; the next job does not inherit its share
            self._changed.notify_all()


class SharedExecutor(InlineExecutor):
    """Runs the functions of all callers in one thread."""

    def __init__(self) -> None:
        # the import takes 10 ms, which a single engine can do without
        from concurrent.futures import ThreadPoolExecutor

        super().__init__()
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="compute")

    def _execute(self, function: Callable[[], _T]) -> _T:
        return self._thread.submit(function).result()


def run_in_thread(function: Callable[[], _T]) -> _T:
    """Run ``function`` in a thread that ends with its OpenMP team, and return its result; raises what it raises."""
    from concurrent.futures import ThreadPoolExecutor, wait

    with ThreadPoolExecutor(1, thread_name_prefix="measure") as thread:
        future = thread.submit(function)
        while not future.done():
            wait([future], _POLL_S)  # with a timeout, so that signal handlers run between two waits
        return future.result()
