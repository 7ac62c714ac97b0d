"""Who sits where: sequence ids of the context, and beginnings that are kept for others."""

from __future__ import annotations

from collections.abc import Iterable

from llmcli.engine import sizing
from llmcli.engine.kv_cache import KVCacheManager
from llmcli.engine.memory import kind_of
from llmcli.engine.parked_states import ParkedState
from llmcli.engine.places import Kept
from llmcli.engine.sequence import Scoring, Sequence, common_prefix

_WORTH_MOVING = 8
"""Tokens of answer for which a sequence is moved next to the others."""
_WORTH_RESTORING = 16
"""Tokens that a parked state has to have more than what is in the cache."""


class Slots(KVCacheManager):
    """The sequence ids of the context that ``KVCacheManager`` makes, and what each of them holds."""

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
        here = 0 if self._seats is None else self._best_donor(sequence, running)[0]
        return max(here, self._best_parked(sequence)[0])

    def _best_parked(self, sequence: Sequence) -> tuple[int, ParkedState | None]:
        """Return how many tokens of ``sequence`` a parked state has, and which one."""
        best, found = 0, None
        kind = kind_of(self._model, self._config)
        for parked in self._parked.in_format(self.format):
            tokens = parked.kept.tokens
            common = min(common_prefix(tokens, sequence.tokens), sequence.outputs_from)
            length = common if kind.can_cut or common == len(tokens) else 0
            if length > best:
                best, found = length, parked
        return best, found

    def _restore_parked(self, sequence: Sequence, running: list[Sequence]) -> None:
        """Bring back a parked state with which ``sequence`` begins, where it has more than what is in the cache."""
        length, parked = self._best_parked(sequence)
        if parked is not None and length - self._best_donor(sequence, running)[0] >= _WORTH_RESTORING:
            self._parked.remove(parked)
            self.adopt(parked.kept.tokens, parked.state)

    def has_room(self, sequence: Sequence, running: list[Sequence]) -> bool:
        """Tell whether the buffer that all share has cells for one more; if not, it grows before the next step."""
        no_cells = not self._model.header.attention_bytes_per_token()  # recurrent states alone
        if no_cells or sizing.has_room(sequence, running, self.context.config, self._limits):
            return True
        self._full = True
        return False

    def seat(self, sequence: Sequence, running: list[Sequence]) -> bool:
        """Give a sequence an id and the longest beginning that is there; False when there is no room for it."""
        config = self.context.config
        if not config.unified and len(sequence.tokens) > config.cells:
            return False
        self._restore_parked(sequence, running)
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

    def adopt(self, tokens: list[int], state: bytes | bytearray) -> None:
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
