"""The shared part of both ways to measure a model: their inputs, progress and copies."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import TYPE_CHECKING

from llmcli.engine import derivation
from llmcli.engine.llama.compute_thread import run_in_thread

if TYPE_CHECKING:
    from llmcli.engine.derivation import DerivationSource
    from llmcli.engine.tuning.cost_profile import CostProfile
    from llmcli.engine.tuning.tuning_plan import TuningPlan
    from llmcli.interrupt import Interrupt
    from llmcli.models.library.derived_weights import DerivedCopy, DerivedWeightsStore


class Tuner(ABC):
    """Carries out a plan with ``threads`` threads; a ``background`` one makes copies at the lowest priority.

    ``on_progress`` gets the number of finished steps and their total. ``on_copying`` is called with True before a child
    process makes a copy, and with False when it has ended.
    """

    def __init__(
        self,
        source: DerivationSource,
        plan: TuningPlan,
        store: DerivedWeightsStore,
        threads: int,
        interrupt: Interrupt,
        *,
        background: bool = False,
        on_progress: Callable[[int, int], None] = lambda _done, _total: None,
        on_copying: Callable[[bool], None] = lambda _copying: None,
    ) -> None:
        self._source, self._plan, self._store = source, plan, store
        self._threads, self._interrupt, self._background = threads, interrupt, background
        self._on_progress, self._on_copying = on_progress, on_copying
        self._done = 0

    def run(self) -> CostProfile:
        """Measure everything and return the profile; the copies that its choices need remain.

        Raises as ``derive_copy`` and ``write_slice``, as loading a model does, and what ``interrupt.check`` raises, at
        once.
        """
        return run_in_thread(self._run)

    @abstractmethod
    def _run(self) -> CostProfile:
        """Measure everything, in a thread that the engine may use."""

    @property
    @abstractmethod
    def _total(self) -> int:
        """The number of steps."""

    def _make_copy(self, weights: str) -> DerivedCopy:
        """Make the copy of the whole model in a type, unless it is there."""
        self._on_copying(True)
        try:
            return derivation.derive_copy(
                self._source, weights, self._store, self._interrupt, background=self._background
            )
        finally:
            self._on_copying(False)

    def _count_step(self) -> None:
        self._interrupt.check()
        self._done = min(self._done + 1, self._total)
        self._on_progress(self._done, self._total)
