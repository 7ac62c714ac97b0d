"""The number of threads follows what other processes leave free."""

from __future__ import annotations

import time

import pytest

from llmcli.engine import threads as module
from llmcli.engine.threads import Load, Threads


class Scripted:
    """A load that says what a test wants."""

    def __init__(self, *others):
        self._others = list(others)

    def others(self):
        return self._others.pop(0) if self._others else None


def test_idle_machine_uses_every_core():
    """Without load of others all threads run."""
    threads = Threads(4, load=Scripted(0.05))
    threads.look()
    assert (threads.pick(1), threads.pick(16)) == (4, 4)


def test_a_busy_core_costs_one_thread_and_comes_back():
    """One core kept busy means one thread fewer; when the load goes, the thread comes back."""
    threads = Threads(4, load=Scripted(0.98, 0.02))
    threads.look()
    assert threads.pick(1) == threads.pick(64) == 3
    threads.look()
    assert threads.pick(1) == 4


def test_more_load_than_cores_leaves_one_thread():
    """However busy the machine, one thread runs."""
    threads = Threads(2, load=Scripted(7.0))
    threads.look()
    assert threads.pick(1) == 1


def test_half_a_core_is_decided_by_trying():
    """Between two numbers both are tried, and the one whose steps cost less is kept."""
    threads = Threads(2, load=Scripted(0.5))
    threads.look()
    picked = []
    for _ in range(20):
        number = threads.pick(1)
        picked.append(number)
        threads.record(number, 1, {1: 0.010, 2: 0.015}[number])
    assert set(picked[:4]) == {1, 2}
    assert set(picked[4:]) == {1}


def test_the_loser_gets_another_chance():
    """After a while the other number is tried again, and wins when it has become the faster one."""
    threads = Threads(2, load=Scripted(0.5))
    threads.look()
    cost = {1: 0.010, 2: 0.015}
    picked = []
    for step in range(200):
        if step == 30:
            cost[2] = 0.005
        picked.append(threads.pick(1))
        threads.record(picked[-1], 1, cost[picked[-1]])
    assert set(picked[10:30]) == {1}
    assert picked[100:].count(2) > 90


def test_single_tokens_and_batches_are_decided_apart():
    """What is right for a token need not be right for a batch."""
    threads = Threads(2, load=Scripted(0.5))
    threads.look()
    for _ in range(10):
        for tokens, best in ((1, 1), (64, 2)):
            number = threads.pick(tokens)
            threads.record(number, tokens, 0.01 if number == best else 0.02)
    assert (threads.pick(1), threads.pick(64)) == (1, 2)


def test_a_fixed_number_is_never_changed():
    """A number that the user set holds, whatever the load."""
    threads = Threads(3, fixed=True, load=Scripted(2.0))
    threads.look()
    assert threads.pick(1) == 3


def line(core, busy):
    """Return a line of /proc/stat with ``busy`` ticks of user time."""
    return f"cpu{core} {busy} 0 0 1000 0 0 0 0 0 0\n"


@pytest.fixture
def clock(monkeypatch):
    """Let a test set the clocks of the process."""
    now = {"wall": 0.0, "own": 0.0}
    monkeypatch.setattr(time, "monotonic", lambda: now["wall"])
    monkeypatch.setattr(time, "process_time", lambda: now["own"])
    monkeypatch.setattr(module.os, "sched_getaffinity", lambda _pid: {0, 1})
    return now


def test_load_is_what_others_took_on_our_cores(tmp_path, clock):
    """Our own processor time and cores that we may not use do not count."""
    stat = tmp_path / "stat"
    stat.write_text("cpu 0 0 0 0\n" + line(0, 0) + line(1, 0) + line(2, 0))
    load = Load(stat)
    tick = module.os.sysconf("SC_CLK_TCK")
    stat.write_text("cpu 0 0 0 0\n" + line(0, tick) + line(1, tick) + line(2, tick))
    clock.update(wall=1.0, own=1.25)
    assert load.others() == pytest.approx(0.75)


def test_load_waits_for_a_meaningful_interval(tmp_path, clock):
    """Too soon after the last look there is no answer."""
    stat = tmp_path / "stat"
    stat.write_text(line(0, 0) + line(1, 0))
    load = Load(stat)
    clock.update(wall=module.FIRST / 2)
    assert load.others() is None


def test_without_the_kernels_counters_all_threads_run(tmp_path):
    """Where there is no /proc/stat nothing is known and nothing is held back."""
    threads = Threads(4, load=Load(tmp_path / "missing"))
    threads.look()
    assert threads.pick(1) == 4
