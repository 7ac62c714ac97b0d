"""The status line: one line on a terminal's stderr that says what a wait is for, erased before anything else is written.

It appears when a wait has lasted a while, and is painted by a thread of its own, since what is waited for may be a
native call, a lock or a server that says nothing.
"""

from __future__ import annotations

import os
import select
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

from llmcli.cli.progress_text import Pace, measured, status_text
from llmcli.cli.world import World
from llmcli.interrupt import Interrupt
from llmcli.types import Phase, Progress

DELAY_S = 1.0
"""Seconds of waiting before the line appears."""
_INTERVAL_S = 0.2
"""Seconds between two looks at what there is to paint."""
_LOOK_MS = 100
_ERASE = b"\r\x1b[K"


class StatusLine:
    """What a command waits for, as far as it has told. All methods may be called by any thread.

    ``shown`` is whether anybody sees it: on a terminal that can erase a line, and without ``-q``.
    """

    def __init__(
        self,
        world: World,
        interrupt: Interrupt,
        *,
        quiet: bool = False,
        delay: float | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """``delay``: seconds of waiting before it appears, ``DELAY_S`` by default."""
        self.shown = not quiet and world.terminal(world.stderr) and world.environ.get("TERM") != "dumb"
        self._world = world
        self._interrupt = interrupt
        self._delay = DELAY_S if delay is None else delay
        self._clock = clock
        self._changed = threading.Condition(threading.RLock())
        self._thread: threading.Thread | None = None
        self._asleep = False
        self._closed = False
        self._since: float | None = None  # when the wait began; None: nothing is waited for
        self._due = 0.0
        self._job: Progress | None = None
        self._step: Progress | None = None
        self._paces: dict[tuple[str, str, Phase | None], Pace] = {}
        self._painted = ""
        if self.shown:
            world.painters.append(self.aside)

    # ---- what is waited for ---------------------------------------------------------------------------------------

    def show(self, progress: Progress) -> None:
        """Say how far the work is that is waited for; the wait begins here if there is none."""
        if not self.shown:
            return
        with self._changed:
            now = self._clock()
            if self._since is None:
                self._since = now
                self._due = now + self._delay
                self._wake()
            self._take(progress, now)
            self._paint(now)

    def update(self, progress: Progress) -> None:
        """Say how far the work is, if it is waited for."""
        if self.shown:
            with self._changed:
                if self._since is not None:
                    self._take(progress, self._clock())

    def hide(self) -> None:
        """Erase the line, since something else is written: the next ``show`` begins another wait."""
        if self.shown:
            with self._changed:
                self._since = None
                self._erase()

    def disable(self) -> None:
        """Show nothing from here on: somebody types on the terminal."""
        self.hide()
        self.shown = False

    def reset(self) -> None:
        """Erase the line at the end of a job, whose counts are forgotten."""
        if self.shown:
            with self._changed:
                self.hide()
                self._job = self._step = None
                self._paces.clear()

    def close(self) -> None:
        """Erase the line for good and end the thread."""
        with self._changed:
            self.reset()
            self._closed = True
            self._changed.notify_all()
        if self.aside in self._world.painters:
            self._world.painters.remove(self.aside)
        if self._thread is not None:
            self._thread.join()

    @contextmanager
    def waiting(self, phase: Phase, label: str) -> Iterator[None]:
        """Show what the block waits for; afterwards what was waited for before it, if anything."""
        with self._changed:
            before = self._since is not None, self._step
        self.show(Progress(0, None, "", label, phase))
        try:
            yield
        finally:
            with self._changed:
                waits, self._step = before
                if not waits:
                    self.hide()

    @contextmanager
    def aside(self) -> Iterator[None]:
        """Let the block write whole lines or ask a question; the wait goes on afterwards, as one that has just begun."""
        with self._changed:
            waits = self._since is not None
            self.hide()
        yield
        if waits:
            with self._changed:
                now = self._since = self._clock()
                self._due = now + self._delay
                self._wake()

    def _take(self, progress: Progress, now: float) -> None:
        if progress.phase is not None:
            self._step = progress
        else:
            if self._job is None or (progress.done, progress.label) != (self._job.done, self._job.label):
                self._step = None if progress.done else self._step  # of the unit before
            self._job = progress
        self._pace(progress).add(now, progress.done)

    def _pace(self, progress: Progress) -> Pace:
        return self._paces.setdefault((progress.label, progress.unit, progress.phase), Pace())

    # ---- the thread -----------------------------------------------------------------------------------------------

    def _wake(self) -> None:
        """Have the thread look; one that is between two looks needs no waking."""
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="status", daemon=True)
            self._thread.start()
        elif self._asleep:
            self._changed.notify_all()

    def _run(self) -> None:
        with self._changed:
            while not self._closed:
                now = self._clock()
                self._paint(now)
                self._asleep = self._since is None
                self._changed.wait(None if self._since is None else max(_INTERVAL_S, self._due - now))
                self._asleep = False

    # ---- the line -------------------------------------------------------------------------------------------------

    def tick(self) -> None:
        """Paint what there is to paint now, as the thread does."""
        with self._changed:
            self._paint(self._clock())

    def _paint(self, now: float) -> None:
        if self._since is None or now < self._due:
            return
        if self._interrupt.requested:  # what stops may take a moment; nobody waits for its figures
            self._erase()
            return
        if not self._world.foreground(self._world.stderr):
            return
        self._due = now + _INTERVAL_S
        text = self._text(now)
        if text != self._painted and self._takes(0):
            self._write(b"\r" + text.encode() + b"\x1b[K\r")  # an echoed ^C or key is then erased with the line
            self._painted = text

    def _text(self, now: float) -> str:
        assert self._since is not None
        job, step = self._job, self._step
        of = measured(job, step)
        rate = None if of is None else self._pace(of).rate(now)
        left = None if of is None else self._pace(of).left(now, of)
        if left is None and job is not None:
            left = self._pace(job).left(now, job)
        columns = self._world.columns(self._world.stderr) - 1  # at the last one terminals differ in what they do
        return status_text(job, step, rate=rate, left=left, elapsed=now - self._since, columns=columns)

    def _erase(self) -> None:
        """Erase the line; a terminal that is held by Ctrl-S is waited for, as by whoever writes there next."""
        if not self._painted or not self._world.foreground(self._world.stderr):
            return
        while not self._takes(_LOOK_MS):
            if self._interrupt.requested:
                return
        self._write(_ERASE)
        self._painted = ""

    def _takes(self, patience_ms: int) -> bool:
        """Say whether the terminal takes a line now, or within ``patience_ms`` milliseconds."""
        poll = select.poll()
        poll.register(self._world.stderr, select.POLLOUT)
        return bool(poll.poll(patience_ms))

    def _write(self, data: bytes) -> None:
        with suppress(OSError):  # it was hung up: whoever writes a result finds out
            os.write(self._world.stderr, data)
