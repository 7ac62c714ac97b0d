"""A job on a worker waits without polling: an event, a signal, the deadline or the input's end ends the wait."""

from __future__ import annotations

import contextlib
import itertools
import os
import signal
import threading
import types

import pytest

from llmcli.backends import worker_job
from llmcli.backends.worker_job import WorkerJob
from llmcli.errors import Interrupted, TimedOut, WorkerCrashed
from llmcli.interrupt import Interrupt
from llmcli.types import (
    AnswerRestarted,
    Finished,
    FinishReason,
    Message,
    Phase,
    Priority,
    Request,
    RequestProgress,
    Role,
    TextDelta,
)
from llmcli.worker.client import worker_process

CAUSES = {7: worker_process.STOP_REQUESTED, 8: "Segmentation fault"}


class Watched(Interrupt):
    """Counts how often it is checked."""

    asked = 0

    def check(self):
        self.asked += 1
        super().check()


def make(interrupt=None):
    """Return a job whose worker receives everything and sends what the test defines."""
    backend = types.SimpleNamespace(interrupt=interrupt or Watched(), forget_job=lambda number: None, sent=[])
    backend.send_if_connected = backend.sent.append
    backend.send = lambda lines, _job: backend.sent.append(lines)
    backend.check_interrupt = backend.interrupt.check
    backend.has_other_waiters, backend.register_waiter = lambda job: False, contextlib.nullcontext
    backend.launcher = types.SimpleNamespace(
        spawned=True, find_crash_reason=lambda pid: WorkerCrashed("the worker", detail=CAUSES[pid])
    )
    return WorkerJob(backend, 1)


def request(name="a", **more):
    return Request(name, (Message(Role.USER, "hello"),), **more)


def later(function, *given):
    """Call a function from another thread after this one waits (or before, which makes no difference)."""
    timer = threading.Timer(0.02, function, given)
    timer.start()
    return timer


@contextlib.contextmanager
def caught(interrupt):
    """Make SIGUSR1 set ``interrupt`` as SIGINT does in a command."""
    before = signal.signal(signal.SIGUSR1, lambda *_: interrupt.set(signal.SIGINT))
    try:
        yield
    finally:
        signal.signal(signal.SIGUSR1, before)


def test_a_signal_ends_the_wait_at_once():
    """Its handler wakes the job, which has not polled meanwhile."""
    interrupt = Watched()
    with caught(interrupt), make(interrupt) as job:
        job.submit(request())
        timer = later(os.kill, os.getpid(), signal.SIGUSR1)
        with pytest.raises(Interrupted):
            list(job)
        timer.join()
    assert interrupt.asked <= 2


def test_the_deadline_ends_the_wait():
    """A wait is no longer than the remaining time."""
    with make(Watched(timeout=0.1)) as job:
        job.submit(request())
        with pytest.raises(TimedOut):
            list(job)


def test_the_end_of_the_last_request_ends_the_job():
    """Whether the input was closed before or after it."""
    with make() as job:
        job.submit(request())
        job.close_input()
        end = Finished("a", FinishReason.STOP)
        timer = later(job.accept_event, end)
        assert list(job) == [end]
        timer.join()


def test_the_end_of_the_input_ends_an_idle_job():
    """Another thread declares that no more requests will come."""
    with make() as job:
        timer = later(job.close_input)
        assert list(job) == []
        timer.join()


def test_the_worker_waits_while_the_consumer_is_behind(monkeypatch):
    """The number of unread events stays within the limit, and none is lost."""
    monkeypatch.setattr(worker_job, "MAX_QUEUED_EVENTS", 3)
    pieces = [TextDelta("a", str(number)) for number in range(50)]
    end = Finished("a", FinishReason.STOP)
    with make() as job:
        job.submit(request())
        job.close_input()
        reader = threading.Thread(target=lambda: [job.accept_event(event) for event in (*pieces, end)])
        reader.start()
        came = []
        for event in job:
            assert job._items.qsize() <= 5
            came.append(event)
        reader.join()
    assert came == [*pieces, end]


@pytest.mark.parametrize("priority", list(Priority))
@pytest.mark.parametrize("heard", [True, False])
def test_queued_requests_go_to_the_next_worker(priority, heard):
    """As after SIGTERM: this is not a crash, with and without a response before it."""
    with make() as job:
        job.submit(request(priority=priority))
        job.close_input()
        job.accept_disconnect(heard=heard, pid=7)
        end = Finished("a", FinishReason.STOP)
        timer = later(job.accept_event, end)
        assert list(job) == [end]
        timer.join()
        assert len(job._backend.sent) == 2 and job._backend.sent[0] == job._backend.sent[1]


def test_a_request_with_progress_only_goes_to_the_next_worker():
    """A request whose prompt was being evaluated when the worker was told to end goes to the next one."""
    with make() as job:
        job.submit(request(priority=Priority.INTERACTIVE, progress=True))
        job.close_input()
        read = RequestProgress("a", Phase.READING, 5, 9)
        job.accept_event(read)
        job.accept_disconnect(heard=True, pid=7)
        end = Finished("a", FinishReason.STOP)
        timer = later(job.accept_event, end)
        assert list(job) == [read, end]
        timer.join()
        assert len(job._backend.sent) == 2


def test_a_started_answer_begins_again():
    """Its reader learns that the first words do not count, and the next worker answers it with the others."""
    with make() as job:
        for name in ("a", "b"):
            job.submit(request(name, priority=Priority.INTERACTIVE))
        job.close_input()
        job.accept_event(TextDelta("a", "hel"))
        job.accept_disconnect(heard=True, pid=7)
        ends = [Finished(name, FinishReason.STOP) for name in ("b", "a")]
        timer = later(lambda: [job.accept_event(end) for end in ends])
        piece, restarted, *rest = itertools.islice(job, 4)
        timer.join()
    assert (piece.text, restarted.id, rest) == ("hel", "a", ends)
    assert isinstance(restarted, AnswerRestarted) and restarted.error.detail == worker_process.STOP_REQUESTED


def test_a_request_that_crashes_each_worker_ends():
    """At the second crash while it was alone: the first one may have been a kill."""
    with make(Watched(timeout=60)) as job:
        job.submit(request(priority=Priority.INTERACTIVE))
        job.close_input()
        for _ in range(3):
            job.accept_disconnect(heard=True, pid=8)
        (end,) = itertools.islice(job, 1)
        assert end.error.detail == "Segmentation fault" and len(job._backend.sent) == 3


def test_workers_that_only_end_are_not_tried_for_ever():
    """After a few workers the request ends with the cause."""
    with make(Watched(timeout=60)) as job:
        job.submit(request(priority=Priority.INTERACTIVE))
        job.close_input()
        for _ in range(6):
            job.accept_disconnect(heard=True, pid=7)
        (end,) = itertools.islice(job, 1)
        assert end.error.detail == worker_process.STOP_REQUESTED and len(job._backend.sent) == 6


def test_a_waiting_reader_continues_when_the_job_is_left(monkeypatch):
    """There is no consumer any more."""
    monkeypatch.setattr(worker_job, "MAX_QUEUED_EVENTS", 1)
    with make() as job:
        job.submit(request())
        reader = threading.Thread(target=lambda: [job.accept_event(TextDelta("a", str(number))) for number in range(5)])
        reader.start()
    reader.join(timeout=20)
    assert not reader.is_alive()


def test_a_reader_does_not_wait_for_a_job_that_is_over(monkeypatch):
    """A consumer that left the job takes no more events."""
    monkeypatch.setattr(worker_job, "MAX_QUEUED_EVENTS", 1)
    with make() as job:
        job.submit(request())
    for number in range(5):
        job.accept_event(TextDelta("a", str(number)))


def test_a_finished_job_ignores_signals():
    """Nothing is woken without a waiter."""
    interrupt = Watched()
    with make(interrupt):
        assert len(interrupt.wakers) == 1
    assert not interrupt.wakers
