"""The number of threads: the cores that other processes leave free, measured repeatedly while running.

With as many threads as cores, llama.cpp becomes very slow when another process keeps one core busy: every operation
waits for the thread that shares that core. So the load of other processes is read from the kernel's counters
(``/proc/stat``, see proc(5)), without our own processor time, and each free core gets one thread. If the load is
between two numbers, both are tried and the faster one is kept, separately for single tokens and for prompts. A load
that the counters do not show slows down the steps: when they take much longer than before, fewer threads are tried as
well.
"""

from __future__ import annotations

import os
import re
import time
from pathlib import Path
from typing import Protocol

_PROCS_RUNNING = re.compile(rb"^procs_running (\d+)", re.MULTILINE)
LOAD_INTERVAL_S = 0.2
"""Seconds between samples of the load; the kernel's counters, of 10 ms each, are too coarse for shorter ones."""
FIRST_LOAD_INTERVAL_S = 0.1
"""Seconds after which a first sample is usable."""
_LOAD_TOLERANCE_CORES = 0.2
"""Number of cores: a load this close to a whole number counts as that number."""
_MIN_SAMPLES = 2
_RETRY_STEPS = 64
"""Steps after which the slower of two numbers of threads is tried again."""
_SLOW_STEP_RATIO = 2.0
"""A step that takes this many times the recent best is slow."""
_MIN_SLOW_STEPS = 6
_BEST_STEP_GROWTH = 1.003
"""Factor by which a step may exceed the previous one without counting as slow, since contexts grow."""
_REST_S = 0.05
"""Seconds without a step after which the load in between does not describe the load now."""
_MAX_RUNNABLE_SAMPLES = 10
"""Samples of the runnable threads, until there are none: threads that run only briefly are no load."""
_RUNNABLE_SAMPLE_S = 0.0003
"""Seconds between them."""
_BRIEF_STEP_S = 0.02
"""Seconds that one thread may take alone for the first step after an idle time. The kernel often wakes the second
thread on the core of the first. Each then waits for the other at every operation: every other step of 8 ms took 35."""
_DOUBT_STEPS = 128
"""Steps for which fewer threads are tried before all are used again."""


class LoadSource(Protocol):
    """Measures the load of other processes."""

    def busy_cores(self, *, rested: bool = False) -> float | None:
        """Return how many cores other processes keep busy, None if unknown.

        ``rested``: there was no step for a while, so the load until now may come from processes that had all cores.
        """
        ...


class SystemLoad:
    """Processor time that other processes take on the cores that this one may use."""

    def __init__(self, stat: Path = Path("/proc/stat")) -> None:
        self._stat = stat
        self._core_ids = os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else set()
        self._tick_s = 1 / os.sysconf("SC_CLK_TCK") if hasattr(os, "sysconf") else 0.01
        # processes of lower priority yield to this one; their time counts only if this one is niced itself
        self._counts_nice = hasattr(os, "nice") and os.nice(0) > 0
        self._last_times = self._read_times()
        self._interval_s = FIRST_LOAD_INTERVAL_S

    def _count_runnable(self) -> float | None:
        """Return how many threads of other processes are runnable now, scaled to the cores this process may use."""
        lowest: int | None = None
        for _ in range(_MAX_RUNNABLE_SAMPLES):
            match = _PROCS_RUNNING.search(self._stat.read_bytes())
            if match is None:
                return None
            lowest = int(match[1]) if lowest is None else min(lowest, int(match[1]))
            if lowest <= 1:  # this thread
                break
            time.sleep(_RUNNABLE_SAMPLE_S)
        return max(0, (lowest or 1) - 1) * len(self._core_ids) / (os.cpu_count() or 1)

    def _read_times(self) -> tuple[float, float, float] | None:
        """Return (wall clock, processor time of all, processor time of this process) in seconds, None without Linux."""
        try:
            lines = self._stat.read_text(encoding="ascii").splitlines()
        except (OSError, UnicodeDecodeError):
            return None
        busy = 0.0
        for line in lines:
            name, *fields = line.split()
            if name.startswith("cpu") and name[3:].isdigit() and int(name[3:]) in self._core_ids:
                # user nice system idle iowait irq softirq steal; guest time is part of user time
                user, nice, system, _idle, _iowait, irq, softirq, steal = (int(field) for field in fields[:8])
                busy += (user + nice * self._counts_nice + system + irq + softirq + steal) * self._tick_s
        return time.monotonic(), busy, time.process_time()

    def busy_cores(self, *, rested: bool = False) -> float | None:
        """Return how many cores other processes kept busy since the last call; None if unknown or too early.

        After a ``rested`` time it is the number of their runnable threads, on all cores of the machine.
        """
        if rested and self._last_times is not None:
            self._last_times = self._read_times()
            return self._count_runnable()
        if self._last_times is None or time.monotonic() - self._last_times[0] < self._interval_s:
            return None
        self._interval_s = LOAD_INTERVAL_S
        now = self._read_times()
        if now is None:
            return None
        wall, busy, own = (new - old for new, old in zip(now, self._last_times, strict=True))
        self._last_times = now
        return max(0.0, (busy - own) / wall)


class _ThreadCountTuner:
    """Picks the number of threads whose steps take the least time, and tries each one periodically."""

    def __init__(self) -> None:
        self._costs: dict[tuple[int, int], tuple[int, float]] = {}  # (size class, threads): (samples, seconds a token)
        self._num_picks = 0

    def reset(self) -> None:
        """Start again, since the load changed."""
        self._costs.clear()

    def pick(self, candidates: tuple[int, ...], tokens: int) -> int:
        """Return the number to use for a step of that many tokens."""
        size = tokens.bit_length()
        known = {n: self._costs.get((size, n), (0, 0.0)) for n in candidates}
        for threads in reversed(candidates):
            if known[threads][0] < _MIN_SAMPLES:
                return threads
        best = min(candidates, key=lambda n: known[n][1])
        self._num_picks += 1
        if self._num_picks % _RETRY_STEPS == 0:
            for threads in candidates:
                if threads != best:
                    self._costs.pop((size, threads), None)
        return best

    def record(self, threads: int, tokens: int, seconds: float) -> None:
        """Record the duration of a step."""
        key = (tokens.bit_length(), threads)
        samples, cost = self._costs.get(key, (0, 0.0))
        new = seconds / tokens
        self._costs[key] = (samples + 1, new if samples == 0 else 0.7 * cost + 0.3 * new)


class _SlowStepDetector:
    """Detects that single steps take much longer than recent ones."""

    def __init__(self) -> None:
        self._best_s: float | None = None
        self._num_slow_steps = 0

    def record(self, seconds: float) -> bool:
        """Record the duration of a step; return whether several in a row were slow compared to the recent best."""
        best = seconds if self._best_s is None else min(self._best_s * _BEST_STEP_GROWTH, seconds)
        self._best_s = best
        self._num_slow_steps = self._num_slow_steps + 1 if seconds > _SLOW_STEP_RATIO * best else 0
        return self._num_slow_steps >= _MIN_SLOW_STEPS

    def reset(self) -> None:
        """Start again, since the load or the work changed."""
        self._best_s, self._num_slow_steps = None, 0


class ThreadPolicy:
    """The number of threads for the next step. ``most``: what this process may use; ``fixed`` disables measuring."""

    def __init__(self, most: int, *, fixed: bool = False, load: LoadSource | None = None) -> None:
        self.most = most
        self.fixed = fixed
        self.last_used: dict[bool, int] = {}
        """Threads of the last step of single tokens (False) and of prompts (True)."""
        self._load_source = None if fixed or most == 1 else load or SystemLoad()
        self._last_step_at = time.monotonic()
        self._after_rest = False
        self._one_thread_token_s: float | None = None  # approximate seconds that one thread takes for a token
        self._busy_cores = 0.0
        self._default_candidates: tuple[int, ...] = (most,)
        self._candidates: tuple[int, ...] = self._default_candidates
        self._doubtful_steps = 0
        self._tuners = (_ThreadCountTuner(), _ThreadCountTuner())
        self._slow_step_detector = _SlowStepDetector()

    def sample_load(self) -> None:
        """Measure the load if it is due."""
        rested = self._after_rest = time.monotonic() - self._last_step_at > _REST_S
        busy = None if self._load_source is None else self._load_source.busy_cores(rested=rested)
        if busy is None:
            return
        self._busy_cores = busy
        free = max(1.0, min(float(self.most), self.most - busy))
        low = max(1, int(free + _LOAD_TOLERANCE_CORES))
        high = max(low, min(int(free + 1 - _LOAD_TOLERANCE_CORES), self.most))
        if not (self._doubtful_steps and low == self.most):
            self._set_candidates(tuple(range(low, high + 1)))

    def _set_candidates(self, candidates: tuple[int, ...]) -> None:
        if candidates == self._candidates:
            return
        self._candidates = candidates
        self._doubtful_steps = 0
        self._slow_step_detector.reset()
        for tuner in self._tuners:
            tuner.reset()

    def note_other_work(self) -> None:
        """Note that this process computed something else, after which the cores are not at rest."""
        self._last_step_at = time.monotonic()

    def pick(self, tokens: int, *, prompt: bool = False) -> int:
        """Return the threads for a step of that many tokens, either of a ``prompt`` or one of each sequence."""
        if self._is_brief(tokens):
            threads = 1
        elif len(self._candidates) == 1:
            threads = self._candidates[0]
        else:
            threads = self._tuners[prompt].pick(self._candidates, tokens)
        self.last_used[prompt] = threads
        return threads

    def _is_brief(self, tokens: int) -> bool:
        return (
            self._after_rest
            and not self.fixed
            and self._one_thread_token_s is not None
            and tokens * self._one_thread_token_s <= _BRIEF_STEP_S
        )

    def record(self, threads: int, tokens: int, seconds: float, *, prompt: bool = False) -> None:
        """Record the duration of a step."""
        self._last_step_at = time.monotonic()
        token_s = seconds * threads / tokens * (2 if prompt else 1)  # a single token takes longer than one of a prompt
        known_s = self._one_thread_token_s
        self._one_thread_token_s = token_s if known_s is None else min(1.02 * known_s, token_s)
        if prompt:  # the next tokens may attend to more cells, and take longer
            self._slow_step_detector.reset()
        if len(self._candidates) > 1:
            self._tuners[prompt].record(threads, tokens, seconds)
            if self._doubtful_steps:
                self._doubtful_steps -= 1
                if not self._doubtful_steps:
                    self._set_candidates(self._default_candidates)
        elif (
            tokens == 1
            and self._load_source is not None
            and self._candidates == self._default_candidates
            and self._slow_step_detector.record(seconds)
        ):
            # loads that the kernel's counters do not show: an unknown quota, a busy host
            fewer = {max(1, n) for n in (self.most // 2, self.most - 2, self.most - 1, self.most)}
            self._set_candidates(tuple(sorted(fewer)))
            self._doubtful_steps = _DOUBT_STEPS

    @property
    def explanation(self) -> str:
        """Return one sentence on the present choice and its reason."""
        decode, prompt = self.last_used.get(False, self._candidates[0]), self.last_used.get(True, self._candidates[0])
        chosen = f"{decode}" if decode == prompt else f"{decode} for single tokens, {prompt} for prompts"
        if self.fixed:
            why = "as set"
        elif decode == 1 and self._is_brief(1):
            why = "after an idle time one finishes before the others wake up"
        elif self._doubtful_steps:
            why = "steps took much longer than before, so fewer are tried"
        elif self._candidates != self._default_candidates:
            why = f"other processes keep {min(self._busy_cores, self.most):.1f} of {self.most} cores busy"
        else:
            why = "one for each core that this process may use and other processes leave free"
        return f"threads: {chosen} ({why})"
