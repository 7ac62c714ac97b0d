"""The life of a context: with which settings it is made and how large, when it grows, and when its memory is given back."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from dataclasses import asdict, replace

from llmcli.engine import machine, sizing
from llmcli.engine.context import Context, ContextConfig
from llmcli.engine.memory import kind_of, memory_of
from llmcli.engine.model import Model
from llmcli.engine.parked_states import ParkedStates
from llmcli.engine.places import Kept, Places
from llmcli.engine.planner import Planner
from llmcli.engine.sequence import Sequence
from llmcli.engine.spilled_state import SpilledState
from llmcli.engine.tuning import CacheSettings
from llmcli.engine.width import Width
from llmcli.errors import InternalError, OutOfMemory
from llmcli.models.footprint import context_bytes, resting_bytes

_PLENTY = 1024
"""Cells that may lie idle among those in use."""


class KVCacheManager:
    """Makes, resizes and releases one context within the model's memory budget. ``context_limit``: tokens of a sequence."""

    def __init__(
        self,
        model: Model,
        config: ContextConfig,
        context_limit: int,
        should_abort: Callable[[], bool],
        *,
        planner: Planner | None = None,
        exact: bool = False,
    ) -> None:
        """``planner`` chooses the settings for each job, else those of ``config`` hold; ``exact``: bit-identical."""
        self._model = model
        self._config = config
        self._planner = planner
        self._should_abort = should_abort
        self._context: Context | None = None
        self._seats: Places | None = None
        self._refused: tuple[int, OutOfMemory] | None = None  # tokens that the memory did not hold
        self._crest = 0  # most tokens that were in the cache at once since it was empty
        self._laid_out_for = 1  # sequences
        self._full = False  # a sequence waits for cells
        self._enough_for: tuple[object, ...] | None = (
            None  # how many run and who waits first: no larger context for them
        )
        self._lifecycle = threading.RLock()
        self._idle = False
        self._parked = ParkedStates(resting_bytes(model.header.size))
        self.context_limit = context_limit
        self.wide = Width()
        self.exact = exact
        self.short = False
        """The memory did not hold the cache that would have been the best."""

    @property
    def context(self) -> Context:
        """The context, once ``ensure`` was called."""
        if self._context is None:
            raise InternalError("context", detail="used before it was made")
        return self._context

    @property
    def made(self) -> bool:
        """There is a context."""
        return self._context is not None

    @property
    def width(self) -> int:
        """Sequences that may run at once."""
        return self.wide.now

    @property
    def can_cut(self) -> bool:
        """Any beginning of a sequence can begin another."""
        return kind_of(self._model, self._config).can_cut

    @property
    def can_trim(self) -> bool:
        """What was evaluated last can be taken back."""
        return kind_of(self._model, self._config).can_trim

    @property
    def may_guess(self) -> bool:
        """Tokens may be evaluated that are taken back when they prove wrong."""
        return self.can_trim and not self.exact

    @property
    def settings(self) -> CacheSettings:
        """The settings of the cache in use."""
        return self._config.settings

    @property
    def format(self) -> str:
        """What must be equal for a saved state to be taken over."""
        return repr(self.settings)

    @property
    def _limits(self) -> sizing.Limits:
        return sizing.Limits(self.width, self.context_limit, elastic=self.elastic, batch=self._config.batch)

    @property
    def _room(self) -> int:
        return self._model.budget.room(self)

    @property
    def _places(self) -> Places:
        if self._seats is None:
            raise InternalError("places", detail="used before they were made")
        return self._seats

    @property
    def elastic(self) -> bool:
        """Each sequence has memory of its own, so that their number costs."""
        return self._model.recurrent or not self._config.unified

    @property
    def read_at_once(self) -> int | None:
        """Prompt tokens of one step after which more sequences that generate nothing only cost; None without bound."""
        return None if self.elastic or self._model.gpu_layers else sizing.READ_AT_ONCE

    @property
    def portable(self) -> bool:
        """Whether a saved state is as good as an evaluated one.

        After a restored state llama.cpp looks for room from the state's first cell on, and what fell out of the window
        counts as room: cells get out of order and lost, which exact answers and cutting a stream do not bear.
        """
        return self._config.unified or not self._model.window

    def reusable(self, sequence: Sequence, running: list[Sequence]) -> int:
        """Return how many tokens of ``sequence`` are in the memory already."""
        raise NotImplementedError

    # ---- settings and size ----------------------------------------------------------------------------------------------

    def ensure(self, waiting: list[Sequence], running: list[Sequence]) -> None:
        """Make the context, or a larger one where sequence ids, streams or cells are too few.

        Where the memory does not hold what all want, it is made for fewer. Raises ``OutOfMemory`` when nothing runs
        and not even the first of the waiting fits.
        """
        kept = 0 if self._seats is None else self._seats.tokens
        self._crest = max(self._crest, kept + sum(len(s.tokens) for s in running))
        sequences = [*running, *waiting[: max(0, self.width - len(running))]]
        least = max(1, len(running))
        self._idle = False
        if not running:
            self._refused = None
            self.short = False
            self._settle(waiting)
        elif waiting:
            self._lay_out_anew(sequences, running)
        full, self._full = self._full and bool(waiting), False
        while self._context is None or full or sizing.too_small(self.context.config, sequences, self._limits):
            wanted = self._larger_for(sequences, running)
            if wanted is None:
                return  # who waits does so until others end
            try:
                self._remake(wanted, running)
            except OutOfMemory:
                if len(sequences) > least:
                    sequences = sequences[: max(least, len(sequences) // 2)]
                elif running:
                    self.wide.refuse()
                    return
                elif not self._shrink():
                    raise
            else:
                return

    def _larger_for(self, sequences: list[Sequence], running: list[Sequence]) -> ContextConfig | None:
        """Return a context in which more of ``sequences`` run at once; None where the budget allows no more than there is."""
        asked = (len(running), *(s.request.id for s in sequences[len(running) : len(running) + 1]))
        if self._context is not None and asked == self._enough_for:
            return None
        wanted, count = self._size_for(sequences)
        if count < min(len(sequences), self.width):
            self.wide.refuse()
        if self._context is not None:
            wanted = self._grown(wanted, self.context.config)
            if count < len(running) or not sizing.extends(wanted, self.context.config):
                self._enough_for = asked
                return None
        return wanted

    def _size_for(self, sequences: list[Sequence]) -> tuple[ContextConfig, int]:
        """Return the context for as many of ``sequences`` as the budget allows, and how many those are."""
        demand = sizing.demand_of(sequences, self._limits, shares=self.can_cut)
        return sizing.fitting(self._config, demand, self._limits, self._model.header, self._room)

    def _grown(self, wanted: ContextConfig, present: ContextConfig) -> ContextConfig:
        """Return ``wanted`` with at least twice the ``present`` cells if the budget allows, so that growing is rare."""
        if not wanted.unified or wanted.cells <= present.cells:
            return replace(wanted, cells=max(wanted.cells, present.cells))
        twice = replace(wanted, cells=max(wanted.cells, 2 * present.cells))
        return twice if context_bytes(self._model.header, twice.shape) <= self._room else wanted

    def _capacity(self, waiting: list[Sequence]) -> Callable[[CacheSettings], int]:
        """Return a function that says how many of what waits run at once with certain settings; 0: not even one.

        One always may, though it takes more than the budget allows.
        """
        sequences, header, room = waiting[: self.width], self._model.header, self._room

        def capacity(settings: CacheSettings) -> int:
            elastic = self._model.recurrent or not settings.unified
            limits = replace(self._limits, elastic=elastic)
            config = replace(self._config, **asdict(settings))
            demand = sizing.demand_of(sequences, limits, shares=kind_of(self._model, config).can_cut)
            wanted, count = sizing.fitting(config, demand, limits, header, room)
            return count if count > 1 or context_bytes(header, wanted.shape) <= room else 0

        return capacity

    def _settle(self, waiting: list[Sequence]) -> None:
        """Nothing runs: take the settings that suit what waits, unless that would cost a beginning worth more."""
        if not self._capacity(waiting[:1])(self.settings):
            self._model.budget.reclaim(self)
        current = None if self._context is None else self.settings
        useful = self.reusable(waiting[0], []) > len(waiting[0].tokens) // 2
        if self._planner is None:
            wanted = self.settings
        else:
            self._laid_out_for = min(len(waiting), self.width)
            wanted = self._planner.choose(waiting, self.width, current, self._capacity(waiting))
        if useful or wanted == current:
            if self._context is not None and not useful and self._too_few_cells(waiting):
                self.close()  # made anew at its size
            elif self._context is not None and self._planner is not None:
                self._compact(sum(len(s.tokens) for s in waiting[: self.width]))
        elif self._planner is not None:
            self.close()
            self._config = replace(self._config, **asdict(wanted))

    def _too_few_cells(self, waiting: list[Sequence]) -> bool:
        wanted, _ = self._size_for(waiting[: self.width])
        return wanted.cells > self.context.config.cells

    def _lay_out_anew(self, together: list[Sequence], running: list[Sequence]) -> None:
        """Twice as many came as the buffers were laid out for: move what runs where another layout suits them all.

        Only the layout can change while something runs: states do not move from one kernel to another, and those of
        windows not into buffers of their own (``portable``).
        """
        if self._planner is None or self._model.window or len(together) < 2 * self._laid_out_for:
            return
        self._laid_out_for = len(together)
        wanted = self._planner.layout(together, self.width, self.settings, self._capacity(together))
        if wanted == self.settings:
            return
        before, self._config = self._config, replace(self._config, unified=wanted.unified)
        config, count = self._size_for(together)
        try:
            if count >= len(running):
                self._remake(config, running)
                return
        except OutOfMemory:  # what runs is where it was
            pass
        self._config = before

    def _shrink(self) -> bool:
        """Take settings that need less memory; False where there are none."""
        smaller = None if self._planner is None else self._planner.smaller(self.settings)
        if smaller is None:
            return False
        self.close()
        self._config = replace(self._config, **asdict(smaller))
        self._refused = None
        self.short = True
        return True

    def grow(self, running: list[Sequence]) -> bool:
        """Make the cache larger, keeping what runs; False where the model's context or the memory ends."""
        larger = sizing.larger(self.context.config, running, self._limits, self._model.header, self._room)
        if larger is None:
            return False
        try:
            self._remake(larger, running)
        except OutOfMemory:
            return False
        return True

    # ---- making and freeing ---------------------------------------------------------------------------------------------

    def _create(self, config: ContextConfig) -> None:
        self._context = Context(self._model, config, self._should_abort)
        self._seats = Places(memory_of(self._context), self._context.config.sequences)
        self._model.budget.take(self, context_bytes(self._model.header, self._context.config.shape))
        self._crest = 0
        self._enough_for = None

    def close(self) -> None:
        """Free the context."""
        with self._lifecycle:
            if self._context is not None:
                self._context.close()
            self._context = self._seats = None
            self._model.budget.give_back(self)

    def release_memory(self) -> None:
        """Nothing has run for a while: give the context's memory back to the system, all but small states.

        The next ``ensure`` makes a context for what waits then, and what was kept comes back when it is of use.
        """
        with self._lifecycle:  # whoever closes the engine does so outside of any turn
            if self._seats is None:
                return
            for slot, kept in self._places.kept.items():  # the last used last
                if self.portable and self._parked.fits(self.context.state_size(slot)):
                    self._parked.add(kept, self.format, self.context.save(slot))
            self.close()
        machine.release_free_memory()

    def begin_idle(self) -> None:
        """Nothing runs: until the next ``ensure`` others may have the memory."""
        self._idle = True

    def release_idle(self) -> None:
        """Release the memory if nothing runs: somebody else needs it."""
        if self._idle:
            self.release_memory()

    def _remake(self, config: ContextConfig, running: list[Sequence]) -> None:
        """Make the context or replace it; what was refused for want of memory is not tried again while others run."""
        if self._refused is not None and config.tokens >= self._refused[0]:
            raise self._refused[1]
        try:
            if self._context is None:
                self._create(config)
            else:
                self._rebuild(config, running)
        except OutOfMemory as error:
            self._refused = (config.tokens, error)
            raise

    def _rebuild(self, config: ContextConfig, running: list[Sequence]) -> None:
        """Replace the context; states move over, a sequence whose state does not fit is evaluated again."""
        old = self.context.config
        # a state in a file is read by a cache of the same layout only
        save = self.context.set_aside if config.unified == old.unified else self.context.save
        states = [save(s.slot) if self.portable and s.slot is not None and s.done else None for s in running]
        kept = [(slot, kept) for slot, kept in self._places.kept.items() if kept.needed and self.portable]
        needed = [(each, save(slot)) for slot, each in kept]
        self.close()
        try:
            self._create(config)
        except OutOfMemory:
            self._create(old)
            raise
        finally:
            if self._context is not None:
                self._move_in(zip(running, states, strict=True), needed)

    def _move_in(
        self,
        running: Iterable[tuple[Sequence, bytearray | SpilledState | None]],
        needed: Iterable[tuple[Kept, bytearray | SpilledState]],
    ) -> None:
        for sequence, state in running:
            slot = self._places.take()
            if slot is None or state is None or not self.context.restore(slot, state):
                sequence.restart()
            sequence.slot = slot
        for kept, state in needed:
            slot = self._places.take_last()
            if slot is None:
                return
            if self.context.restore(slot, state):
                self._places.hold(slot, kept)
            else:
                self._places.give_back(slot)

    def _compact(self, wanted: int) -> None:
        """Move what is kept to the first cells: every step has to look at all cells up to the last one in use."""
        kept = self._places.tokens
        if self.exact or not self._config.unified or self._crest < 2 * (kept + wanted) + _PLENTY:
            return
        states = {slot: self.context.set_aside(slot) for slot in self._places.kept}
        self._places.memory.clear()
        for slot, state in states.items():
            if not self.context.restore(slot, state):
                self._places.forget(slot)
        self._crest = kept
