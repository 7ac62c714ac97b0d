"""The resources of the process: control groups of both versions, affinity, physical cores."""

from __future__ import annotations

import os
from types import SimpleNamespace

import pytest

from llmcli.engine.llama import hardware
from llmcli.engine.llama.hardware import CpuCores, available_memory, read_cpu_quota, release_free_memory


@pytest.fixture
def group(tmp_path):
    """Return a function from the lines of /proc/self/cgroup to the root of control files and that file."""

    def write(lines):
        (tmp_path / "proc").write_text("\n".join(lines) + "\n")
        (tmp_path / "cgroup").mkdir()
        return tmp_path / "cgroup", tmp_path / "proc"

    return write


def put(root, path, text):
    (root / path).parent.mkdir(parents=True, exist_ok=True)
    (root / path).write_text(f"{text}\n")


def test_a_quota_of_version_2_counts_in_cpus(group):
    """``cpu.max`` contains quota and period in microseconds."""
    root, proc = group(["0::/"])
    put(root, "cpu.max", "150000 100000")
    assert read_cpu_quota(root, proc) == 1.5


def test_no_quota_is_none(group):
    """The word max means no limit; so does a machine without control groups."""
    root, proc = group(["0::/"])
    assert read_cpu_quota(root, proc) is None
    put(root, "cpu.max", "max 100000")
    assert read_cpu_quota(root, proc) is None
    assert read_cpu_quota(root / "none", proc.parent / "none") is None


def test_the_smallest_quota_of_all_parents_applies(group):
    """A quota of any parent of this process's group limits it."""
    root, proc = group(["0::/a/b/c"])
    for path, quota in (("a", "400000"), ("a/b", "120000"), ("a/b/c", "max"), ("other", "1000")):
        put(root, f"{path}/cpu.max", f"{quota} 100000")
    assert read_cpu_quota(root, proc) == 1.2


def test_a_quota_of_version_1_is_read_in_the_group_and_its_parents(group):
    """Version 1 has a hierarchy for each controller, and -1 means no limit."""
    root, proc = group(["5:cpu,cpuacct:/docker/x", "3:memory:/docker/x", "0::/"])
    for path, quota in (("cpu", -1), ("cpu/docker", 250000), ("cpu/docker/x", -1)):
        put(root, f"{path}/cpu.cfs_quota_us", quota)
        put(root, f"{path}/cpu.cfs_period_us", 100000)
    assert read_cpu_quota(root, proc) == 2.5


def test_a_container_of_version_1_sees_its_own_group_at_the_root(group):
    """Inside a container the path of /proc does not exist, and the root of the mount is the container's group."""
    root, proc = group(["5:cpu,cpuacct:/docker/not/mounted"])
    put(root, "cpu/cpu.cfs_quota_us", 50000)
    put(root, "cpu/cpu.cfs_period_us", 100000)
    assert read_cpu_quota(root, proc) == 0.5


@pytest.mark.parametrize(
    ("affinity", "physical", "quota", "usable"),
    [(8, 4, None, 4), (8, 4, 2.0, 2), (8, 4, 1.5, 2), (8, 4, 1.4, 1), (8, 4, 0.1, 1), (1, 1, None, 1), (4, 4, 64.0, 4)],
)
def test_usable_threads_are_physical_cores_within_the_quota(affinity, physical, quota, usable):
    """Hyperthreads do not count, a smaller quota does, and the minimum is one thread."""
    assert CpuCores(affinity, physical, quota).max_threads == usable


def test_siblings_of_one_core_count_once(monkeypatch, tmp_path):
    """Logical cores of one physical core count as one."""
    for core, siblings in ((0, "0,4"), (1, "1,5"), (4, "0,4"), (5, "1,5")):
        put(tmp_path, f"cpu{core}/topology/thread_siblings_list", siblings)
    for allowed, physical in (({0, 1, 4, 5}, 2), ({0, 4}, 1), ({4, 5}, 2), ({0, 99}, 2)):
        monkeypatch.setattr(os, "sched_getaffinity", lambda _, allowed=allowed: allowed, raising=False)
        found = hardware.detect_cores(tmp_path)
        assert (found.affinity, found.physical) == (len(allowed), physical)


def test_affinity_smaller_than_the_machine_counts(monkeypatch):
    """A process that is bound to one core of many has one."""
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0}, raising=False)
    assert hardware.detect_cores().max_threads == 1


def test_a_memory_limit_of_version_2_counts(group):
    """With a limit of version 2, the memory left is the limit minus the usage, the minimum over all groups."""
    root, proc = group(["0::/a"])
    put(root, "a/memory.max", 5000)
    put(root, "a/memory.current", 3000)
    put(root, "memory.max", "max")
    assert available_memory(root, proc) == 2000


def test_cached_files_do_not_use_up_the_memory(group):
    """Pages of a file that was just downloaded can be reclaimed, so they count as available."""
    root, proc = group(["0::/"])
    put(root, "memory.max", 5000)
    put(root, "memory.current", 4900)
    put(root, "memory.stat", "anon 900\nfile 4000\ninactive_file 3500\nactive_file 500")
    assert available_memory(root, proc) == 3600


def test_a_memory_limit_of_version_1_counts(group):
    """Version 1 has other names for the same values."""
    root, proc = group(["3:memory:/x"])
    put(root, "memory/x/memory.limit_in_bytes", 7000)
    put(root, "memory/x/memory.usage_in_bytes", 1000)
    put(root, "memory/x/memory.stat", "total_inactive_file 500")
    assert available_memory(root, proc) == 6500


def test_without_a_limit_the_machines_memory_counts(group):
    """If no group limits memory, it is the available memory of the system."""
    root, proc = group(["0::/"])
    free = available_memory(root, proc)
    assert free is None or free > 2**20


def test_freed_blocks_of_some_megabytes_are_returned(monkeypatch):
    """The C library is asked for it once for all; one without ``mallopt`` returns them anyway, or cannot."""
    calls = []
    library = SimpleNamespace(mallopt=lambda *given: calls.append(given))
    monkeypatch.setattr(hardware.ctypes, "CDLL", lambda name: library)
    hardware.set_mmap_threshold()
    assert calls == [(-3, 4 << 20)]
    del library.mallopt
    hardware.set_mmap_threshold()
    assert len(calls) == 1


def test_the_c_library_is_asked_to_return_its_free_pages(monkeypatch):
    """All that it can; one without ``malloc_trim`` is left alone."""
    calls = []
    library = SimpleNamespace(malloc_trim=calls.append)
    monkeypatch.setattr(hardware.ctypes, "CDLL", lambda name: library)
    release_free_memory()
    assert calls == [0]
    del library.malloc_trim
    release_free_memory()
    assert calls == [0]
