"""Signals: a handler only sets a flag; the second signal ends the process at once."""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any, NoReturn

from llmcli.interrupt import Interrupt, set_current_interrupt

STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
SIGNAL_BY_EXIT_CODE = {129: signal.SIGHUP, 130: signal.SIGINT, 141: signal.SIGPIPE, 143: signal.SIGTERM}
"""Exit codes that mean death by a signal, so that a shell sees the signal and ends its loop."""


@contextmanager
def forward_signals(interrupt: Interrupt) -> Iterator[None]:
    """Send the stopping signals to ``interrupt`` while the block runs.

    A signal that was ignored at the start (``nohup``, a background job) stays ignored. Outside the main thread, Python
    cannot catch signals, and this does nothing.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before: dict[signal.Signals, Any] = {}

    def handle(signum: int, _frame: FrameType | None) -> None:
        if interrupt.signal is not None:
            for cleanup in interrupt.cleanups:
                cleanup()
            die_by_signal(signum)
        interrupt.set(signum)

    for signum in STOP_SIGNALS:
        if signal.getsignal(signum) is not signal.SIG_IGN:
            before[signum] = signal.signal(signum, handle)
    try:
        with set_current_interrupt(interrupt):
            yield
    finally:
        for signum, handler in before.items():
            signal.signal(signum, handler if handler is not None else signal.SIG_DFL)


@contextmanager
def ignore_interrupt_keys() -> Iterator[None]:
    """Leave the interrupt and quit keys to the editor or pager that runs, which does not inherit a handler.

    An event loop, such as that of the chat's prompt, does not learn of them either.
    """
    before: dict[signal.Signals, Any] = {}
    wakeup = signal.set_wakeup_fd(-1)
    try:
        for signum in (signal.SIGINT, signal.SIGQUIT):
            before[signum] = signal.signal(signum, lambda _signum, _frame: None)
        yield
    finally:
        for signum, handler in before.items():
            signal.signal(signum, handler)
        signal.set_wakeup_fd(wakeup)


@contextmanager
def call_when_continued(action: Callable[[], None]) -> Iterator[None]:
    """Call ``action`` when the process goes on after Ctrl-Z during the block; outside the main thread, never.

    A block inside replaces the action while it runs.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGCONT, lambda _signum, _frame: action())
    try:
        yield
    finally:
        signal.signal(signal.SIGCONT, signal.SIG_DFL if before is None else before)


@contextmanager
def let_children_be_interrupted() -> Iterator[None]:
    """Let SIGINT end processes that are started meanwhile, even if this one ignores it, as in a script's background.

    A handler is not inherited, unlike SIG_IGN.
    """
    is_main = threading.current_thread() is threading.main_thread()
    if not is_main or signal.getsignal(signal.SIGINT) is not signal.SIG_IGN:
        yield
        return
    signal.signal(signal.SIGINT, lambda _signum, _frame: None)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, signal.SIG_IGN)


def die_by_signal(signum: int) -> NoReturn:
    """End this process by ``signum``, as its default action would have."""
    signal.signal(signum, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, [signum])
    os.kill(os.getpid(), signum)
    sys.exit(128 + signum)  # reached only where the signal's default action is not death
