"""Reading in a thread: items, errors and the end pass through, and the caller can be interrupted."""

from __future__ import annotations

import signal
import threading

import pytest

from llmcli.errors import Interrupted, TimedOut
from llmcli.interrupt import Interrupt
from llmcli.network.transfers import FirstItemTimeout, iterate_in_thread, sleep_interruptibly


def test_items(interrupt):
    """All items come in order, more than fit the queue."""
    assert list(iterate_in_thread(iter(range(100)), interrupt, 5)) == list(range(100))


def test_error(interrupt):
    """An error of the producer is raised after the items before it."""

    def items():
        yield 1
        raise KeyError("x")

    stream = iterate_in_thread(items(), interrupt, 5)
    assert next(stream) == 1
    with pytest.raises(KeyError):
        next(stream)


def test_the_first_item_has_a_timeout():
    """A first item that does not come in time has its own error."""
    over = threading.Event()
    with pytest.raises(FirstItemTimeout):
        next(iterate_in_thread(iter(over.wait, None), Interrupt(), 0.05))
    over.set()


def test_signal():
    """A signal is noticed while no item comes."""
    over, interrupt = threading.Event(), Interrupt()
    interrupt.set(signal.SIGINT)
    with pytest.raises(Interrupted):
        next(iterate_in_thread(iter(over.wait, None), interrupt, 60))
    over.set()


def test_closing_ends_the_thread(interrupt):
    """An abandoned stream ends its thread."""
    ended = threading.Event()

    def items():
        try:
            while True:
                yield 1
        finally:
            ended.set()

    stream = iterate_in_thread(items(), interrupt, 5)
    next(stream)
    stream.close()
    assert ended.wait(5)


def test_a_pause_ends_at_the_deadline():
    """A pause ends at the deadline of the command."""
    with pytest.raises(TimedOut):
        sleep_interruptibly(60, Interrupt(timeout=0.01))
