"""Where engines compute: in the thread that each has, or all of a process in one.

GNU OpenMP makes a team of threads for every thread that enters a parallel region, and once there are more of them than
cores, all of them hardly spin any more before they sleep (libgomp, ``gomp_throttled_spin_count_var``): a model was
measured to decode at 0.7 of its speed then. So never more than one thread of a process computes.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

_T = TypeVar("_T")
_LOOK = 0.05


class Turns:
    """Computing in the thread that asks."""

    def run(self, function: Callable[[], _T]) -> _T:
        """Return what ``function`` returns; raises what it raises."""
        return function()


class SharedTurns(Turns):
    """Computing in one thread for all who ask, in the order in which they do."""

    def __init__(self) -> None:
        from concurrent.futures import ThreadPoolExecutor  # takes 10 ms, which one engine alone need not pay

        self._thread = ThreadPoolExecutor(1, thread_name_prefix="computing")

    def run(self, function: Callable[[], _T]) -> _T:
        return self._thread.submit(function).result()


def alone(function: Callable[[], _T]) -> _T:
    """Return what ``function`` returns from a thread that then ends, and its team with it; raises what it raises."""
    from concurrent.futures import ThreadPoolExecutor, wait

    with ThreadPoolExecutor(1, thread_name_prefix="measuring") as thread:
        future = thread.submit(function)
        while not future.done():
            wait([future], _LOOK)  # not for ever: signal handlers run between two waits
        return future.result()
