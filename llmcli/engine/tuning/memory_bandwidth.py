"""How many bytes a second this machine reads from memory, which limits the speed of one answer."""

from __future__ import annotations

import json
import statistics
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

from llmcli.engine.llama import hardware
from llmcli.files import private_files

_BUFFER_BYTES = 512 << 20  # more than processor caches hold
_ROUNDS = 5
_FREE_MEMORY_DIVISOR = 8  # at most this fraction of the free memory
_MAX_AGE_S = 24 * 3600  # other processes may have used the memory during the measurement


def load_or_measure_bandwidth(directory: Path) -> float:
    """Return bytes a second, measured once a day per processor and number of threads, and cached in ``directory``."""
    file = directory / "bandwidth.json"
    threads = hardware.detect_cores().max_threads
    key = f"{hardware.processor_name()}, {threads}"
    known = _read_rates(file)
    if key in known:
        return known[key]
    measured = measure_bandwidth(threads)
    with suppress(OSError):  # the directory is not writable: it is measured again
        private_files.replace_file(file, json.dumps({**known, key: measured}).encode())
    return measured


def measure_bandwidth(threads: int, size: int = _BUFFER_BYTES) -> float:
    """Read ``size`` bytes with that many threads, a few times, and return the median rate in bytes a second.

    Takes a fraction of a second, and less memory if little is free.
    """
    import numpy as np

    free = hardware.available_memory()
    size = max(1 << 20, size if free is None else min(size, free // _FREE_MEMORY_DIVISOR))
    numbers = np.ones(size // 8)
    parts = np.array_split(numbers, threads)
    rates = []
    with ThreadPoolExecutor(threads) as pool:
        for _ in range(_ROUNDS):
            started = time.perf_counter()
            list(pool.map(np.max, parts))  # the reduction that computes least
            rates.append(numbers.nbytes / (time.perf_counter() - started))
    return statistics.median(rates)


def _read_rates(file: Path) -> dict[str, float]:
    """Return the rates that were measured before; an old or damaged file counts as empty."""
    try:
        if not 0 <= time.time() - file.stat().st_mtime < _MAX_AGE_S:
            return {}
        data = json.loads(file.read_text(encoding="utf-8"))
        return {key: float(rate) for key, rate in data.items() if float(rate) > 0}
    except (OSError, ValueError, TypeError, AttributeError, RecursionError):
        return {}
