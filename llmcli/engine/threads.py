"""How many threads to use now: the cores that other processes leave free, measured again and again while running.

With as many threads as cores llama.cpp collapses when another process keeps one core busy: every operation waits for
the thread that shares its core. So the load of others is read from the kernel's counters (``/proc/stat``, see proc(5)),
our own processor time taken off, and one thread is used for each core that is free. Where the load lies between two
numbers, both are tried and the faster one is kept; separately for single tokens and for batches.
"""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Protocol

INTERVAL = 0.2
"""Seconds between looks at the load; shorter ones drown in the 10 ms of the kernel's counters."""
_STEADY = 0.2
"""Cores: a load this close to a whole number counts as that number."""
_SAMPLES = 2
_AGAIN = 64
"""Steps after which the slower of two numbers of threads gets another chance."""


class Others(Protocol):
    """What knows the load of other processes."""

    def others(self) -> float | None:
        """Return how many cores others keep busy, None where that is unknown."""
        ...


class Load:
    """Processor time that other processes take on the cores that this one may use."""

    def __init__(self, stat: Path = Path("/proc/stat")) -> None:
        self._stat = stat
        self._cores = os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else set()
        self._tick = 1 / os.sysconf("SC_CLK_TCK") if hasattr(os, "sysconf") else 0.01
        self._last = self._read()

    def _read(self) -> tuple[float, float, float] | None:
        """Return (wall clock, processor time of all, processor time of this process) in seconds, None without Linux."""
        try:
            lines = self._stat.read_text(encoding="ascii").splitlines()
        except (OSError, UnicodeDecodeError):
            return None
        busy = 0.0
        for line in lines:
            name, *fields = line.split()
            if name.startswith("cpu") and name[3:].isdigit() and int(name[3:]) in self._cores:
                # user nice system idle iowait irq softirq steal; guest time is part of user time
                user, nice, system, _idle, _iowait, irq, softirq, steal = (int(field) for field in fields[:8])
                busy += (user + nice + system + irq + softirq + steal) * self._tick
        return time.monotonic(), busy, time.process_time()

    def others(self) -> float | None:
        """Return how many cores others kept busy since the last answer; None where unknown or too soon to say."""
        if self._last is None or time.monotonic() - self._last[0] < INTERVAL:
            return None
        now = self._read()
        if now is None:
            return None
        wall, busy, own = (new - old for new, old in zip(now, self._last, strict=True))
        self._last = now
        return max(0.0, (busy - own) / wall)


class _Choice:
    """Between a few numbers of threads: the one whose steps cost least, each tried now and then."""

    def __init__(self) -> None:
        self._costs: dict[tuple[int, int], tuple[int, float]] = {}  # (size class, threads): (samples, seconds a token)
        self._picked = 0

    def forget(self) -> None:
        """Begin again: the load changed."""
        self._costs.clear()

    def pick(self, candidates: range, tokens: int) -> int:
        """Return the number to use for a step of so many tokens."""
        size = tokens.bit_length()
        known = {n: self._costs.get((size, n), (0, 0.0)) for n in candidates}
        for threads in reversed(candidates):
            if known[threads][0] < _SAMPLES:
                return threads
        best = min(candidates, key=lambda n: known[n][1])
        self._picked += 1
        if self._picked % _AGAIN == 0:
            for threads in candidates:
                if threads != best:
                    self._costs.pop((size, threads), None)
        return best

    def record(self, threads: int, tokens: int, seconds: float) -> None:
        """Take the duration of a step."""
        key = (tokens.bit_length(), threads)
        samples, cost = self._costs.get(key, (0, 0.0))
        new = seconds / tokens
        self._costs[key] = (samples + 1, new if samples == 0 else 0.7 * cost + 0.3 * new)


class Threads:
    """The number of threads for the next step. ``most``: what this process may use; ``fixed`` switches measuring off."""

    def __init__(self, most: int, *, fixed: bool = False, load: Others | None = None) -> None:
        self.most = most
        self._load = None if fixed or most == 1 else load or Load()
        self._free = range(most, most + 1)
        self._choices = (_Choice(), _Choice())

    def look(self) -> None:
        """Measure the load where it is time to."""
        others = None if self._load is None else self._load.others()
        if others is None:
            return
        free = max(1.0, min(float(self.most), self.most - others))
        low = int(free + _STEADY)
        high = int(free + 1 - _STEADY)
        candidates = range(max(1, low), max(1, low, min(high, self.most)) + 1)
        if candidates != self._free:
            self._free = candidates
            for choice in self._choices:
                choice.forget()

    def pick(self, tokens: int) -> int:
        """Return the threads for a step of so many tokens."""
        if len(self._free) == 1:
            return self._free[0]
        return self._choices[tokens > 1].pick(self._free, tokens)

    def record(self, threads: int, tokens: int, seconds: float) -> None:
        """Take the duration of a step."""
        if len(self._free) > 1:
            self._choices[tokens > 1].record(threads, tokens, seconds)
