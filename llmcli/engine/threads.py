"""How many threads to use now: the cores that other processes leave free, measured again and again while running.

With as many threads as cores llama.cpp collapses when another process keeps one core busy: every operation waits for
the thread that shares its core. So the load of others is read from the kernel's counters (``/proc/stat``, see proc(5)),
our own processor time taken off, and one thread is used for each core that is free. Where the load lies between two
numbers, both are tried and the faster one is kept; separately for single tokens and for prompts. What the counters do
not show shows in the steps: when they take much longer than a moment ago, fewer threads are tried as well.
"""

from __future__ import annotations

import os
import re
import time
from pathlib import Path
from typing import Protocol

_RUNNING = re.compile(rb"^procs_running (\d+)", re.MULTILINE)
INTERVAL = 0.2
"""Seconds between looks at the load; shorter ones drown in the 10 ms of the kernel's counters."""
FIRST = 0.1
"""Seconds after which the first look is worth more than no look."""
_STEADY = 0.2
"""Cores: a load this close to a whole number counts as that number."""
_SAMPLES = 2
_AGAIN = 64
"""Steps after which the slower of two numbers of threads gets another chance."""
_SLOW = 2.0
"""A step that takes so many times the recent best is slow."""
_IN_A_ROW = 6
_FADING = 1.003
"""How much longer a step may take than the one before without being slow for it: contexts grow."""
_REST = 0.05
"""Seconds without a step after which the load in between says nothing about the load now."""
_GLANCES = 10
"""Looks at who wants to run now, until nobody does: threads that only pass by are no load."""
_GLANCE = 0.0003
"""Seconds between them."""
_BRIEF = 0.02
"""Seconds that one thread may take alone for the first step after a rest. The kernel often wakes the second one on the
core of the first, where each waits for the other at every operation: a step of 8 ms took 35, as likely as not."""
_DOUBT = 128
"""Steps for which fewer threads are tried before all are trusted again."""


class Others(Protocol):
    """What knows the load of other processes."""

    def others(self, *, rested: bool = False) -> float | None:
        """Return how many cores others keep busy, None where that is unknown.

        ``rested``: there was no step for a while, so the load until now may be that of others whom nobody kept waiting.
        """
        ...


class Load:
    """Processor time that other processes take on the cores that this one may use."""

    def __init__(self, stat: Path = Path("/proc/stat")) -> None:
        self._stat = stat
        self._cores = os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else set()
        self._tick = 1 / os.sysconf("SC_CLK_TCK") if hasattr(os, "sysconf") else 0.01
        # processes of lower priority give way; their time counts only where this one is of them
        self._counts_nice = hasattr(os, "nice") and os.nice(0) > 0
        self._last = self._read()
        self._interval = FIRST

    def _running(self) -> float | None:
        """Return how many threads of others want to run now, their share of the cores that this process may use."""
        least: int | None = None
        for _ in range(_GLANCES):
            match = _RUNNING.search(self._stat.read_bytes())
            if match is None:
                return None
            least = int(match[1]) if least is None else min(least, int(match[1]))
            if least <= 1:  # this thread
                break
            time.sleep(_GLANCE)
        return max(0, (least or 1) - 1) * len(self._cores) / (os.cpu_count() or 1)

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
                busy += (user + nice * self._counts_nice + system + irq + softirq + steal) * self._tick
        return time.monotonic(), busy, time.process_time()

    def others(self, *, rested: bool = False) -> float | None:
        """Return how many cores others kept busy since the last answer; None where unknown or too soon to say.

        After a ``rested`` time it is what others want now: the threads that can run, on all cores of the machine.
        """
        if rested and self._last is not None:
            self._last = self._read()
            return self._running()
        if self._last is None or time.monotonic() - self._last[0] < self._interval:
            return None
        self._interval = INTERVAL
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

    def pick(self, candidates: tuple[int, ...], tokens: int) -> int:
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


class _Watch:
    """Notices that single steps take much longer than they did a moment ago."""

    def __init__(self) -> None:
        self._best: float | None = None
        self._slow = 0

    def record(self, seconds: float) -> bool:
        """Take the duration of a step; True when several in a row were slow, measured by the recent best."""
        best = seconds if self._best is None else min(self._best * _FADING, seconds)
        self._best = best
        self._slow = self._slow + 1 if seconds > _SLOW * best else 0
        return self._slow >= _IN_A_ROW

    def forget(self) -> None:
        """Begin again: the load or the work changed."""
        self._best, self._slow = None, 0


class Threads:
    """The number of threads for the next step. ``most``: what this process may use; ``fixed`` switches measuring off."""

    def __init__(self, most: int, *, fixed: bool = False, load: Others | None = None) -> None:
        self.most = most
        self.fixed = fixed
        self.used: dict[bool, int] = {}
        """Threads of the last step of single tokens (False) and of prompts (True)."""
        self._load = None if fixed or most == 1 else load or Load()
        self._worked = time.monotonic()
        self._rested = False
        self._alone: float | None = None  # seconds that one thread takes for a token, about
        self._others = 0.0
        self._all: tuple[int, ...] = (most,)
        self._free: tuple[int, ...] = self._all
        self._doubtful = 0
        self._choices = (_Choice(), _Choice())
        self._watch = _Watch()

    def look(self) -> None:
        """Measure the load where it is time to."""
        rested = self._rested = time.monotonic() - self._worked > _REST
        others = None if self._load is None else self._load.others(rested=rested)
        if others is None:
            return
        self._others = others
        free = max(1.0, min(float(self.most), self.most - others))
        low = max(1, int(free + _STEADY))
        high = max(low, min(int(free + 1 - _STEADY), self.most))
        if not (self._doubtful and low == self.most):
            self._try(tuple(range(low, high + 1)))

    def _try(self, candidates: tuple[int, ...]) -> None:
        if candidates == self._free:
            return
        self._free = candidates
        self._doubtful = 0
        self._watch.forget()
        for choice in self._choices:
            choice.forget()

    def pick(self, tokens: int, *, prompt: bool = False) -> int:
        """Return the threads for a step of so many tokens, of a ``prompt`` or one of each sequence."""
        if self._is_brief(tokens):
            threads = 1
        else:
            threads = self._free[0] if len(self._free) == 1 else self._choices[prompt].pick(self._free, tokens)
        self.used[prompt] = threads
        return threads

    def _is_brief(self, tokens: int) -> bool:
        return self._rested and not self.fixed and self._alone is not None and tokens * self._alone <= _BRIEF

    def record(self, threads: int, tokens: int, seconds: float, *, prompt: bool = False) -> None:
        """Take the duration of a step."""
        self._worked = time.monotonic()
        alone = seconds * threads / tokens * (2 if prompt else 1)  # one token costs more by itself than in a prompt
        self._alone = alone if self._alone is None else min(1.02 * self._alone, alone)
        if prompt:  # single tokens that follow may have more before them, and take longer for it
            self._watch.forget()
        if len(self._free) > 1:
            self._choices[prompt].record(threads, tokens, seconds)
            if self._doubtful:
                self._doubtful -= 1
                if not self._doubtful:
                    self._try(self._all)
        elif tokens == 1 and self._load is not None and self._free == self._all and self._watch.record(seconds):
            # what the counters of the kernel do not show: a quota that nobody told us, a host that is busy
            self._try(tuple(sorted({max(1, n) for n in (self.most // 2, self.most - 2, self.most - 1, self.most)})))
            self._doubtful = _DOUBT

    @property
    def reason(self) -> str:
        """Say in one sentence what is chosen now and why."""
        decode, prompt = self.used.get(False, self._free[0]), self.used.get(True, self._free[0])
        chosen = f"{decode}" if decode == prompt else f"{decode} for single tokens, {prompt} for prompts"
        if self.fixed:
            why = "as it was set"
        elif decode == 1 and self._is_brief(1):
            why = "after a rest one is done before others are awake"
        elif self._doubtful:
            why = "steps took much longer than before, so fewer are tried"
        elif self._free != self._all:
            why = f"other processes keep {self._others:.1f} of {self.most} cores busy"
        else:
            why = "as many as the cores that this process may use, which nobody else keeps busy"
        return f"threads: {chosen} ({why})"
