"""The status line: one line on a terminal's stderr that explains a wait, erased before anything else is written.

It appears after a short wait and is painted by its own thread, since the wait may be for a native call, a lock or a
silent server.

Where standard output is a pipe, its reader may write on the same terminal. So the line makes way for each piece of
output (``make_way``). If pieces come so fast that it is not seen, lines that stay tell the progress of a long job: the
first after 5 seconds, then ever fewer. A pager has the terminal for itself.
"""

from __future__ import annotations

import os
import select
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

from llmcli.cli.console.environment import Environment
from llmcli.interrupt import Interrupt
from llmcli.types import Phase, Progress

if TYPE_CHECKING:
    from llmcli.cli.console.progress_text import RateEstimator

DELAY_S = 1.0
"""Seconds of waiting before the line appears."""
_REPAINT_S = 0.2
"""Seconds between two checks of what to paint."""
_OUTPUT_PAUSE_S = 0.5
"""Seconds after a piece of output into a pipe in which its reader may write on the terminal."""
_NOTE_INTERVALS_S = (5.0, 60.0)
"""Seconds without a visible line after which a note is written: the first time, and at most; they double."""
_NOTE_PREFIX = "llm: "
_POLL_MS = 100
_ERASE_LINE = b"\r\x1b[K"


class StatusLine:
    """What a command waits for, as reported to this object. All methods may be called by any thread.

    ``enabled``: the line is shown, on a terminal that can erase a line and without ``-q``.
    """

    def __init__(
        self,
        environment: Environment,
        interrupt: Interrupt,
        *,
        quiet: bool = False,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.enabled = not quiet and environment.erases_lines
        self._environment = environment
        self._interrupt = interrupt
        self._clock = clock
        self._changed = threading.Condition(threading.RLock())
        self._thread: threading.Thread | None = None
        self._painter_idle = False
        self._closed = False
        self._wait_began_at: float | None = None  # when the wait began; None: nothing is waited for
        self._next_paint_at = 0.0
        self._job: Progress | None = None
        self._step: Progress | None = None
        self._rate_estimators: dict[tuple[str, str, Phase | None], RateEstimator] = {}
        self._painted_text = ""
        self._seen_at = 0.0  # when a line was painted or a note written
        self._note_after_s = _NOTE_INTERVALS_S[0]
        self._made_way = False  # for output into a pipe
        if self.enabled:
            environment.painters.append(self.suspended)

    # ---- the wait -------------------------------------------------------------------------------------------------

    def show(self, progress: Progress) -> None:
        """Show progress; a wait begins here if there is none."""
        if not self.enabled:
            return
        with self._changed:
            now = self._clock()
            if self._wait_began_at is None:
                self._wait_began_at = self._seen_at = now
                self._next_paint_at = now + DELAY_S
                self._wake_painter()
            self._record_progress(progress, now)
            self._paint(now)

    def update(self, progress: Progress) -> None:
        """Update the progress, if a wait has begun."""
        if self.enabled:
            with self._changed:
                if self._wait_began_at is not None:
                    self._record_progress(progress, self._clock())

    def hide(self) -> None:
        """Erase the line before other output; the next ``show`` begins another wait."""
        if self.enabled:
            with self._changed:
                self._wait_began_at = None
                self._erase()

    def make_way(self) -> None:
        """Erase the line for output into a pipe, whose reader may write on the same terminal; the wait goes on."""
        if self.enabled:
            with self._changed:
                self._erase()
                self._next_paint_at = self._clock() + min(DELAY_S, _OUTPUT_PAUSE_S)
                self._made_way = True

    def disable(self) -> None:
        """Show nothing from now on: the user types on the terminal."""
        self.hide()
        self.enabled = False

    def reset(self) -> None:
        """Erase the line at the end of a job and forget its counts."""
        if self.enabled:
            with self._changed:
                self.hide()
                self._job = self._step = None
                self._made_way, self._note_after_s = False, _NOTE_INTERVALS_S[0]
                self._rate_estimators.clear()

    def close(self) -> None:
        """Erase the line for good and end the thread."""
        with self._changed:
            self.reset()
            self._closed = True
            self._changed.notify_all()
        if self.suspended in self._environment.painters:
            self._environment.painters.remove(self.suspended)
        if self._thread is not None:
            self._thread.join()

    @contextmanager
    def waiting(self, phase: Phase, label: str) -> Iterator[None]:
        """Show what the block waits for; afterwards restore the previous wait, if any."""
        with self._changed:
            before = self._wait_began_at is not None, self._step
        self.show(Progress(0, None, "", label, phase))
        try:
            yield
        finally:
            with self._changed:
                waits, self._step = before
                if not waits:
                    self.hide()

    @contextmanager
    def suspended(self) -> Iterator[None]:
        """Erase the line while the block writes lines or asks a question; then the wait continues as a new one."""
        with self._changed:
            waits = self._wait_began_at is not None
            self.hide()
        yield
        if waits:
            with self._changed:
                now = self._wait_began_at = self._clock()
                self._next_paint_at = now + DELAY_S
                self._wake_painter()

    def _record_progress(self, progress: Progress, now: float) -> None:
        if progress.phase is not None:
            self._step = progress
        else:
            if self._job is None or (progress.done, progress.label) != (self._job.done, self._job.label):
                self._step = None if progress.done else self._step  # of the previous unit
            self._job = progress
        self._rate_estimator(progress).add(now, progress.done)
        if progress.tokens is not None:
            self._rate_estimator(progress, "tokens").add(now, progress.tokens)

    def _rate_estimator(self, progress: Progress, unit: str = "") -> RateEstimator:
        from llmcli.cli.console.progress_text import RateEstimator

        key = (progress.label, unit or progress.unit, progress.phase)
        return self._rate_estimators.setdefault(key, RateEstimator())

    # ---- the thread -----------------------------------------------------------------------------------------------

    def _wake_painter(self) -> None:
        """Wake the thread, unless it wakes by itself soon."""
        if self._thread is None:
            self._thread = threading.Thread(target=self._run_painter, name="status", daemon=True)
            self._thread.start()
        elif self._painter_idle:
            self._changed.notify_all()

    def _run_painter(self) -> None:
        with self._changed:
            while not self._closed:
                now = self._clock()
                self._paint(now)
                self._painter_idle = self._wait_began_at is None
                self._changed.wait(None if self._wait_began_at is None else max(_REPAINT_S, self._next_paint_at - now))
                self._painter_idle = False

    # ---- the line -------------------------------------------------------------------------------------------------

    def paint_due(self) -> None:
        """Paint the line if it is due, as the thread does."""
        with self._changed:
            self._paint(self._clock())

    def _paint(self, now: float) -> None:
        if self._wait_began_at is None:
            return
        if self._made_way and not self._environment.is_line_mode(self._environment.stderr):
            return
        if now < self._next_paint_at:
            if self._made_way and self._job is not None and now - self._seen_at >= self._note_after_s:
                self._write_note(now)
            return
        if self._interrupt.requested:  # a command that is stopping shows no progress
            self._erase()
            return
        if not self._environment.is_foreground(self._environment.stderr):
            return
        self._next_paint_at = now + _REPAINT_S
        text = self._format_status(now)
        if text != self._painted_text and self._is_writable(0):
            self._write(b"\r" + text.encode() + b"\x1b[K\r")  # an echoed ^C or key is then erased with the line
            self._painted_text = text
        self._seen_at = now

    def _write_note(self, now: float) -> None:
        """Write the state of the job as a line that stays."""
        self._seen_at, self._note_after_s = now, min(2 * self._note_after_s, _NOTE_INTERVALS_S[1])
        environment = self._environment
        if self._interrupt.requested or not environment.is_foreground(environment.stderr) or not self._is_writable(0):
            return
        self._write(f"{_NOTE_PREFIX}{self._format_status(now, taken=len(_NOTE_PREFIX), bar=False)}\n".encode())

    def _format_status(self, now: float, *, taken: int = 0, bar: bool = True) -> str:
        """Return the text for the columns that are left of ``taken`` ones."""
        from llmcli.cli.console.progress_text import rated_progress, status_text

        assert self._wait_began_at is not None
        job, step = self._job, self._step
        of = rated_progress(job, step)
        rate = None if of is None else self._rate_estimator(of).rate(now)
        tokens_rate = None if of is None or of.tokens is None else self._rate_estimator(of, "tokens").rate(now)
        left = None if of is None else self._rate_estimator(of).seconds_left(now, of)
        if left is None and job is not None:
            left = self._rate_estimator(job).seconds_left(now, job)
        # terminals differ in how they treat the last column
        columns = self._environment.columns(self._environment.stderr) - 1 - taken
        elapsed = now - self._wait_began_at
        return status_text(
            job, step, rate=rate, tokens_rate=tokens_rate, left=left, elapsed=elapsed, columns=columns, bar=bar
        )

    def _erase(self) -> None:
        """Erase the line; waits while Ctrl-S has stopped the terminal."""
        if not self._painted_text or not self._environment.is_foreground(self._environment.stderr):
            return
        while not self._is_writable(_POLL_MS):
            if self._interrupt.requested:
                return
        self._write(_ERASE_LINE)
        self._painted_text = ""

    def _is_writable(self, patience_ms: int) -> bool:
        """Return whether the terminal accepts a line now, or within ``patience_ms`` milliseconds."""
        poll = select.poll()
        poll.register(self._environment.stderr, select.POLLOUT)
        return bool(poll.poll(patience_ms))

    def _write(self, data: bytes) -> None:
        with suppress(OSError):  # the terminal is gone; writing a result reports that
            os.write(self._environment.stderr, data)
