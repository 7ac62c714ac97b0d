"""Stopping: a signal or the deadline ends what a command does, wherever it is, and changes nothing else."""

from __future__ import annotations

import os
import signal
import threading

import pytest

from llmcli import interrupt as stopping
from llmcli.cli.console.signals import forward_signals
from llmcli.errors import HungUp, Interrupted, Terminated, TimedOut
from llmcli.interrupt import Interrupt, run_interruptible


@pytest.fixture
def held():
    """An event for which a function may wait and that nothing sets."""
    event = threading.Event()
    yield event
    event.set()


@pytest.mark.parametrize(
    ("signum", "error"), [(signal.SIGINT, Interrupted), (signal.SIGTERM, Terminated), (signal.SIGHUP, HungUp)]
)
def test_a_signal_ends_the_wait_for_a_function(held, signum, error):
    """The main thread leaves a function behind that does not end by itself."""

    def function():
        os.kill(os.getpid(), signum)
        held.wait()

    with forward_signals(Interrupt()), pytest.raises(error):
        run_interruptible(function)


def test_the_deadline_ends_the_wait_for_a_function(held):
    """So does --timeout, without any signal."""
    with forward_signals(Interrupt(timeout=0.01)), pytest.raises(TimedOut):
        run_interruptible(held.wait)


def test_nothing_starts_after_a_stop_request():
    """A signal that came earlier ends the command before the function is called."""
    interrupt, calls = Interrupt(), []
    interrupt.set(signal.SIGINT)
    with forward_signals(interrupt), pytest.raises(Interrupted):
        run_interruptible(calls.append, 1)
    assert calls == []


def test_a_function_returns_and_raises_as_if_it_were_called():
    """Its value and its error are passed on, and no waker stays."""
    interrupt = Interrupt()
    with forward_signals(interrupt):
        assert run_interruptible(divmod, 7, 2) == (3, 1)
        with pytest.raises(ZeroDivisionError):
            run_interruptible(divmod, 7, 0)
    assert interrupt.wakers == []


def test_outside_of_a_command_a_function_is_called_directly():
    """The worker and the tests have no command, and other threads get no signals: neither gets another thread."""
    assert run_interruptible(threading.current_thread) is threading.current_thread()
    threads = []
    with forward_signals(Interrupt()):
        assert run_interruptible(threading.current_thread) is not threading.current_thread()
        other = threading.Thread(target=lambda: threads.append(run_interruptible(threading.current_thread)))
        other.start()
        other.join()
    assert threads == [other]


def test_a_command_within_a_command_has_its_own_interrupt():
    """A signal stops the innermost command, and the outer one goes on."""
    outer, inner = Interrupt(), Interrupt()
    with forward_signals(outer):
        with forward_signals(inner):
            inner.set(signal.SIGTERM)
            assert stopping.stop_requested()
            with pytest.raises(Terminated):
                stopping.check_interrupt()
        stopping.check_interrupt()
        assert not stopping.stop_requested()


def test_a_command_within_a_command_gets_an_earlier_signal():
    """One that arrives just before it begins would otherwise be lost; it takes over the cleanups too."""
    outer, inner = Interrupt(), Interrupt()
    outer.cleanups.append(list)
    outer.set(signal.SIGINT)
    with forward_signals(outer), forward_signals(inner):
        assert inner.signal == signal.SIGINT and inner.cleanups == [list]
        assert stopping.stop_requested()


def test_a_command_within_a_command_keeps_a_signal_of_its_own():
    """One that arrives after its handlers were set, and before it is the command that runs."""
    inner = Interrupt()
    inner.set(signal.SIGINT)
    with forward_signals(Interrupt()), forward_signals(inner):
        assert inner.signal == signal.SIGINT
