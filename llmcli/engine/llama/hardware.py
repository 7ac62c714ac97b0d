"""The resources that this machine, container and process may use: cores, memory, GPUs, energy.

``EnergyMeter`` reads the energy that the processor packages use from the counters of Linux powercap. Interface:
Documentation/power/powercap/powercap.rst of Linux. Each zone is a directory with ``name``, ``energy_uj`` (a
counter in microjoules) and ``max_energy_range_uj`` (where the counter wraps to 0). Only the zones of packages count:
their sub-zones (cores, uncore, memory) are parts of them, and "psys" includes all of them.
"""

from __future__ import annotations

import ctypes
import json
import os
import sys
import time
from contextlib import suppress
from functools import lru_cache
from pathlib import Path

from llmcli import engine_library
from llmcli.engine.llama import bindings
from llmcli.fast_dataclass import frozen
from llmcli.files import private_files

_CGROUP_DIR = Path("/sys/fs/cgroup")
_DEVICE_TYPE_GPU, _DEVICE_TYPE_INTEGRATED_GPU = 1, 2  # GGML_BACKEND_DEVICE_TYPE_GPU and _IGPU of ggml-backend.h
_MAX_DIGITS = 20  # of 64 bits
_M_MMAP_THRESHOLD = -3  # of mallopt(3)
_LARGE_BLOCK_BYTES = 4 << 20


@frozen
class CpuCores:
    """``affinity``: logical cores this process may run on; ``physical``: cores among them; ``quota``: CPUs by cgroup.

    ``max_threads`` is the number of threads that can compute at once.
    """

    affinity: int
    physical: int
    quota: float | None

    @property
    def max_threads(self) -> int:
        """Threads that can compute at once: the physical cores, or fewer if the quota is smaller."""
        return self.physical if self.quota is None else max(1, min(self.physical, int(self.quota + 0.5)))


def _read_text_file(path: Path | str) -> str | None:
    """Return the text of a small system file, stripped; None if it cannot be read.

    A file that is read again and again is better named by text: each new ``Path`` adds its parts to Python's table of
    interned strings, which a long job would make grow by 2 MB.
    """
    try:
        with open(path, encoding="ascii") as file:  # noqa: PTH123 (see above)
            return file.read().strip()
    except (OSError, UnicodeDecodeError):
        return None


@lru_cache(maxsize=4)
def _control_groups(controller: str, root: Path, proc: Path) -> list[Path]:
    """Return this process's control group of ``controller`` ("" is version 2) and its parents, whose limits also apply.

    Lines of /proc/self/cgroup are "number:controllers:path" (cgroups(7)); version 1 mounts each controller separately.
    """
    for line in (_read_text_file(proc) or "").splitlines():
        _, controllers, path = line.split(":", 2)
        if controller in controllers.split(","):
            own = root / controller / path.lstrip("/")
            return [own, *[parent for parent in own.parents if parent.is_relative_to(root / controller)]]
    return [root / controller]


def _read_number_file(path: Path | str) -> int | None:
    """Return the number of up to 64 bits in a system file; None without one ("max", or no such file)."""
    text = _read_text_file(path) or ""
    return int(text) if text.isdecimal() and len(text) <= _MAX_DIGITS else None


def read_cpu_quota(root: Path = _CGROUP_DIR, proc: Path = Path("/proc/self/cgroup")) -> float | None:
    """Return the smallest CPU quota in CPUs (Linux control groups, versions 2 and 1), or None without one."""
    quotas = []
    for group in _control_groups("", root, proc):
        quota, _, period = (_read_text_file(group / "cpu.max") or "").partition(" ")  # microseconds
        if quota.isdecimal() and period.isdecimal():
            quotas.append(int(quota) / int(period))
    for group in _control_groups("cpu", root, proc):
        limit, length = _read_number_file(group / "cpu.cfs_quota_us"), _read_number_file(group / "cpu.cfs_period_us")
        if limit and length:
            quotas.append(limit / length)
    return min(quotas, default=None)


def detect_cores(topology: Path = Path("/sys/devices/system/cpu")) -> CpuCores:
    """Measure the cores that this process may use."""
    allowed = os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else set(range(os.cpu_count() or 1))
    siblings = {_read_text_file(topology / f"cpu{core}/topology/thread_siblings_list") or str(core) for core in allowed}
    return CpuCores(affinity=len(allowed), physical=len(siblings), quota=read_cpu_quota())


def _cgroup_headroom(group: Path, limit_file: str, used_file: str, reclaimable: str) -> list[int]:
    limit, used = _read_number_file(f"{group}/{limit_file}"), _read_number_file(f"{group}/{used_file}")
    if limit is None or used is None:
        return []
    # the system releases file pages that were not used recently (a model just downloaded) when memory is needed
    words = (_read_text_file(f"{group}/memory.stat") or "").split()
    cached = int(words[words.index(reclaimable) + 1]) if reclaimable in words else 0
    return [max(0, limit - used + cached)]


def available_memory(root: Path = _CGROUP_DIR, proc: Path = Path("/proc/self/cgroup")) -> int | None:
    """Return the bytes that can be allocated without swapping: free memory, within the control group's limit."""
    lines = (_read_text_file("/proc/meminfo") or "").splitlines()
    amounts = [int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable:")]
    for group in _control_groups("", root, proc):
        amounts += _cgroup_headroom(group, "memory.max", "memory.current", "inactive_file")
    for group in _control_groups("memory", root, proc):
        amounts += _cgroup_headroom(group, "memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file")
    return min(amounts, default=None)


def peak_memory() -> int | None:
    """Return the most bytes that this process had in memory so far; None if the system does not say."""
    try:
        import resource
    except ImportError:  # Windows
        return None
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss  # KiB on Linux, bytes on macOS (getrusage(2))
    return most if sys.platform == "darwin" else most * 1024


def resident_memory() -> int | None:
    """Return the bytes that this process has in memory now (proc_pid_statm(5)); None if the system does not say."""
    pages = (_read_text_file("/proc/self/statm") or "").split()
    return int(pages[1]) * os.sysconf("SC_PAGE_SIZE") if len(pages) > 1 else None


def set_mmap_threshold() -> None:
    """Make glibc return every freed block of some MB to the system at once (mallopt(3)).

    By default it moves such blocks into the heap when the first one is freed. States of sequences, which are read and
    written when a context is replaced, then leave holes: a translation kept 20 MB more in memory.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(_M_MMAP_THRESHOLD, _LARGE_BLOCK_BYTES)


def release_free_memory() -> None:
    """Return the pages of freed blocks to the system if the C library keeps them (malloc_trim(3) of glibc)."""
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)


@frozen
class Gpu:
    """A device that llama.cpp can offload to; memory in bytes. ``shared``: it is the machine's main memory."""

    name: str
    free: int
    total: int
    shared: bool = False


def list_gpus() -> list[Gpu]:
    """List the devices that this build of llama.cpp can offload to; empty for a CPU build."""
    library = bindings.lib()
    if not library.llama_supports_gpu_offload():
        return []
    ggml = library._lib  # noqa: SLF001 (the binding does not declare the device functions of ggml-backend.h)
    ggml.ggml_backend_dev_count.restype = ctypes.c_size_t
    ggml.ggml_backend_dev_get.restype = ctypes.c_void_p
    ggml.ggml_backend_dev_get.argtypes = [ctypes.c_size_t]
    ggml.ggml_backend_dev_description.restype = ctypes.c_char_p
    ggml.ggml_backend_dev_description.argtypes = [ctypes.c_void_p]
    ggml.ggml_backend_dev_type.argtypes = [ctypes.c_void_p]
    ggml.ggml_backend_dev_memory.argtypes = [ctypes.c_void_p, *[ctypes.POINTER(ctypes.c_size_t)] * 2]
    found = []
    for index in range(ggml.ggml_backend_dev_count()):
        device = ggml.ggml_backend_dev_get(index)
        kind = ggml.ggml_backend_dev_type(device)
        if kind not in {_DEVICE_TYPE_GPU, _DEVICE_TYPE_INTEGRATED_GPU}:
            continue
        free, total = ctypes.c_size_t(), ctypes.c_size_t()
        ggml.ggml_backend_dev_memory(device, ctypes.byref(free), ctypes.byref(total))
        name = ggml.ggml_backend_dev_description(device).decode("utf-8", "replace")
        found.append(Gpu(name, free.value, total.value, shared=kind == _DEVICE_TYPE_INTEGRATED_GPU))
    return found


_POWERCAP_DIR = Path("/sys/class/powercap")
_ZONE_PATTERN = "intel-rapl:*"  # AMD's processors have this name too
_PACKAGE_PREFIX = "package-"
_JOULES_PER_MICROJOULE = 1e-6


class EnergyMeter:
    """Counts the joules of all packages since its creation, including those of other processes.

    A counter wraps to 0 after 65 to 262 kJ (an hour at 70 W, or less). One wrap between two calls of ``read_joules`` is
    detected, more are not: call it periodically in a longer measurement.
    """

    def __init__(self, root: Path = _POWERCAP_DIR) -> None:
        """``root`` is the directory of the zones. Never raises: ``read_joules`` returns None without counters."""
        self._zones = _find_packages(root)
        self._last = _read_counters(self._zones)
        self._microjoules = 0

    def read_joules(self) -> float | None:
        """Return the joules since the creation; always None once a package could not be read."""
        now = None if self._last is None else _read_counters(self._zones)
        if self._last is not None and now is not None:
            for (count, span), (before, _) in zip(now, self._last, strict=True):
                self._microjoules += count - before if count >= before else count - before + span
        self._last = now
        return None if now is None else self._microjoules * _JOULES_PER_MICROJOULE


def _find_packages(root: Path) -> list[Path]:
    try:
        zones = sorted(root.glob(_ZONE_PATTERN))
    except OSError:
        return []
    names = {zone: _read_text_file(zone / "name") for zone in zones}
    if None in names.values():  # it may be a package
        return []
    return [zone for zone, name in names.items() if str(name).startswith(_PACKAGE_PREFIX)]


def _read_counters(zones: list[Path]) -> list[tuple[int, int]] | None:
    """Return (counter, where it wraps) of each zone in microjoules; None unless all can be read."""
    found = [(_read_number_file(zone / "energy_uj"), _read_number_file(zone / "max_energy_range_uj")) for zone in zones]
    read = [(count, span) for count, span in found if count is not None and span is not None]
    return read if zones and len(read) == len(found) else None


_BUFFER_BYTES = 512 << 20
"""More than processor caches hold."""
_ROUNDS = 5
_FREE_MEMORY_DIVISOR = 8
"""The buffer takes at most this fraction of the free memory."""
_MAX_BANDWIDTH_AGE_S = 24 * 3600
"""Seconds for which a measurement counts: other processes may have used the memory meanwhile."""


def load_or_measure_bandwidth(directory: Path) -> float:
    """Return bytes a second, measured once a day per processor and number of threads, and cached in ``directory``."""
    file = directory / "bandwidth.json"
    threads = detect_cores().max_threads
    key = f"{engine_library.processor_name()}, {threads}"
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
    import statistics
    from concurrent.futures import ThreadPoolExecutor

    import numpy as np

    free = available_memory()
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
        if not 0 <= time.time() - file.stat().st_mtime < _MAX_BANDWIDTH_AGE_S:
            return {}
        data = json.loads(file.read_text(encoding="utf-8"))
        return {key: float(rate) for key, rate in data.items() if float(rate) > 0}
    except (OSError, ValueError, TypeError, AttributeError, RecursionError):
        return {}
