"""Who sits where: sequence ids of the context, beginnings that are kept for others, and growing when room runs out."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import asdict, replace

from llmcli.engine import sizing
from llmcli.engine.context import Context, ContextConfig
from llmcli.engine.memory import kind_of, memory_of
from llmcli.engine.model import Model
from llmcli.engine.places import Kept, Places
from llmcli.engine.planner import Planner
from llmcli.engine.sequence import Scoring, Sequence, common_prefix
from llmcli.engine.tuning import CacheSettings
from llmcli.engine.width import Width
from llmcli.errors import InternalError, OutOfMemory

_WORTH_MOVING = 8  # tokens of answer for which a sequence is moved next to the others
_PLENTY = 1024
"""Cells that may lie idle among those in use."""


class Slots:
    """The context and its sequence ids. ``context_limit``: tokens that one sequence may have."""

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
        self.context_limit, self.exact = context_limit, exact
        self.wide = Width()
        self.short = False  # the memory did not hold the cache that would have been the best

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
        return sizing.Limits(self.width, self.context_limit, elastic=self.elastic)

    @property
    def _places(self) -> Places:
        if self._seats is not None:
            return self._seats
        raise InternalError("places", detail="used before they were made")

    @property
    def elastic(self) -> bool:
        """Each sequence has memory of its own, so that their number costs."""
        return self._model.recurrent or not self._config.unified

    @property
    def read_at_once(self) -> int | None:
        """Prompt tokens of one step after which more sequences that generate nothing only cost; None without bound."""
        return None if self.elastic or self._model.gpu_layers else sizing.READ_AT_ONCE

    def ensure(self, waiting: list[Sequence], running: list[Sequence]) -> None:
        """Make the context, or a larger one where sequence ids or streams are too few or too short.

        Where the memory does not hold what all want, it is made for fewer. Raises ``OutOfMemory`` when nothing runs
        and not even the first of the waiting fits.
        """
        kept = 0 if self._seats is None else self._seats.tokens
        self._crest = max(self._crest, kept + sum(len(s.tokens) for s in running))
        sequences = [*running, *waiting[: self.width]]
        least = max(1, len(running))
        if not running:
            self._refused = None
            self.short = False
            self._settle(waiting)
        elif waiting:
            self._lay_out_anew(sequences[: self.width], running)
        while self._context is None or sizing.too_small(self.context.config, sequences, self._limits):
            try:
                self._remake(sizing.fitting(self._config, sequences, self._limits), running)
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

    def _settle(self, waiting: list[Sequence]) -> None:
        """Nothing runs: take the settings that suit what waits, unless that would cost a beginning worth more."""
        if self._planner is None:
            return
        self._laid_out_for = min(len(waiting), self.width)
        current = None if self._context is None else self.settings
        wanted = self._planner.choose(waiting, self.width, current)
        first = waiting[0]
        useful = current is not None and self.reusable(first, []) > len(first.tokens) // 2
        if current is None:
            self._config = replace(self._config, **asdict(wanted))
        elif wanted == current or useful:
            self._compact(sum(len(s.tokens) for s in waiting[: self.width]))
        else:
            self.close()
            self._config = replace(self._config, **asdict(wanted))

    def _lay_out_anew(self, together: list[Sequence], running: list[Sequence]) -> None:
        """Twice as many came as the buffers were laid out for: move what runs where another layout suits them all.

        Only the layout can change while something runs: states do not move from one kernel to another, and those of
        windows not into buffers of their own (``portable``).
        """
        if self._planner is None or self._model.window or len(together) < 2 * self._laid_out_for:
            return
        self._laid_out_for = len(together)
        wanted = self._planner.layout(together, self.width, self.settings)
        if wanted == self.settings:
            return
        before, self._config = self._config, replace(self._config, unified=wanted.unified)
        try:
            self._remake(sizing.fitting(self._config, together, self._limits), running)
        except OutOfMemory:  # what runs is where it was
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

    def _create(self, config: ContextConfig) -> None:
        self._context = Context(self._model, config, self._should_abort)
        self._seats = Places(memory_of(self._context), self._context.config.sequences)
        self._crest = 0

    def close(self) -> None:
        """Free the context."""
        if self._context is not None:
            self._context.close()
        self._context = self._seats = None

    def _compact(self, wanted: int) -> None:
        """Move what is kept to the first cells: every step has to look at all cells up to the last one in use."""
        kept = self._places.tokens
        if self.exact or not self._config.unified or self._crest < 2 * (kept + wanted) + _PLENTY:
            return
        states = {slot: self._save(slot) for slot in self._places.kept}
        self._places.memory.clear()
        for slot, state in states.items():
            if state is None or not self.context.restore(slot, state):
                self._places.forget(slot)
        self._crest = kept

    # ---- growing ------------------------------------------------------------------------------------------------------

    def grow(self, running: list[Sequence]) -> bool:
        """Make the cache larger, keeping what runs; False where the model's context or the memory ends."""
        larger = sizing.larger(self.context.config, running, self._limits)
        if larger is None:
            return False
        try:
            self._remake(larger, running)
        except OutOfMemory:
            return False
        return True

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
        states = [self._save(s.slot) if s.slot is not None and s.done else None for s in running]
        needed = [(kept, self._save(slot)) for slot, kept in self._places.kept.items() if kept.needed]
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
        self, running: Iterable[tuple[Sequence, bytes | None]], needed: Iterable[tuple[Kept, bytes | None]]
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
            if state is not None and self.context.restore(slot, state):
                self._places.hold(slot, kept)
            else:
                self._places.give_back(slot)

    @property
    def portable(self) -> bool:
        """Whether a saved state is as good as an evaluated one.

        After a restored state llama.cpp looks for room from the state's first cell on, and what fell out of the window
        counts as room: cells get out of order and lost, which exact answers and cutting a stream do not bear.
        """
        return self._config.unified or not self._model.window

    def _save(self, slot: int) -> bytes | None:
        return self.context.save(slot) if self.portable else None

    # ---- seats ----------------------------------------------------------------------------------------------------------

    def _donors(self, running: Iterable[Sequence]) -> Iterable[tuple[int, list[int], int]]:
        """Yield (slot, tokens, evaluated) of all that could begin another sequence."""
        for slot, kept in self._places.kept.items():
            yield slot, kept.tokens, len(kept.tokens)
        for sequence in running:
            if sequence.slot is not None and sequence.done:
                yield sequence.slot, sequence.tokens, sequence.done

    def _best_donor(self, sequence: Sequence, running: list[Sequence]) -> tuple[int, int | None]:
        best, donor = 0, None
        for slot, tokens, done in self._donors(running):
            common = min(common_prefix(tokens, sequence.tokens), sequence.outputs_from)
            length = self._places.memory.reusable(done, common)
            if length > best:
                best, donor = length, slot
        return best, donor

    def reusable(self, sequence: Sequence, running: list[Sequence]) -> int:
        """Return how many tokens of ``sequence`` are in the memory already."""
        return self._best_donor(sequence, running)[0]

    def seat(self, sequence: Sequence, running: list[Sequence]) -> bool:
        """Give a sequence an id and the longest beginning that is there; False when there is no room for it."""
        config = self.context.config
        if not config.unified and len(sequence.tokens) > config.cells:
            return False
        length, donor = self._best_donor(sequence, running)
        places = self._places
        slot = places.take(keep=donor)
        if slot is None and not running and places.forget_one(donor, needed=True):
            slot = places.take()  # else nobody could ever run
        if slot is None and donor in places.kept and not (running and places.kept[donor].needed):
            places.forget(donor)  # the last id: room to run goes before a beginning to share
            slot, donor, length = places.take(), None, 0
        if slot is None:
            return False
        if donor is not None:
            places.memory.copy(donor, slot, length)
            places.used(donor)
        sequence.slot = slot
        sequence.done = length
        if sequence.generated == 0:
            sequence.reused = length
        return True

    def keep(self, sequence: Sequence, owner: Scoring | None, *, useful: bool) -> None:
        """A sequence ended or waits for its branches: keep its tokens for others within bounds."""
        slot, sequence.slot = sequence.slot, None
        if slot is None:
            return
        if sequence.done and (useful or owner):
            if sequence.cancelled:  # nobody waits for it any more: who knows whether it was saved
                self._places.disown(sequence.request.session)
            session = None if sequence.turn_length or sequence.cancelled else sequence.request.session
            self._places.hold(slot, Kept(sequence.tokens[: sequence.done], owner, session))
        else:
            self._places.remove(slot)

    def close_ranks(self, running: list[Sequence]) -> None:
        """Give what runs the ids from 0 on where each sequence has memory of its own.

        llama.cpp evaluates such sequences together only where their ids follow one another
        (``llama_batch_allocr::split_equal``); a gap costs another pass through all weights in every step.
        """
        rest = {s.slot: s.longest for s in running if s.slot is not None}
        if self.elastic and max(rest, default=0) >= len(rest):
            moved = self._places.close_ranks(rest, _WORTH_MOVING)
            for sequence in running:
                sequence.slot = moved.get(sequence.slot, sequence.slot) if sequence.slot is not None else None

    def adopt(self, tokens: list[int], state: bytes) -> None:
        """Keep a beginning that was evaluated elsewhere, where an id is free for it and the state fits."""
        # not by forgetting another one: its copy for somebody may be due at the next evaluation, and would be overwritten
        slot = self._places.take_last() if self.portable and self._places.free else None
        if slot is None:
            return
        restored = False
        try:
            restored = self.context.restore(slot, state)
        finally:
            if restored:
                self._places.hold(slot, Kept(tokens))
            else:
                self._places.give_back(slot)

    def unsaved(self) -> list[tuple[int, Kept]]:
        """Return what is kept of saved conversations and not on disk yet, with its ids."""
        return [] if self._seats is None else self._seats.unsaved()

    def freeze(self, sequence: Sequence) -> None:
        """Keep a copy of the sequence as it is now, where an id is free for it."""
        slot = self._places.take_last()
        if slot is not None and sequence.slot is not None:
            self._places.memory.copy(sequence.slot, slot, sequence.done)
            session = sequence.request.session if sequence.done == sequence.turn_length else None
            self._places.hold(slot, Kept(sequence.tokens[: sequence.done], session=session))

    def forget_one(self, *, needed: bool = False) -> bool:
        """Forget the least recently used beginning, with ``needed`` also one that branches wait for."""
        return self._places.forget_one(needed=needed)

    def vacate(self, sequence: Sequence) -> None:
        """Take a running sequence out of the memory; it begins again when it is seated the next time."""
        slot = sequence.slot
        sequence.restart()
        if slot is not None:
            self._places.remove(slot)

    def clear(self, running: list[Sequence]) -> None:
        """Forget everything; what runs begins again when it is seated the next time."""
        self._places.clear()
        for sequence in running:
            sequence.restart()

    def truncate(self, sequence: Sequence) -> bool:
        """Cut a sequence back to what counts as done; False where its memory cannot be cut."""
        return sequence.slot is not None and self._places.memory.truncate(sequence.slot, sequence.done)
