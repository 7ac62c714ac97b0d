"""Measuring attention with a stand-in: what is timed, what is stored, and how it works in the background."""

from __future__ import annotations

import dataclasses
import io
import itertools
import json
import math
import os
import runpy
import subprocess
import sys
import tempfile
import types

import pytest
from engine.tools import for_all
from hypothesis import strategies as st

from llmcli.engine.llama import threads
from llmcli.engine.tuning import standin
from llmcli.engine.tuning.cost_profile import ASSUMED_PROFILE, ATTENTION_KERNELS, AttentionCosts, AttentionGeometry
from llmcli.engine.tuning.standin import profile_path
from llmcli.models.gguf.header_parser import parse_header, read_header

TINY = AttentionGeometry(heads=4, kv_heads=2, size=32, layers=3)
MEASURED = dataclasses.replace(ASSUMED_PROFILE, measured=True)


@pytest.fixture
def quick(monkeypatch):
    """Measure very little: short pieces, once."""
    for name, value in {"_PIECE": 32, "_DEEP": 64, "_OWN": 8, "_TRIES": 1, "_ROUNDS": 1}.items():
        assert hasattr(standin, name)
        monkeypatch.setattr(standin, name, value)


# ---- measuring -------------------------------------------------------------------------------------------------------


def test_a_measurement_gives_costs_of_every_kernel(quick):
    """All costs are finite and not negative, and not all are 0; progress goes from nothing to everything."""
    told = []
    profile = standin.measure(TINY, 1, lambda done, total: told.append((done, total)))
    assert set(profile.kernels) == set(ATTENTION_KERNELS) and profile.measured
    for costs in profile.kernels.values():
        numbers = list(itertools.chain(*dataclasses.astuple(costs)))
        assert all(math.isfinite(number) and number >= 0 for number in numbers) and sum(numbers) > 0
    assert math.isfinite(profile.copy) and profile.copy >= 0
    total = told[-1][1]
    assert told == [(done, total) for done in range(total + 1)] and total % len(ATTENTION_KERNELS) == 0


def test_each_kernel_is_measured_in_both_layouts_with_the_threads_asked_for(quick, monkeypatch):
    """Contexts are created for every possible setting, with a constant number of threads."""
    made = []
    real = standin.Context

    def context(model, config, should_abort):
        made.append(config)
        return real(model, config, should_abort)

    monkeypatch.setattr(standin, "Context", context)
    standin.measure(TINY, 1)
    assert {(c.flash_attention, c.kv_type, c.unified) for c in made} == {
        (*kernel, unified) for kernel in ATTENTION_KERNELS for unified in (True, False)
    }
    assert all(c.threads.most == 1 and c.threads.fixed for c in made)


def test_a_measurement_that_is_stopped_leaves_nothing_behind(quick, monkeypatch, tmp_path):
    """An exception of the progress callback ends the measurement, and the stand-in's file is removed."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))

    def stop(done, _total):
        assert list(tmp_path.iterdir()), "measured without a model"
        if done == 1:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        standin.measure(TINY, 1, stop)
    assert not list(tmp_path.iterdir())


seconds = st.floats(1e-9, 1e-3)


@for_all(st.lists(seconds, min_size=9, max_size=9))
def test_the_fit_recovers_the_costs(values):
    """From times that follow the formula exactly, the fit returns the original costs."""
    prompt, each, single, more, empty, buffer, own, alone, line = values
    piece, deep, before, rows = standin._PIECE, standin._DEEP, standin._OWN, standin.BATCH_ROWS
    times = standin._Times(
        prompt=prompt + each * piece / 2,
        prompt_deep=prompt + each * (deep + piece / 2),
        single=single + more * before,
        single_deep=single + more * (deep + piece),
        empty=empty,
        shared=empty + (buffer + own) * piece,
        distinct=empty + buffer * rows * before + own * before,
        alone=alone,
        own=alone + line * before,
        copied=0.0,
        not_copied=0.0,
    )
    work = 10
    found = standin._fit_costs(times, work)
    made = AttentionCosts((prompt, each), (single, more), (empty, buffer, own), (alone, line))
    for a, b in zip(dataclasses.astuple(found), dataclasses.astuple(made), strict=True):
        assert a == pytest.approx([value / work for value in b], rel=1e-3, abs=1e-9)


@for_all(st.lists(st.floats(0, 1.0), min_size=11, max_size=11))
def test_costs_of_any_times_are_not_negative(values):
    """However disturbed the times are, no cost is negative: a job would seem to gain time."""
    for numbers in dataclasses.astuple(standin._fit_costs(standin._Times(*values), 7)):
        assert min(numbers) >= 0


# ---- the stand-in ----------------------------------------------------------------------------------------------------


def geometries(kv_heads, group, layers):
    """Return geometries with at most this many key heads, heads for each of them, and layers."""
    return st.builds(
        lambda kv_heads, group, size, layers: AttentionGeometry(kv_heads * group, kv_heads, size, layers),
        st.integers(1, kv_heads),
        st.integers(1, group),
        st.sampled_from([16, 32, 48, 64, 80, 128, 256]),
        st.integers(1, layers),
    )


@for_all(geometries(3, 3, 3), examples=25)
def test_the_file_has_the_geometry_asked_for(geometry):
    """Our own header reader finds a valid file, without a recurrent state, of exactly that geometry."""
    data = standin._gguf(geometry)
    header = parse_header(io.BytesIO(data), len(data), "stand-in")
    assert AttentionGeometry.from_header(header) == geometry and not header.recurrent
    assert header.data_offset + header.weights_bytes == len(data)


def test_the_model_that_is_measured_has_the_heads_of_the_large_one(quick, monkeypatch):
    """llama.cpp loads a file with the reduced geometry."""
    read = []
    real = standin.Model

    def model(path, **how):
        read.append(AttentionGeometry.from_header(read_header(path)))
        return real(path, **how)

    monkeypatch.setattr(standin, "Model", model)
    standin.measure(AttentionGeometry(64, 16, 64, 80), 1)
    assert read == [AttentionGeometry(16, 4, 64, 2)]


@for_all(geometries(64, 16, 100))
def test_large_geometries_are_reduced_in_proportion(geometry):
    """Fewer heads of the same size, with the same number per key head; small ones stay; always two layers."""
    small = standin._reduced_geometry(geometry)
    assert small.size == geometry.size and small.layers == 2
    assert small.heads * geometry.kv_heads == geometry.heads * small.kv_heads
    assert 1 <= small.kv_heads <= geometry.kv_heads
    assert small.heads * small.size <= standin._MOST or small.kv_heads == 1
    if geometry.heads * geometry.size <= standin._MOST:
        assert small == dataclasses.replace(geometry, layers=2)


# ---- what is kept ----------------------------------------------------------------------------------------------------


def test_a_written_profile_can_be_read(tmp_path):
    """Directories are created, nothing else is left beside the file, and a later profile replaces it."""
    path = profile_path(tmp_path / "new", TINY, 2)
    for profile in (MEASURED, dataclasses.replace(MEASURED, copy=1.0)):
        standin.save_profile(profile, path)
        assert standin.load_profile(path) == profile
        assert list(path.parent.iterdir()) == [path]


def test_a_profile_that_cannot_be_written_raises(tmp_path):
    """The caller learns that it failed."""
    (tmp_path / "tuning").write_text("in the way")
    with pytest.raises(OSError, match="tuning"):
        standin.save_profile(MEASURED, profile_path(tmp_path, TINY, 2))


@pytest.mark.parametrize(
    "damage",
    [
        lambda text: text[: len(text) // 2],
        lambda text: text[:-1],
        lambda text: text + text,
        lambda _: "",
        lambda _: "\0" * 100,
        lambda _: "{}",
        lambda _: "[]",
        lambda _: "null",
        lambda _: '"kernels"',
        lambda _: '{"kernels": {}, "copy": 1}',
        lambda text: text.replace("f16", "f17"),
        lambda text: text.replace("prompt", "promt"),
        lambda text: text.replace('"copy": ', '"copy": "a" '),
    ],
)
def test_a_damaged_profile_is_ignored(tmp_path, damage):
    """A truncated, empty or unrelated file is like no file."""
    path = profile_path(tmp_path, TINY, 2)
    standin.save_profile(MEASURED, path)
    path.write_text(damage(path.read_text()))
    assert standin.load_profile(path) is None


def test_every_truncation_is_noticed(tmp_path):
    """A profile truncated at any byte is either whole or ignored."""
    path = tmp_path / "profile.json"
    whole = json.dumps(MEASURED.to_json())
    for end in range(0, len(whole), 7):
        path.write_text(whole[:end])
        assert standin.load_profile(path) is None


def test_without_a_file_there_is_no_profile(tmp_path):
    """A missing file, a directory in its place and bytes that are not text are ignored."""
    assert standin.load_profile(tmp_path / "missing") is None
    assert standin.load_profile(tmp_path) is None
    (tmp_path / "binary").write_bytes(b"\xff\xfe\x00")
    assert standin.load_profile(tmp_path / "binary") is None


def test_each_number_of_threads_and_geometry_has_a_file_of_its_own(tmp_path, monkeypatch):
    """Threads, heads, key heads and their size count, as do processor and build; the number of layers does not."""
    changes = ({"heads": 8}, {"kv_heads": 1}, {"size": 64})
    paths = {profile_path(tmp_path, dataclasses.replace(TINY, **change), 2) for change in changes}
    paths |= {profile_path(tmp_path, TINY, number) for number in (1, 2, 3)}
    assert profile_path(tmp_path, dataclasses.replace(TINY, layers=9), 2) == profile_path(tmp_path, TINY, 2)
    for name in ("bindings.version", "bindings.system_info", "hardware.processor_name"):
        with monkeypatch.context() as patch:
            patch.setattr(f"llmcli.engine.llama.{name}", lambda: "another")
            paths.add(profile_path(tmp_path, TINY, 2))
    assert len(paths) == 9 and {path.parent for path in paths} == {tmp_path / "tuning"}


# ---- in the background -----------------------------------------------------------------------------------------------


class Machine:
    """A machine whose clock advances when the code sleeps; others keep this many cores busy at each sample."""

    def __init__(self, monkeypatch):
        self.now, self.loads, self.priority, self.measured = 1e6, itertools.repeat(0.0), 0, []
        self.meanwhile = lambda: None
        clock = types.SimpleNamespace(time=lambda: self.now, monotonic=lambda: self.now, sleep=self._sleep)
        monkeypatch.setattr(standin, "time", clock)
        monkeypatch.setattr(standin, "SystemLoad", lambda: self)
        monkeypatch.setattr(standin, "measure", self._measure)
        monkeypatch.setattr(os, "nice", self._nice)

    def _sleep(self, duration):
        self.now += duration

    def _nice(self, more):
        self.priority += more
        return self.priority

    def busy_cores(self, *, rested=False):
        return next(self.loads)

    def _measure(self, geometry, number):
        self.measured.append((geometry, number))
        self.meanwhile()
        return MEASURED


@pytest.fixture
def machine(monkeypatch):
    """Replace clock, load, priority and measurement."""
    return Machine(monkeypatch)


@pytest.fixture
def path(tmp_path):
    return profile_path(tmp_path, TINY, 2)


@pytest.fixture
def lock(path):
    path.parent.mkdir()
    return path.with_suffix(".lock")


def run(tmp_path):
    standin._in_background(tmp_path, TINY, 2)


def test_an_idle_machine_is_measured_once(machine, tmp_path, path):
    """With the lowest priority, while the lock excludes others; then the profile exists and the lock is removed."""
    machine.meanwhile = lambda: run(tmp_path)  # another process at the same time
    run(tmp_path)
    assert machine.measured == [(TINY, 2)] and machine.priority == 19
    assert standin.load_profile(path) == MEASURED and list(path.parent.iterdir()) == [path]


def test_an_existing_profile_is_not_measured_again(machine, tmp_path, path):
    """An existing profile is not changed."""
    standin.save_profile(dataclasses.replace(MEASURED, copy=3.0), path)
    run(tmp_path)
    assert not machine.measured and machine.priority == 0 and standin.load_profile(path).copy == 3.0


def test_a_damaged_profile_is_measured_again(machine, tmp_path, path, lock):
    """An unreadable file is no obstacle."""
    path.write_text("{")
    run(tmp_path)
    assert standin.load_profile(path) == MEASURED


def left(lock, seconds):
    """Create a lock file of this age in seconds."""
    lock.touch()
    os.utime(lock, (seconds, seconds))


@pytest.mark.parametrize("age", [0, 60, 119])
def test_a_fresh_lock_is_respected(machine, tmp_path, lock, age):
    """While another process measures, nothing happens, and its lock stays."""
    left(lock, machine.now - age)
    run(tmp_path)
    assert not machine.measured and list(lock.parent.iterdir()) == [lock]


def test_a_stale_lock_is_taken_over(machine, tmp_path, path, lock):
    """A process that died some minutes ago is no longer measuring."""
    left(lock, machine.now - standin._STALE - 1)
    run(tmp_path)
    assert len(machine.measured) == 1 and list(lock.parent.iterdir()) == [path]


def test_a_busy_machine_is_not_measured(machine, tmp_path, path):
    """If others work for a whole minute, nothing is measured, and a later job may try again."""
    machine.loads = itertools.repeat(0.9)
    before = machine.now
    run(tmp_path)
    assert not machine.measured and not list(path.parent.iterdir())
    assert 60 <= machine.now - before < 70


def test_a_measurement_waits_for_a_quiet_moment(machine, tmp_path, path):
    """It waits while others work; if their load is unknown, it does not wait."""
    machine.loads = iter([0.9, 0.9, 0.1, None])
    run(tmp_path)
    assert len(machine.measured) == 1 and path.exists()


def test_a_disturbed_measurement_is_repeated(machine, tmp_path, path):
    """If others began to work during a measurement, it is repeated."""
    machine.loads = iter([0.0, 0.9, 0.0, 0.1])
    run(tmp_path)
    assert len(machine.measured) == 2 and path.exists()


def test_only_disturbed_measurements_leave_no_profile(machine, tmp_path, path):
    """If every measurement is disturbed, nothing is stored."""
    machine.loads = itertools.cycle([0.0, 0.9])
    run(tmp_path)
    assert machine.measured and not list(path.parent.iterdir())


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt])
def test_the_lock_is_gone_after_a_failure(machine, tmp_path, path, error):
    """Whatever ends the measurement, the next process need not wait for the lock to become stale."""

    def fail():
        raise error

    machine.meanwhile = fail
    with pytest.raises(error):
        run(tmp_path)
    assert not list(path.parent.iterdir())


@pytest.fixture
def started(monkeypatch):
    """Return a list of the processes that would have been started, as (command, arguments of Popen)."""
    found = []
    monkeypatch.setattr(subprocess, "Popen", lambda command, **how: found.append((command, how)))
    return found


def test_the_process_inherits_nothing(started, tmp_path, monkeypatch):
    """It has no terminal, descriptor, session or working directory of ours, and its arguments are absolute."""
    monkeypatch.chdir(tmp_path)
    standin.start_in_background(tmp_path.relative_to(tmp_path), TINY, 3)
    ((command, how),) = started
    assert command == [
        sys.executable,
        "-P",
        "-m",
        "llmcli.engine.tuning.standin",
        str(tmp_path),
        "4",
        "2",
        "32",
        "3",
        "3",
    ]
    assert how["stdin"] == how["stdout"] == how["stderr"] == subprocess.DEVNULL
    assert how["start_new_session"] and how["cwd"] == "/"
    assert how.get("close_fds", True) and not how.get("pass_fds") and how.get("stdin") is not None


def test_a_process_that_cannot_be_started_is_no_failure(monkeypatch, tmp_path):
    """The job is done, and the next one tries again."""

    def refuse(*_args, **_how):
        raise BlockingIOError

    monkeypatch.setattr(subprocess, "Popen", refuse)
    standin.start_in_background(tmp_path, TINY, 1)
    assert not list(tmp_path.iterdir())


def test_the_started_process_measures_the_geometry(started, tmp_path, path, monkeypatch):
    """The module, run with the arguments of the command, takes the lock of that geometry, and gives up when busy."""
    standin.start_in_background(tmp_path, TINY, 2)
    command = started[0][0]
    seen = []
    clock = itertools.count(0, 20.0)
    monkeypatch.setattr(sys, "argv", command[3:])
    monkeypatch.setattr(os, "nice", lambda more: seen.append((more, sorted(path.parent.iterdir()))) or more)
    monkeypatch.setattr(threads.SystemLoad, "busy_cores", lambda _: 5.0)
    monkeypatch.setattr(standin.time, "sleep", lambda _: None)
    monkeypatch.setattr(standin.time, "monotonic", lambda: next(clock))
    monkeypatch.delitem(sys.modules, command[3])
    runpy.run_module(command[3], run_name="__main__")
    assert (19, [path.with_suffix(".lock")]) in seen and not list(path.parent.iterdir())
