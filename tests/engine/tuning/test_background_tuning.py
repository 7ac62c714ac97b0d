"""Measuring in the background: when it starts, what it waits for, and when it ends."""

from __future__ import annotations

import dataclasses
import itertools
import json
import os
import runpy
import subprocess
import sys
from pathlib import Path

import pytest
from engine.profiles import FREE_WEIGHTS

from llmcli.config.engine_options import EngineOptions
from llmcli.engine.llama import threads
from llmcli.engine.tuning import background_tuning
from llmcli.engine.tuning.background_tuning import (
    BackgroundTuning,
    IdleWatch,
    TuningTask,
    make_task,
    pays,
    run_task,
    start_if_unmeasured,
)
from llmcli.engine.tuning.cost_profile import CostProfile, load_profile, save_profile
from llmcli.engine.tuning.tuning_plan import TuningPlan
from llmcli.errors import TemporaryFailure
from llmcli.files import file_lock

PROFILE = CostProfile({}, 0.0, FREE_WEIGHTS, measured=True, complete=True)
PARENT = 4242


@pytest.fixture
def task(tiny, tmp_path):
    cache = tmp_path / "cache"
    cache.mkdir()
    return TuningTask(
        path=str(tiny("chatml")),
        name="tiny",
        sha256="5" * 64,
        cache=str(cache),
        copies=str(cache / "derived"),
        limit_bytes=1 << 30,
        threads=1,
        parent=PARENT,
    )


class Machine:
    """A machine whose clock advances when the code sleeps; others keep ``loads`` cores busy at each sample."""

    def __init__(self, monkeypatch, task):
        self.now, self.loads, self.parent, self.measured = 1000.0, itertools.repeat(0.0), PARENT, 0
        self.meanwhile = lambda _watch: None
        self.watch = IdleWatch(task, self, lambda: self.now, lambda: self.parent)
        monkeypatch.setattr(background_tuning, "tuner_class", lambda _plan: self._make_tuner)

    def busy_cores(self, *, rested=False):
        return next(self.loads)

    def sleep(self, seconds):
        self.now += seconds

    def _make_tuner(self, *_, on_copying, **__):
        self.on_copying = on_copying
        return self

    def run(self):
        self.measured += 1
        self.meanwhile(self.watch)
        self.watch.check()
        return PROFILE


@pytest.fixture
def machine(monkeypatch, task):
    """Replace clock, load, parent and measurement."""
    return Machine(monkeypatch, task)


def files(task):
    """Return what is in the directory of profiles."""
    directory = task.result_path.parent
    return sorted(path.name for path in directory.iterdir()) if directory.exists() else []


# ---- when it starts --------------------------------------------------------------------------------------------------


def plan(parameters, *, types=("bf16",), kernels=((True, "f16"),)):
    return TuningPlan(types, kernels, parameters, 0, 0, {})


@pytest.mark.parametrize(
    ("parameters", "tokens", "due"),
    [
        (135_000_000, 500, False),
        (135_000_000, 2000, False),
        (135_000_000, 10_000, True),
        (7_000_000_000, 2000, False),
        (7_000_000_000, 20_000, True),
        (1_000_000, 10_000, False),
    ],
)
def test_a_measurement_must_win_back_its_time(parameters, tokens, due):
    """Within this job and two more of its size; a tiny model saves too little in any of its jobs."""
    assert pays(plan(parameters), tokens) is due


def test_settings_alone_save_less():
    """Without copies the same job may be too small; with nothing to choose no job is large enough."""
    assert pays(plan(135_000_000), 6000) and not pays(plan(135_000_000, types=()), 1500)
    assert pays(plan(135_000_000, types=()), 10_000)
    assert not pays(plan(135_000_000, types=(), kernels=()), 10**9)


@pytest.fixture
def started(monkeypatch):
    """Return a list of the tasks that would have been started."""
    found = []
    monkeypatch.setattr(background_tuning, "start_process", found.append)
    return found


def test_it_starts_once_when_the_work_suffices(task, started, monkeypatch):
    """Growing work is considered again, but not at every call; after the start, never."""
    asked = []
    monkeypatch.setattr(background_tuning, "pays", lambda _plan, tokens: asked.append(tokens) or tokens >= 5000)
    tuning = BackgroundTuning(task)
    for tokens in (0, 900, 1100, 1150, 1200, 3000, 3100, 6000, 9000):
        tuning.start_if_due(tokens)
    assert asked == [1100, 3000, 6000] and started == [task]


def test_it_starts_before_the_first_job(task, started):
    """Until the model was measured, and with a cache directory, without which the process would end."""
    Path(task.cache).rmdir()
    assert start_if_unmeasured(task).kernels and started == [task] and Path(task.cache).is_dir()
    save_profile(PROFILE, task.result_path, task.num_threads)
    assert start_if_unmeasured(task) is None and started == [task]


def test_nothing_starts_where_there_is_no_choice(task, started, monkeypatch):
    """Neither before the first job nor for the work so far."""
    monkeypatch.setattr(background_tuning, "make_plan", lambda *_: plan(10**9, types=(), kernels=()))
    assert start_if_unmeasured(task) is None and started == []


@pytest.mark.parametrize(
    "changes", [{"tune": False}, {"deterministic": True}, {"weights": "bf16"}, {"cache": None}, {}]
)
def test_only_results_that_can_be_kept_and_used_are_measured(tmp_path, changes):
    """No task with other options than these, or for a model whose hash is unknown."""
    options = EngineOptions(**{"cache": tmp_path, "tune": True, **changes})
    task = make_task(tmp_path / "m.gguf", "m", "5" * 64, options)
    assert (task is None) is bool(changes)
    assert make_task(tmp_path / "m.gguf", "m", str(tmp_path / "m.gguf"), options) is None


def test_a_removed_model_is_not_measured(task, started):
    """The file may have been removed while the worker was idle."""
    BackgroundTuning(dataclasses.replace(task, path=task.path + ".removed")).start_if_due(10**9)
    assert not started


# ---- the process -----------------------------------------------------------------------------------------------------


def test_an_idle_machine_is_measured_once(machine, task):
    """The profile is there afterwards, the lock is not; another process finds nothing to do."""
    for _ in range(2):
        run_task(task, machine.watch, machine.sleep)
    assert machine.measured == 1 and load_profile(task.result_path, 1) == PROFILE
    assert files(task) == [task.result_path.name]


def test_a_damaged_profile_is_measured_again(machine, task):
    """An unreadable file is no obstacle; neither is a profile of another machine."""
    task.result_path.parent.mkdir()
    task.result_path.write_text("{")
    run_task(task, machine.watch, machine.sleep)
    save_profile(PROFILE, task.result_path, 7)
    run_task(task, machine.watch, machine.sleep)
    assert machine.measured == 2 and load_profile(task.result_path, 1) == PROFILE


def test_one_process_measures_a_model(machine, task):
    """While another process holds the lock, nothing happens; a killed process holds none."""
    lock = task.result_path.with_suffix(".lock")
    lock.parent.mkdir()
    descriptor = file_lock.acquire_lock(lock)
    run_task(task, machine.watch, machine.sleep)
    assert not machine.measured
    os.close(descriptor)
    run_task(task, machine.watch, machine.sleep)
    assert machine.measured == 1 and files(task) == [task.result_path.name]


def test_a_busy_machine_is_not_measured(machine, task):
    """If others work for a whole minute, nothing is measured, and a later job may try again."""
    machine.loads, before = itertools.repeat(0.9), machine.now
    run_task(task, machine.watch, machine.sleep)
    assert not machine.measured and not files(task)
    assert 59 <= machine.now - before <= 62


def test_a_measurement_waits_for_a_quiet_moment(machine, task):
    """It waits while others work; a load that the system does not tell is no obstacle."""
    machine.loads = itertools.chain([0.9] * 6, itertools.repeat(None))
    run_task(task, machine.watch, machine.sleep)
    assert machine.measured == 1 and load_profile(task.result_path, 1) == PROFILE


def test_a_disturbed_measurement_is_repeated(machine, task):
    """If others begin to work it stops within an evaluation; the next attempt counts."""

    def disturb(_watch):
        if machine.measured == 1:
            machine.now += 1.0
            machine.loads = itertools.chain([0.9], itertools.repeat(0.0))

    machine.meanwhile = disturb
    run_task(task, machine.watch, machine.sleep)
    assert machine.measured == 2 and load_profile(task.result_path, 1) == PROFILE


def test_without_its_parent_it_does_not_wait(machine, task):
    """On a busy machine it ends within seconds after its parent has ended."""
    machine.loads, before = itertools.repeat(0.9), machine.now
    machine.parent = 1
    run_task(task, machine.watch, machine.sleep)
    assert not machine.measured and machine.now - before < 5


def test_without_its_parent_it_uses_an_idle_machine(machine, task):
    """A command that ends at once leaves a process that measures, as long as no other process needs the machine."""
    machine.parent = 1
    run_task(task, machine.watch, machine.sleep)
    assert machine.measured == 1 and load_profile(task.result_path, 1) == PROFILE


@pytest.mark.parametrize("copying", [False, True])
def test_a_measurement_without_parent_ends_when_the_machine_is_needed(machine, task, copying):
    """Also while a copy is being made, of which the child itself keeps one core busy."""
    machine.parent = 1

    def disturb(watch):
        machine.on_copying(copying)
        machine.loads = itertools.repeat(1.8)
        for _ in range(20):
            machine.now += 0.5
            if watch.error is not None:
                return
        pytest.fail("it goes on")

    machine.meanwhile = disturb
    before = machine.now
    run_task(task, machine.watch, machine.sleep)
    assert machine.measured == 1 and not files(task) and machine.now - before < 10


def test_the_child_that_copies_does_not_count_as_load(machine, task):
    """One busy core while a copy is made is its own."""

    def copy(watch):
        machine.on_copying(True)
        machine.loads = itertools.repeat(1.0)
        machine.now += 5
        assert watch.error is None
        machine.loads = itertools.repeat(0.0)
        machine.on_copying(False)

    machine.meanwhile = copy
    run_task(task, machine.watch, machine.sleep)
    assert load_profile(task.result_path, 1) == PROFILE


def test_it_ends_when_the_cache_is_gone(machine, task, tmp_path):
    """A removed cache is not created again, before and during a measurement."""

    def remove(watch):
        (tmp_path / "cache").rename(tmp_path / "gone")
        machine.now += 1
        assert isinstance(watch.error, TemporaryFailure)

    machine.meanwhile = remove
    run_task(task, machine.watch, machine.sleep)
    assert machine.measured == 1 and not (tmp_path / "cache").exists()
    run_task(task, IdleWatch(task, machine, lambda: machine.now, lambda: PARENT), machine.sleep)
    assert machine.measured == 1 and not (tmp_path / "cache").exists()


def test_an_error_leaves_no_lock(machine, task):
    """A model that cannot be loaded, and a bug."""

    def fail(_watch):
        raise RuntimeError

    machine.meanwhile = fail
    with pytest.raises(RuntimeError):
        run_task(task, machine.watch, machine.sleep)
    assert not files(task)


# ---- starting it -----------------------------------------------------------------------------------------------------


def test_the_process_inherits_nothing(task, monkeypatch):
    """It has no terminal, descriptor, session or working directory of ours."""
    found = []
    monkeypatch.setattr(subprocess, "Popen", lambda command, **how: found.append((command, how)))
    background_tuning.start_process(task)
    ((command, how),) = found
    assert command[:4] == [sys.executable, "-P", "-m", "llmcli.engine.tuning.background_tuning"]
    assert TuningTask(**json.loads(command[4])) == task
    assert how["stdin"] == how["stdout"] == how["stderr"] == subprocess.DEVNULL
    assert how["start_new_session"] and how["cwd"] == "/" and how.get("close_fds", True) and not how.get("pass_fds")


def test_a_process_that_cannot_be_started_is_no_failure(task, monkeypatch):
    """The job is done, and the next one tries again."""

    def refuse(*_args, **_how):
        raise BlockingIOError

    monkeypatch.setattr(subprocess, "Popen", refuse)
    background_tuning.start_process(task)


def test_the_started_process_has_the_lowest_priority_and_gives_up(task, monkeypatch):
    """The module, run with the arguments of the command; on a busy machine it stores nothing."""
    seen, clock = [], itertools.count(0, 20.0)
    monkeypatch.setattr(sys, "argv", ["module", json.dumps(dataclasses.asdict(task))])
    monkeypatch.setattr(os, "nice", lambda more: seen.append(more) or more)
    monkeypatch.setattr(os, "sched_setscheduler", lambda *how: seen.append(how))
    monkeypatch.setattr(threads.SystemLoad, "busy_cores", lambda _: 5.0)
    monkeypatch.setattr(background_tuning.time, "sleep", lambda _: None)
    monkeypatch.setattr(background_tuning.time, "monotonic", lambda: next(clock))
    monkeypatch.delitem(sys.modules, "llmcli.engine.tuning.background_tuning")
    runpy.run_module("llmcli.engine.tuning.background_tuning", run_name="__main__")
    assert 19 in seen and any(isinstance(each, tuple) and each[1] == os.SCHED_IDLE for each in seen)
    assert not files(task)


@pytest.mark.slow
def test_a_real_process_writes_a_profile(task):
    """From the command line to the file; the machine counts as idle."""
    code = (
        "import sys, os; from llmcli.engine.llama.threads import SystemLoad; SystemLoad.busy_cores = lambda *_, **__: 0.0;"
        "from llmcli.engine.tuning import background_tuning; background_tuning._main(sys.argv[1])"
    )
    mine = dataclasses.replace(task, parent=os.getpid())
    subprocess.run([sys.executable, "-c", code, json.dumps(dataclasses.asdict(mine))], check=True, timeout=300)
    assert load_profile(task.result_path, 1).complete
