"""What this machine, container and process may really use: cores, memory, GPUs."""

from __future__ import annotations

import ctypes
import os
from dataclasses import dataclass
from pathlib import Path

from llmcli.engine import native

_CGROUP = Path("/sys/fs/cgroup")


@dataclass(frozen=True, slots=True)
class Cores:
    """``affinity``: logical cores this process may run on; ``physical``: cores among them; ``quota``: CPUs by cgroup.

    ``usable`` is how many threads can compute at once.
    """

    affinity: int
    physical: int
    quota: float | None

    @property
    def usable(self) -> int:
        """Threads that can compute at the same time: physical cores, fewer where a quota is smaller."""
        return self.physical if self.quota is None else max(1, min(self.physical, int(self.quota + 0.5)))


def _read(path: Path) -> str | None:
    try:
        return path.read_text(encoding="ascii").strip()
    except (OSError, UnicodeDecodeError):
        return None


def _own_cgroups(root: Path = _CGROUP, proc: Path = Path("/proc/self/cgroup")) -> list[Path]:
    """Return this process's control group (version 2) and its parents; limits of any of them bind."""
    line = _read(proc) or ""
    relative = next((entry.split("::", 1)[1] for entry in line.splitlines() if entry.startswith("0::")), "/")
    path = root / relative.lstrip("/")
    return [path, *[parent for parent in path.parents if parent == root or root in parent.parents]]


def cpu_quota(root: Path = _CGROUP, proc: Path = Path("/proc/self/cgroup")) -> float | None:
    """Return the smallest CPU quota in CPUs (Linux control groups, versions 2 and 1), or None without one."""
    quotas = []
    for group in _own_cgroups(root, proc):
        words = (_read(group / "cpu.max") or "max 1").split()
        if words[0] != "max" and len(words) == 2:  # noqa: PLR2004 ("quota period", microseconds)
            quotas.append(int(words[0]) / int(words[1]))
    quota, period = _read(root / "cpu/cpu.cfs_quota_us"), _read(root / "cpu/cpu.cfs_period_us")
    if quota and period and int(quota) > 0:
        quotas.append(int(quota) / int(period))
    return min(quotas, default=None)


def cores() -> Cores:
    """Measure the cores that this process may use."""
    allowed = os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else set(range(os.cpu_count() or 1))
    siblings = {
        _read(Path(f"/sys/devices/system/cpu/cpu{core}/topology/thread_siblings_list")) or str(core) for core in allowed
    }
    return Cores(affinity=len(allowed), physical=len(siblings), quota=cpu_quota())


def available_memory(root: Path = _CGROUP, proc: Path = Path("/proc/self/cgroup")) -> int | None:
    """Return the bytes that can be allocated without swapping: free memory, less where a control group limits it."""
    lines = (_read(Path("/proc/meminfo")) or "").splitlines()
    amounts = [int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable:")]
    for group in _own_cgroups(root, proc):
        limit, used = _read(group / "memory.max"), _read(group / "memory.current")
        if limit and limit != "max" and used:
            amounts.append(max(0, int(limit) - int(used)))
    return min(amounts, default=None)


@dataclass(frozen=True, slots=True)
class Gpu:
    """One device that llama.cpp can offload to; memory in bytes."""

    name: str
    free: int
    total: int


def gpus() -> list[Gpu]:
    """List the devices that this build of llama.cpp can offload to; empty for a CPU build."""
    library = native.lib()
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
        if ggml.ggml_backend_dev_type(device) not in {1, 2}:  # GGML_BACKEND_DEVICE_TYPE_GPU and _IGPU
            continue
        free, total = ctypes.c_size_t(), ctypes.c_size_t()
        ggml.ggml_backend_dev_memory(device, ctypes.byref(free), ctypes.byref(total))
        name = ggml.ggml_backend_dev_description(device).decode("utf-8", "replace")
        found.append(Gpu(name, free.value, total.value))
    return found
