"""Stopping: one object that signal handlers set and every long operation checks.

A signal handler must not raise (an exception inside a native call is lost or comes seconds late), so it sets a flag
here. Long operations call ``check()`` between their steps; the engine reads ``requested`` in its abort callback.
Operations without steps (a library's parser, a native call) go through ``run_interruptible``.

Signals belong to the process, so a command has one ``Interrupt``: the functions of this module, which know it, spare
parsers and tasks a parameter. If no command runs (the worker, a test), they do nothing.
"""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, ParamSpec, TypeVar

from llmcli.errors import HungUp, Interrupted, LlmError, Terminated, TimedOut

if TYPE_CHECKING:
    import queue

P = ParamSpec("P")
T = TypeVar("T")

_ERRORS: dict[int, type[LlmError]] = {signal.SIGINT: Interrupted, signal.SIGHUP: HungUp}


class Interrupt:
    """A flag and a deadline. Safe to read from any thread; set only from a signal handler or a test."""

    def __init__(self, timeout: float | None = None) -> None:
        """``timeout``: seconds from now, or None."""
        self.signal: int | None = None
        self.deadline = None if timeout is None else time.monotonic() + timeout
        self.wakers: list[Callable[[], object]] = []
        """Called in the signal handler: only functions that are safe there, such as ``queue.SimpleQueue.put``."""
        self.cleanups: list[Callable[[], object]] = []
        """Called before a second signal ends the process at once: they restore what outlives it, such as a terminal."""
        self.drains_on_interrupt = False
        """Whether the first SIGINT only ends the input, so that the work that has begun is finished."""
        self.draining = False

    def set(self, signum: int) -> None:
        """Remember that signal ``signum`` arrived."""
        if signum == signal.SIGINT and self.drains_on_interrupt and not self.draining:
            self.draining = True
        else:
            self.signal = signum
        for wake in self.wakers:
            wake()

    def clear(self) -> None:
        """Forget the signal (chat: Ctrl-C stopped the answer, not the program)."""
        self.signal = None

    @property
    def remaining(self) -> float | None:
        """Seconds until the deadline (never negative), or None without one."""
        return None if self.deadline is None else max(0.0, self.deadline - time.monotonic())

    @property
    def error(self) -> LlmError | None:
        """Why work has to stop now, or None."""
        if self.signal is not None:
            return _ERRORS.get(self.signal, Terminated)()
        if self.deadline is not None and time.monotonic() >= self.deadline:
            return TimedOut()
        return None

    @property
    def requested(self) -> bool:
        """True once work has to stop."""
        return self.signal is not None or (self.deadline is not None and time.monotonic() >= self.deadline)

    def check_input(self) -> None:
        """Raise as ``check``, and ``Interrupted`` when no more input is wanted."""
        self.check()
        if self.draining:
            raise Interrupted

    def check(self) -> None:
        """Raise ``Interrupted``, ``HungUp``, ``Terminated`` or ``TimedOut`` when work has to stop."""
        error = self.error
        if error is not None:
            raise error


class _CurrentCommand:
    """The interrupt of the command that runs in this process, or None."""

    interrupt: Interrupt | None = None


@contextmanager
def set_current_interrupt(interrupt: Interrupt) -> Iterator[None]:
    """Make ``check`` and ``run_interruptible`` use ``interrupt`` during the block.

    A command that another one runs (a verb in a chat) takes over a signal that has just arrived, and what has to be
    cleaned up before a sudden end.
    """
    before, _CurrentCommand.interrupt = _CurrentCommand.interrupt, interrupt
    if before is not None:
        interrupt.cleanups += before.cleanups
        if before.signal is not None:  # a signal that ``interrupt`` has had since its handlers were set stays
            interrupt.signal = before.signal
    try:
        yield
    finally:
        _CurrentCommand.interrupt = before


def check_interrupt() -> None:
    """Raise ``Interrupted``, ``HungUp``, ``Terminated`` or ``TimedOut`` when the command has to stop."""
    if _CurrentCommand.interrupt is not None:
        _CurrentCommand.interrupt.check()


def stop_requested() -> bool:
    """Return whether the command has to stop."""
    return _CurrentCommand.interrupt is not None and _CurrentCommand.interrupt.requested


def run_interruptible(function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Return what ``function`` returns, or raise as ``check`` as soon as the command has to stop.

    The function runs in a thread, and the main thread waits. A stop abandons the thread, which ends with the process.
    So ``function`` must have no side effects: it may parse, mask, join or count, but must not touch files, databases or
    anything that is freed before the process ends. It must not hold the GIL for long either: a single native call that
    does (one regular expression over megabytes) blocks the main thread too.

    Outside the main thread, which alone receives signals, the function is called directly.
    """
    interrupt = _CurrentCommand.interrupt
    if interrupt is None or threading.current_thread() is not threading.main_thread():
        return function(*args, **kwargs)
    return run_in_thread(interrupt, lambda: function(*args, **kwargs))


def run_in_thread(interrupt: Interrupt, function: Callable[[], T]) -> T:
    """Return what ``function`` returns in a thread, or raise as ``interrupt.check``, which abandons the thread."""
    import queue

    woken: queue.SimpleQueue[bool] = queue.SimpleQueue()  # True: the function has ended
    results: list[T] = []
    errors: list[BaseException] = []

    def work() -> None:
        try:
            results.append(function())
        except BaseException as error:  # noqa: BLE001 (raised again in the thread that waits)
            errors.append(error)
        woken.put(True)

    def wake() -> None:
        woken.put(False)

    interrupt.wakers.append(wake)
    try:
        interrupt.check()
        threading.Thread(target=work, name="interruptible", daemon=True).start()
        while not _wait_for_wake(woken, interrupt.remaining):
            interrupt.check()
    finally:
        interrupt.wakers.remove(wake)
    if errors:
        raise errors[0]
    return results[0]


def _wait_for_wake(woken: queue.SimpleQueue[bool], timeout: float | None) -> bool:
    import queue

    try:
        return woken.get(timeout=timeout)
    except queue.Empty:
        return False
