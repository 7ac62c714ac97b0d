"""A lane: one scheduler with its own KV cache, and the thread that steps it.

An engine has one lane for interactive and one for bulk work. In a cache that they shared, each token of an interactive
answer would look at the cells of all bulk sequences, and a resize for one kind of work would hold up the other.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

from llmcli.engine.compute_thread import LONG_STEP_S, InlineExecutor
from llmcli.engine.scheduler import Scheduler
from llmcli.engine.sequence import Sequence
from llmcli.errors import InternalError
from llmcli.types import Priority

_POLL_S = 0.05
"""Seconds between two looks at consumers that are all behind."""
_GATHER_S = 0.002
"""Seconds for which the engine waits for more requests before it makes a context to fit them."""
RELEASE_S = 20.0
"""Seconds without work after which the memory of the context is given back."""
_FIXED_STEP_S = 0.25
"""Seconds that a step of bulk work may take where it cannot be aborted without loss."""


class Lane:
    """Runs the sequences of one priority. ``make_scheduler`` is given the function that says whether to abort."""

    def __init__(
        self,
        priority: Priority,
        executor: InlineExecutor,
        make_scheduler: Callable[[Callable[[], bool]], Scheduler],
    ) -> None:
        self._priority = priority
        self._executor = executor
        self._wake = threading.Condition()
        self._inbox: list[Sequence] = []
        self._cancelled: list[Callable[[Sequence], bool]] = []
        self._closing = False
        self._demanding = False
        self.last_step = 0.0
        """When the last step ended, in ``time.monotonic()`` seconds."""
        self.scheduler = make_scheduler(self._should_abort)
        self._thread = threading.Thread(target=self._run, name=f"engine-{priority}", daemon=True)
        self._thread.start()

    def submit(self, sequence: Sequence) -> None:
        """Queue a sequence."""
        with self._wake:
            self._inbox.append(sequence)
            self._wake.notify_all()

    def cancel(self, should_end: Callable[[Sequence], bool]) -> None:
        """End sequences before the next step; an evaluation of hardly anything else ends at once."""
        with self._wake:
            self._cancelled.append(should_end)
            self._wake.notify_all()

    def wake(self) -> None:
        """Tell the thread that a consumer caught up."""
        with self._wake:
            self._wake.notify_all()

    def close(self) -> None:
        """End the thread; what has not ended gets an error."""
        with self._wake:
            self._closing = True
            self._wake.notify_all()
        self._executor.notify()
        self._thread.join()

    def _should_abort(self) -> bool:
        """Tell whether the evaluation that runs should end now. Called between all operations of its graph."""
        evaluation = self.scheduler.evaluation
        expires_at = None if evaluation is None else evaluation.expires_at
        return (
            self._closing
            or (evaluation is not None and evaluation.is_abandoned(self._cancelled))
            or (expires_at is not None and time.monotonic() >= expires_at)
            or (self._executor.should_preempt() and self.scheduler.can_roll_back)
        )

    # ---- the thread -----------------------------------------------------------------------------------------------

    def _run(self) -> None:
        try:
            while self._collect():
                self._step()
        finally:
            self._set_demand(demanding=False)
            for sequence in self._inbox:
                self.scheduler.add(sequence)
            self.scheduler.fail_all(engine_closed())

    def _collect(self) -> bool:
        """Wait for something to do and take over what came; False when the lane closes."""
        scheduler = self.scheduler
        while not self._wait_for_work():
            self._release_memory()
        with self._wake:
            if not scheduler.busy:
                self._gather()
            if self._closing:
                return False
            inbox, self._inbox = self._inbox, []
            cancelled, self._cancelled = self._cancelled, []
        for sequence in inbox:
            scheduler.add(sequence)
        for should_end in cancelled:
            scheduler.cancel(should_end)
        return True

    def _wait_for_work(self) -> bool:
        """Wait until there is something to do; False when that takes so long that the context's memory is to be released."""
        with self._wake:
            while not (self._inbox or self._cancelled or self._closing or self.scheduler.busy):
                if not self._wake.wait(RELEASE_S if self.scheduler.slots.made else None):
                    return bool(self._inbox or self._cancelled or self._closing)
            return True

    def _release_memory(self) -> None:
        try:
            self._executor.run(
                self.scheduler.release_memory, self._priority, abandon=lambda: bool(self._inbox) or self._closing
            )
        except Exception as error:  # noqa: BLE001 (what a new context cannot be made after concerns whoever needs one)
            self.scheduler.fail_all(error)

    def _gather(self) -> None:
        """Wait until no more requests arrive, so that the context is made for all of them. The lock is held.

        An interactive request that fits the present context does not wait for others.
        """
        if self.scheduler.slots.made and self._priority is Priority.INTERACTIVE:
            return
        known = -1
        while len(self._inbox) != known:
            known = len(self._inbox)
            self._wake.wait(_GATHER_S)

    def _step(self) -> None:
        scheduler = self.scheduler
        self._set_demand(demanding=scheduler.can_move)
        try:
            moved = self._executor.run(self._evaluate, self._priority, abandon=lambda: self._closing)
            if not scheduler.busy:
                self._set_demand(demanding=False)
                self._executor.run(scheduler.on_idle, self._priority, abandon=lambda: bool(self._inbox))
        except Exception as error:  # noqa: BLE001 (every request that it concerns ends with it)
            scheduler.fail_all(error)
            return
        self.last_step = time.monotonic()
        if moved is False:
            self._set_demand(demanding=False)
            with self._wake:
                self._wake.wait(_POLL_S)

    def _evaluate(self) -> bool:
        if self._priority is Priority.INTERACTIVE:
            return self.scheduler.step(LONG_STEP_S)
        longest_s = self._executor.bulk_step_s()
        return self.scheduler.step(longest_s if self.scheduler.can_roll_back else min(longest_s, _FIXED_STEP_S))

    def _set_demand(self, *, demanding: bool) -> None:
        if self._priority is Priority.INTERACTIVE and demanding != self._demanding:
            self._demanding = demanding
            self._executor.set_demand(1 if demanding else -1)


def engine_closed() -> InternalError:
    """Return the error of what an engine that closes has not done."""
    return InternalError("engine", detail="closed")
