"""The contents of a context, on their way to its replacement, or to the first cells of the same context."""

from __future__ import annotations

from llmcli.engine.kv.sequence_ids import CachedPrefix, SequenceIdPool
from llmcli.engine.llama.context import Context
from llmcli.engine.llama.state_files import NativeStateFile, StateFile
from llmcli.engine.sequences.sequence import Sequence, common_prefix_length
from llmcli.fast_dataclass import frozen

_MAX_OPEN_BYTES = 32 << 20
"""Of the state of a conversation that may go on: larger ones would take the memory that the new context needs."""


@frozen
class SavedContents:
    """States of running sequences (None: to be evaluated again), and of prefixes that others wait for or may continue.

    A state holds all tokens of a sequence, so states of sequences that shared the cells of a prefix need more cells
    than the sequences did. One that generates nothing and has little beside the prefix is therefore not saved: it
    waits, gets the prefix from another sequence, and evaluates the rest again.
    """

    running: list[tuple[Sequence, bytearray | StateFile | NativeStateFile | None]]
    prefixes: list[tuple[CachedPrefix, bytearray | StateFile | NativeStateFile]]

    __eq__ = object.__eq__
    __hash__ = object.__hash__

    @classmethod
    def save(
        cls, context: Context, pool: SequenceIdPool, running: list[Sequence], *, restorable: bool
    ) -> SavedContents:
        """Save the contents of ``context``."""
        save = context.save_state_or_file
        shares = context.config.unified and pool.memory.supports_partial_prefix
        saved: list[Sequence] = []
        states: list[tuple[Sequence, bytearray | StateFile | NativeStateFile | None]] = []
        for sequence in running:
            slot = sequence.slot if restorable and sequence.num_computed_tokens else None
            if slot is None or (shares and _is_cheap_to_repeat(sequence, saved)):
                states.append((sequence, None))
            else:
                states.append((sequence, save(slot)))
                saved.append(sequence)
        kept = [
            slot for slot, prefix in pool.cached.items() if prefix.is_awaited or _is_worth_saving(prefix, slot, context)
        ]
        return cls(states, [(pool.cached[slot], save(slot)) for slot in kept] if restorable else [])

    def restore(self, context: Context, pool: SequenceIdPool) -> None:
        """Restore the states; a sequence without one has no id then and starts again, such a prefix is dropped."""
        for sequence, state in self.running:
            slot = None if state is None else pool.allocate()
            if slot is None or state is None:
                sequence.reset()
            elif context.restore_state(slot, state):
                sequence.slot = slot
            else:
                pool.free(slot)
                sequence.reset()
        for prefix, prefix_state in self.prefixes:
            slot = pool.allocate_highest() if prefix.is_awaited or pool.free_ids else None
            if slot is None:
                continue
            if context.restore_state(slot, prefix_state):
                pool.retain(slot, prefix)
            else:
                pool.free(slot)


def _is_worth_saving(prefix: CachedPrefix, slot: int, context: Context) -> bool:
    """Return whether a conversation may go on, and is so small that saving it is cheaper than evaluating it again."""
    return prefix.is_open and context.state_size(slot) <= _MAX_OPEN_BYTES


def _is_cheap_to_repeat(sequence: Sequence, saved: list[Sequence]) -> bool:
    """Return whether a prefix of one of the ``saved`` sequences makes up at least half of what is evaluated.

    The prefix must stand for what is evaluated in it: a sequence that has results would get other ones.
    """
    if sequence.states is not None or sequence.tokens_left:
        return False
    lengths = (min(common_prefix_length(sequence.tokens, each.tokens), each.num_computed_tokens) for each in saved)
    return 2 * min(max(lengths, default=0), sequence.logits_start) >= sequence.num_computed_tokens


def compact_cells(context: Context, pool: SequenceIdPool) -> None:
    """Move cached prefixes to the first cells: every step attends to all cells up to the last one in use."""
    states = {slot: context.save_state_or_file(slot) for slot in pool.cached}
    pool.memory.clear()
    for slot, state in states.items():
        if not context.restore_state(slot, state):
            pool.evict(slot)
