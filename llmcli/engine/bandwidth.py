"""How many bytes a second this machine reads from memory: what bounds the speed of one answer."""

from __future__ import annotations

import json
import statistics
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

from llmcli import private_files
from llmcli.engine import machine

_BYTES = 512 << 20  # more than the caches of processors hold
_ROUNDS = 5
_SHARE = 8  # at most one part in so many of the memory that is free
_FRESH = 24 * 3600  # seconds: others may have kept the memory busy when it was measured


def bandwidth(directory: Path) -> float:
    """Return bytes a second, measured once a day for a processor and a number of threads, and kept in ``directory``."""
    file = directory / "bandwidth.json"
    threads = machine.cores().usable
    key = f"{machine.processor()}, {threads}"
    known = _read(file)
    if key in known:
        return known[key]
    measured = measure(threads)
    with suppress(OSError):  # a directory that cannot be written: it is measured again
        private_files.replace_file(file, json.dumps({**known, key: measured}).encode())
    return measured


def measure(threads: int, size: int = _BYTES) -> float:
    """Read ``size`` bytes with so many threads, a few times, and return the usual rate, in bytes a second.

    Takes a fraction of a second, and less memory where little is free.
    """
    import numpy as np

    free = machine.available_memory()
    size = max(1 << 20, size if free is None else min(size, free // _SHARE))
    numbers = np.ones(size // 8)
    parts = np.array_split(numbers, threads)
    rates = []
    with ThreadPoolExecutor(threads) as pool:
        for _ in range(_ROUNDS):
            started = time.perf_counter()
            list(pool.map(np.max, parts))  # of all reductions the one that computes least
            rates.append(numbers.nbytes / (time.perf_counter() - started))
    return statistics.median(rates)


def _read(file: Path) -> dict[str, float]:
    """Return the rates that were measured before; a file that is old or damaged counts as none."""
    try:
        if not 0 <= time.time() - file.stat().st_mtime < _FRESH:
            return {}
        data = json.loads(file.read_text(encoding="utf-8"))
        return {key: float(rate) for key, rate in data.items() if float(rate) > 0}
    except (OSError, ValueError, TypeError, AttributeError, RecursionError):
        return {}
