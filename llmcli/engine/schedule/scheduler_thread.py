"""A scheduler with its own KV cache, and the thread that steps it.

An engine has one such thread for interactive and one for bulk work. In a shared cache each token of an interactive
answer would attend to the cells of all bulk sequences, and a resize for one kind of work would delay the other.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

from llmcli.engine.llama.compute_thread import LONG_STEP_S, InlineExecutor
from llmcli.engine.schedule.scheduler import Scheduler
from llmcli.engine.sequences.sequence import Sequence
from llmcli.errors import InternalError
from llmcli.types import Priority

_POLL_S = 0.05
"""Seconds between checks while all consumers are behind."""
_ARRIVAL_WINDOW_S = 0.002
"""Seconds for which the engine waits for more requests before it creates a context for them."""
IDLE_RELEASE_S = 20.0
"""Seconds without work after which the memory of the context is released."""
_UNABORTABLE_STEP_S = 0.25
"""Seconds that a step of bulk work may take if it cannot be aborted without loss."""


class SchedulerThread:
    """Runs the sequences of one priority. ``make_scheduler`` gets a function that returns whether to abort."""

    def __init__(
        self,
        priority: Priority,
        executor: InlineExecutor,
        make_scheduler: Callable[[Callable[[], bool]], Scheduler],
    ) -> None:
        self._priority = priority
        self._executor = executor
        self._condition = threading.Condition()
        self._incoming: list[Sequence] = []
        self._cancellations: list[Callable[[Sequence], bool]] = []
        self._closing = False
        self._has_demand = False
        self.last_step_at = 0.0
        """When the last step ended, in ``time.monotonic()`` seconds."""
        self.scheduler = make_scheduler(self._should_abort)
        self._thread = threading.Thread(target=self._run, name=f"engine-{priority}", daemon=True)
        self._thread.start()

    def submit(self, sequence: Sequence) -> None:
        """Queue a sequence."""
        with self._condition:
            self._incoming.append(sequence)
            self._condition.notify_all()

    def cancel(self, should_end: Callable[[Sequence], bool]) -> None:
        """Cancel sequences before the next step; an evaluation that serves hardly any other sequence ends at once."""
        with self._condition:
            self._cancellations.append(should_end)
            self._condition.notify_all()

    def wake(self) -> None:
        """Tell the thread that a consumer has caught up."""
        with self._condition:
            self._condition.notify_all()

    def close(self) -> None:
        """End the thread; unfinished requests get an error."""
        with self._condition:
            self._closing = True
            self._condition.notify_all()
        self._executor.notify()
        self._thread.join()

    def _should_abort(self) -> bool:
        """Return whether the current evaluation should end now. Called between all operations of its graph."""
        evaluation = self.scheduler.current_evaluation
        expires_at = None if evaluation is None else evaluation.expires_at
        return (
            self._closing
            or (evaluation is not None and evaluation.is_abandoned(self._cancellations))
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
            for sequence in self._incoming:
                self.scheduler.add(sequence)
            self.scheduler.fail_all(engine_closed_error())

    def _collect(self) -> bool:
        """Wait for work and collect what arrived; return False when the thread closes."""
        scheduler = self.scheduler
        while not self._wait_for_work():
            self._release_memory()
        with self._condition:
            if not scheduler.has_work:
                self._batch_arrivals()
            if self._closing:
                return False
            inbox, self._incoming = self._incoming, []
            cancelled, self._cancellations = self._cancellations, []
        for sequence in inbox:
            scheduler.add(sequence)
        for should_end in cancelled:
            scheduler.cancel(should_end)
        return True

    def _wait_for_work(self) -> bool:
        """Wait for work; return False when that takes so long that the context's memory should be released."""
        with self._condition:
            while not (self._incoming or self._cancellations or self._closing or self.scheduler.has_work):
                if not self._condition.wait(IDLE_RELEASE_S if self.scheduler.kv_cache.has_context else None):
                    return bool(self._incoming or self._cancellations or self._closing)
            return True

    def _release_memory(self) -> None:
        try:
            self._executor.run(
                self.scheduler.release_memory, self._priority, abandon=lambda: bool(self._incoming) or self._closing
            )
        except Exception as error:  # noqa: BLE001 (it ends the requests that need a context)
            self.scheduler.fail_all(error)

    def _batch_arrivals(self) -> None:
        """Wait until no more requests arrive, so that the context is created for all of them. The lock is held.

        An interactive request that fits the present context does not wait for others.
        """
        if self.scheduler.kv_cache.has_context and self._priority is Priority.INTERACTIVE:
            return
        known = -1
        while len(self._incoming) != known:
            known = len(self._incoming)
            self._condition.wait(_ARRIVAL_WINDOW_S)

    def _step(self) -> None:
        scheduler = self.scheduler
        self._set_demand(demanding=scheduler.has_runnable)
        try:
            moved = self._executor.run(self._evaluate, self._priority, abandon=lambda: self._closing)
            if not scheduler.has_work:
                self._set_demand(demanding=False)
                self._executor.run(scheduler.on_idle, self._priority, abandon=lambda: bool(self._incoming))
        except Exception as error:  # noqa: BLE001 (every request that it concerns ends with it)
            scheduler.fail_all(error)
            return
        self.last_step_at = time.monotonic()
        if moved is False:
            self._set_demand(demanding=False)
            with self._condition:
                self._condition.wait(_POLL_S)

    def _evaluate(self) -> bool:
        if self._priority is Priority.INTERACTIVE:
            return self.scheduler.step(LONG_STEP_S)
        longest_s = self._executor.bulk_step_s()
        return self.scheduler.step(longest_s if self.scheduler.can_roll_back else min(longest_s, _UNABORTABLE_STEP_S))

    def _set_demand(self, *, demanding: bool) -> None:
        if self._priority is Priority.INTERACTIVE and demanding != self._has_demand:
            self._has_demand = demanding
            self._executor.add_demand(1 if demanding else -1)


def engine_closed_error() -> InternalError:
    """Return the error for requests that a closing engine did not finish."""
    return InternalError("engine", detail="closed")
