"""The number of threads is the number of cores that other processes leave free."""

from __future__ import annotations

import time

import pytest

from llmcli.engine.llama import threads as module
from llmcli.engine.llama.threads import SystemLoad, ThreadPolicy


class Scripted:
    """A load that the test sets."""

    def __init__(self, *others):
        self._others = list(others)

    def busy_cores(self, *, rested=False):
        return self._others.pop(0) if self._others else None


def test_idle_machine_uses_every_core():
    """Without other load all threads run."""
    threads = ThreadPolicy(4, load=Scripted(0.05))
    threads.sample_load()
    assert (threads.pick(1), threads.pick(16)) == (4, 4)


def test_a_busy_core_costs_one_thread_and_comes_back():
    """One busy core means one thread fewer; when it is free again, the thread comes back."""
    threads = ThreadPolicy(4, load=Scripted(0.98, 0.02))
    threads.sample_load()
    assert threads.pick(1) == threads.pick(64) == 3
    threads.sample_load()
    assert threads.pick(1) == 4


@pytest.mark.parametrize(
    ("tokens", "seconds", "fixed", "first"),
    [
        (1, 0.007, False, 1),  # 14 ms for one thread
        (37, 0.100, False, 1),  # known from a prompt: 11 ms a token
        (1, 0.100, False, 2),
        (37, 1.000, False, 2),
        (1, 0.007, True, 2),
    ],
)
def test_a_short_step_after_idle_time_uses_one_thread(monkeypatch, tokens, seconds, fixed, first):
    """A step that one thread finishes at once wakes no others; later and longer steps do."""
    now = {"value": 100.0}
    monkeypatch.setattr(module.time, "monotonic", lambda: now["value"])
    threads = ThreadPolicy(2, fixed=fixed, load=Scripted())
    threads.sample_load()
    assert threads.pick(tokens, prompt=tokens > 1) == 2, "nothing is known yet"
    threads.record(2, tokens, seconds, prompt=tokens > 1)
    threads.sample_load()
    assert threads.pick(1) == 2
    now["value"] += 10
    threads.sample_load()
    assert threads.pick(64, prompt=True) == 2
    assert threads.pick(1) == first
    assert ("before the others wake up" in threads.explanation) == (first == 1)
    threads.record(first, 1, 0.014 / first)
    threads.sample_load()
    assert threads.pick(1) == 2


def test_more_load_than_cores_leaves_one_thread():
    """However busy the machine is, one thread runs."""
    threads = ThreadPolicy(2, load=Scripted(7.0))
    threads.sample_load()
    assert threads.pick(1) == 1


def test_half_a_core_is_decided_by_measuring():
    """Between two numbers both are tried, and the one with the faster steps is kept."""
    threads = ThreadPolicy(2, load=Scripted(0.5))
    threads.sample_load()
    picked = []
    for _ in range(20):
        number = threads.pick(1)
        picked.append(number)
        threads.record(number, 1, {1: 0.010, 2: 0.015}[number])
    assert set(picked[:4]) == {1, 2}
    assert set(picked[4:]) == {1}


def test_the_slower_number_is_tried_again():
    """After a while the other number is tried again, and is kept if it has become faster."""
    threads = ThreadPolicy(2, load=Scripted(0.5))
    threads.sample_load()
    cost = {1: 0.010, 2: 0.015}
    picked = []
    for step in range(200):
        if step == 30:
            cost[2] = 0.005
        picked.append(threads.pick(1))
        threads.record(picked[-1], 1, cost[picked[-1]])
    assert set(picked[10:30]) == {1}
    assert picked[100:].count(2) > 90


def test_single_tokens_and_batches_are_decided_separately():
    """The best number for a token may differ from the best number for a batch."""
    threads = ThreadPolicy(2, load=Scripted(0.5))
    threads.sample_load()
    for _ in range(10):
        for tokens, best in ((1, 1), (64, 2)):
            number = threads.pick(tokens)
            threads.record(number, tokens, 0.01 if number == best else 0.02)
    assert (threads.pick(1), threads.pick(64)) == (1, 2)


def test_a_fixed_number_is_never_changed():
    """A number set by the user stays, whatever the load."""
    threads = ThreadPolicy(3, fixed=True, load=Scripted(2.0))
    threads.sample_load()
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


def test_only_load_of_others_on_our_cores_counts(tmp_path, clock):
    """Our own processor time, and cores that we may not use, do not count."""
    stat = tmp_path / "stat"
    stat.write_text("cpu 0 0 0 0\n" + line(0, 0) + line(1, 0) + line(2, 0))
    load = SystemLoad(stat)
    tick = module.os.sysconf("SC_CLK_TCK")
    stat.write_text("cpu 0 0 0 0\n" + line(0, tick) + line(1, tick) + line(2, tick))
    clock.update(wall=1.0, own=1.25)
    assert load.busy_cores() == pytest.approx(0.75)


def test_load_waits_for_a_meaningful_interval(tmp_path, clock):
    """Too soon after the last sample there is no result."""
    stat = tmp_path / "stat"
    stat.write_text(line(0, 0) + line(1, 0))
    load = SystemLoad(stat)
    clock.update(wall=module.FIRST_LOAD_INTERVAL_S / 2)
    assert load.busy_cores() is None


def test_after_idle_time_only_runnable_threads_count(tmp_path, clock):
    """Load during an idle time is no reason to start with fewer threads."""
    stat = tmp_path / "stat"
    stat.write_text(line(0, 0) + line(1, 0) + "procs_running 1\n")
    threads = ThreadPolicy(2, load=SystemLoad(stat))
    threads.sample_load()
    tick = module.os.sysconf("SC_CLK_TCK")
    stat.write_text(line(0, 60 * tick) + line(1, 60 * tick) + "procs_running 1\n")
    clock.update(wall=60.0)
    threads.sample_load()
    assert threads.pick(1) == 2
    threads.record(2, 1, 0.01)
    stat.write_text(line(0, 60 * tick) + line(1, 60 * tick) + f"procs_running {1 + 2 * (module.os.cpu_count() or 1)}\n")
    clock.update(wall=120.0)
    threads.sample_load()
    assert threads.pick(1) == 1


def test_without_the_kernels_counters_all_threads_run(tmp_path):
    """Without /proc/stat nothing is known, so all threads run."""
    threads = ThreadPolicy(4, load=SystemLoad(tmp_path / "missing"))
    threads.sample_load()
    assert threads.pick(1) == 4


# ---- steps that suddenly take longer ---------------------------------------------------------------------------------


def decode(threads, seconds, steps, *, by_threads=None):
    """Run this many steps of one token; return the numbers of threads that were used."""
    picked = []
    for _ in range(steps):
        picked.append(threads.pick(1))
        threads.record(picked[-1], 1, (by_threads or {}).get(picked[-1], seconds))
    return picked


def test_slow_steps_make_fewer_threads_be_tried():
    """When steps take three times as long, fewer threads are tried without a known load; the fastest number stays."""
    threads = ThreadPolicy(4, load=Scripted())
    assert set(decode(threads, 0.010, 50)) == {4}
    assert decode(threads, 0.030, module._MIN_SLOW_STEPS) == [4] * module._MIN_SLOW_STEPS
    shared = {4: 0.030, 3: 0.014, 2: 0.020}
    picked = decode(threads, 0, 60, by_threads=shared)
    assert set(picked[:8]) == {2, 3, 4} and set(picked[8:]) == {3}
    assert "steps took much longer than before, so fewer are tried" in threads.explanation


def test_all_threads_come_back():
    """After some hundred steps all threads are tried again, and stay if steps are as short as before."""
    threads = ThreadPolicy(4, load=Scripted())
    decode(threads, 0.010, 20)
    decode(threads, 0.030, module._MIN_SLOW_STEPS)
    assert 3 in decode(threads, 0, module._DOUBT_STEPS, by_threads={4: 0.030, 3: 0.014, 2: 0.020})
    assert set(decode(threads, 0.010, 300)) == {4}
    assert "other processes leave free" in threads.explanation


def test_a_second_disturbance_is_detected():
    """When steps become slow a second time, fewer threads are tried again."""
    threads = ThreadPolicy(4, load=Scripted())
    for _ in range(2):
        assert set(decode(threads, 0.010, 20)) == {4}
        decode(threads, 0.030, module._MIN_SLOW_STEPS)
        assert set(decode(threads, 0, module._DOUBT_STEPS, by_threads={4: 0.03, 3: 0.014, 2: 0.02})) == {2, 3, 4}


@pytest.mark.parametrize("slow", [1, 2, 5])
def test_a_few_slow_steps_change_nothing(slow):
    """An occasional slow step changes nothing."""
    threads = ThreadPolicy(4, load=Scripted())
    for _ in range(30):
        assert set(decode(threads, 0.010, 5) + decode(threads, 0.050, slow)) == {4}


def test_a_growing_context_changes_nothing():
    """Steps that gradually take longer belong to a growing context."""
    threads = ThreadPolicy(4, load=Scripted())
    seconds = 0.010
    for _ in range(1000):
        assert decode(threads, seconds, 1) == [4]
        seconds *= 1.0025
    assert seconds > 0.1


def test_batches_and_prompts_change_nothing():
    """The duration of a batch depends on its contents."""
    threads = ThreadPolicy(4, load=Scripted())
    for seconds in (0.010, 0.050):
        for tokens, prompt in ((16, False), (512, True)):
            for _ in range(20):
                assert threads.pick(tokens, prompt=prompt) == 4
                threads.record(4, tokens, seconds, prompt=prompt)


@pytest.mark.parametrize(("most", "candidates"), [(1, {1}), (2, {1, 2}), (3, {1, 2, 3}), (8, {4, 6, 7, 8})])
def test_a_few_fewer_threads_and_half_are_tried(most, candidates):
    """A few threads fewer, and half of them, down to one."""
    threads = ThreadPolicy(most, load=Scripted())
    decode(threads, 0.010, 20)
    decode(threads, 0.030, module._MIN_SLOW_STEPS)
    assert set(decode(threads, 0.030, 30)) == candidates


def test_a_fixed_number_ignores_slow_steps():
    """A number set by the user stays, however slow the steps become."""
    threads = ThreadPolicy(4, fixed=True, load=Scripted())
    assert set(decode(threads, 0.010, 20) + decode(threads, 0.090, 20)) == {4}


def test_a_known_load_explains_slow_steps():
    """If the counters show the load, they decide, and no fewer threads are tried."""
    threads = ThreadPolicy(4, load=Scripted(0.0, 1.0, 0.0))
    threads.sample_load()
    decode(threads, 0.010, 20)
    decode(threads, 0.030, module._MIN_SLOW_STEPS)
    threads.sample_load()
    assert set(decode(threads, 0.014, 10)) == {3}
    assert "other processes keep 1.0 of 4 cores busy" in threads.explanation
    threads.sample_load()
    assert set(decode(threads, 0.010, 10)) == {4}


def test_an_idle_machine_does_not_end_the_trial():
    """A quota does not show in the counters, so they do not refute it."""
    threads = ThreadPolicy(4, load=Scripted(0.0, 0.0))
    threads.sample_load()
    decode(threads, 0.010, 20)
    decode(threads, 0.030, module._MIN_SLOW_STEPS)
    threads.sample_load()
    assert len(set(decode(threads, 0, 12, by_threads={4: 0.030, 3: 0.014, 2: 0.020}))) > 1


# ---- priorities ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("own", "counted"), [(0, 0.25), (10, 1.0)])
def test_niced_processes_do_not_count(tmp_path, clock, monkeypatch, own, counted):
    """Time of lower-priority processes does not count, unless this process has a low priority too."""
    monkeypatch.setattr(module.os, "nice", lambda _: own)
    stat = tmp_path / "stat"
    tick = module.os.sysconf("SC_CLK_TCK")
    stat.write_text("cpu0 0 0 0 0 0 0 0 0 0 0\n")
    load = SystemLoad(stat)
    stat.write_text(f"cpu0 {tick // 4} {3 * tick // 4} 0 0 0 0 0 0 0 0\n")
    clock.update(wall=1.0)
    assert load.busy_cores() == pytest.approx(counted)


def test_every_kind_of_work_counts_and_waiting_does_not(tmp_path, clock, monkeypatch):
    """System, interrupts and stolen time count; idle time and I/O wait do not."""
    monkeypatch.setattr(module.os, "nice", lambda _more: 0)  # however nice the tests themselves are
    stat = tmp_path / "stat"
    stat.write_text("cpu0 0 0 0 0 0 0 0 0 0 0\n")
    load = SystemLoad(stat)
    tenth = module.os.sysconf("SC_CLK_TCK") // 10
    user, nice, system, idle, iowait, irq, softirq, steal, guest, guest_nice = (tenth,) * 10
    stat.write_text(f"cpu0 {user} {nice} {system} {idle} {iowait} {irq} {softirq} {steal} {guest} {guest_nice}\n")
    clock.update(wall=1.0)
    assert load.busy_cores() == pytest.approx(0.5)


# ---- why -------------------------------------------------------------------------------------------------------------


def test_the_explanation_before_the_first_step():
    """All cores, and that no other process is known to keep them busy."""
    expected = "threads: 4 (one for each core that this process may use and other processes leave free)"
    assert ThreadPolicy(4, load=Scripted()).explanation == expected


def test_the_explanation_of_a_fixed_number():
    """The user set it."""
    assert ThreadPolicy(3, fixed=True).explanation == "threads: 3 (as set)"


def test_the_explanation_on_a_busy_machine():
    """The load of other processes, and the number of cores."""
    threads = ThreadPolicy(4, load=Scripted(1.96))
    threads.sample_load()
    threads.pick(1)
    threads.pick(64, prompt=True)
    assert threads.last_used == {False: 2, True: 2}
    assert threads.explanation == "threads: 2 (other processes keep 2.0 of 4 cores busy)"


def test_the_explanation_names_both_numbers():
    """If both numbers differ, both are named."""
    threads = ThreadPolicy(2, load=Scripted(0.5))
    threads.sample_load()
    for _ in range(10):
        for tokens, best in ((1, 1), (64, 2)):
            number = threads.pick(tokens, prompt=tokens > 1)
            threads.record(number, tokens, 0.01 if number == best else 0.02, prompt=tokens > 1)
    assert threads.explanation.startswith("threads: 1 for single tokens, 2 for prompts (other processes keep 0.5 of 2 ")
