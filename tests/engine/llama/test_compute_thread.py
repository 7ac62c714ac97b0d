"""The order of computations: interactive work comes first, bulk work never starves."""

from __future__ import annotations

import threading

import pytest

from llmcli.engine.llama.compute_thread import (
    BULK_SHARE,
    LONG_STEP_S,
    SHORT_STEP_S,
    InlineExecutor,
    SharedExecutor,
    run_in_thread,
)
from llmcli.types import Priority

BULK, INTERACTIVE = Priority.BULK, Priority.INTERACTIVE


class Clock:
    """A clock that advances only when a step says so."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


class Bulk:
    """A thread of counted bulk steps, each of which takes as long as it may."""

    def __init__(self, executor: InlineExecutor, clock: Clock, step_s: float | None = None) -> None:
        self.executor, self.clock, self.step_s = executor, clock, step_s
        self.seconds, self.steps, self.preemptible = 0.0, 0, []
        self.over = False
        self.thread = threading.Thread(target=self.run)

    def run(self) -> None:
        while not self.over:
            self.executor.run(self.step, BULK, abandon=lambda: self.over)

    def step(self) -> bool:
        seconds = self.executor.bulk_step_s() if self.step_s is None else self.step_s
        self.clock.now += seconds
        self.seconds += seconds
        self.steps += 1
        self.preemptible.append(self.executor.should_preempt())
        return True

    def waits(self) -> bool:
        """Return whether it waits in the queue."""
        return bool(self.executor._queues[BULK]) and self.executor._running is None

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_error):
        self.over = True
        self.executor.notify()
        self.thread.join()


@pytest.mark.parametrize("step_s", [0.01, 0.3])
@pytest.mark.parametrize("bulk_step_s", [None, 0.05, 2.0])
def test_bulk_work_keeps_its_share_beside_endless_interactive_work(step_s, bulk_step_s):
    """Over many interactive steps bulk work gets a tenth of the time, however long the steps of either are."""
    clock = Clock()
    executor = InlineExecutor(clock)
    executor.add_demand(1)

    def interactive() -> bool:
        clock.now += step_s
        return True

    with Bulk(executor, clock, bulk_step_s) as bulk:
        while bulk.steps < 12:
            while not bulk.waits():  # a step of bulk work runs, or its thread is about to enter the queue
                pass
            executor.run(interactive)
        share = bulk.seconds / clock.now
    assert share == pytest.approx(BULK_SHARE, rel=0.2)
    assert not any(bulk.preemptible)


def test_bulk_work_waits_for_a_short_interactive_answer():
    """Interactive work that takes less than a second is not interrupted at all."""
    clock = Clock()
    executor = InlineExecutor(clock)
    executor.add_demand(1)

    def interactive() -> bool:
        clock.now += 0.01
        return True

    with Bulk(executor, clock) as bulk:
        while not bulk.waits():
            pass
        for _ in range(60):
            executor.run(interactive)
        assert bulk.steps == 0
        executor.add_demand(-1)
        while not bulk.steps:
            pass


def test_bulk_work_that_ran_alone_has_no_share_left():
    """What it earned by waiting is spent, so that the first step of another job does not delay an answer."""
    clock = Clock()
    executor = InlineExecutor(clock)

    def interactive() -> bool:
        clock.now += 0.01
        return True

    for _ in range(2):
        executor.add_demand(1)
        with Bulk(executor, clock) as bulk:
            while not bulk.waits():
                pass
            for _ in range(60):  # twice as many earn a step
                executor.run(interactive)
            assert not bulk.steps
        executor.add_demand(-1)
        executor.run(interactive, BULK)


def test_bulk_steps_are_short_during_and_after_interactive_work():
    """When it is alone, bulk work takes long steps, as before."""
    clock = Clock()
    executor = InlineExecutor(clock)
    assert executor.bulk_step_s() == LONG_STEP_S
    executor.add_demand(1)
    assert executor.bulk_step_s() == SHORT_STEP_S
    clock.now = 100.0
    executor.add_demand(-1)
    assert executor.bulk_step_s() == SHORT_STEP_S
    clock.now = 106.0
    assert executor.bulk_step_s() == LONG_STEP_S


def test_an_arrival_aborts_only_a_long_step():
    """Only a long step is aborted: aborting frequent short ones would lose too much."""
    clock = Clock()
    executor = InlineExecutor(clock)

    def step() -> bool:
        before = executor.should_preempt()
        executor.add_demand(1)
        after = executor.should_preempt()
        executor.add_demand(-1)
        return (before, after)

    assert executor.run(step, BULK) == (False, True)
    assert executor.run(step, BULK) == (False, False)  # interactive work ended just now
    clock.now = 100.0
    assert executor.run(step, BULK) == (False, True)
    assert executor.run(step, INTERACTIVE) == (False, False)


def test_an_arrival_aborts_a_step_that_takes_longer_than_a_short_one():
    """A step that began without interactive work, but not one within bulk work's share."""
    clock = Clock()
    executor = InlineExecutor(clock)
    executor.add_demand(1)
    executor.add_demand(-1)

    def step() -> list[bool]:
        executor.add_demand(1)
        found = []
        for _ in range(3):
            found.append(executor.should_preempt())
            clock.now += SHORT_STEP_S / 2
        executor.add_demand(-1)
        return found

    assert executor.run(step, BULK) == [False, False, True]
    executor.add_demand(1)
    executor._credit_s = 1.0
    assert executor.run(step, BULK) == [False, False, False]


def test_an_abandoned_wait_leaves_the_queue():
    """An abandoned wait returns None without running, and others continue."""
    executor = InlineExecutor()
    executor.add_demand(1)
    ran = []
    over = threading.Event()
    thread = threading.Thread(target=lambda: ran.append(executor.run(lambda: 1, BULK, abandon=over.is_set)))
    thread.start()
    over.set()
    executor.notify()
    thread.join()
    assert ran == [None]
    assert executor.run(lambda: 2) == 2
    executor.add_demand(-1)
    assert executor.run(lambda: 3, BULK) == 3


@pytest.mark.parametrize("make", [InlineExecutor, SharedExecutor])
def test_errors_reach_the_caller_and_the_next_step_runs(make):
    """A step that raises does not block the next one."""
    executor = make()
    with pytest.raises(ValueError, match="broken"):
        executor.run(lambda: int("broken"), BULK)
    assert executor.run(lambda: 5, BULK) == 5


def test_a_shared_executor_computes_in_one_thread():
    """Whatever thread calls it, only one thread has an OpenMP team."""
    executor = SharedExecutor()
    idents = set()
    threads = [threading.Thread(target=lambda: idents.add(executor.run(threading.get_ident))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(idents) == 1 and threading.get_ident() not in idents
    assert run_in_thread(threading.get_ident) not in {threading.get_ident(), *idents}
