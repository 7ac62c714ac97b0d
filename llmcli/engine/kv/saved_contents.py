"""The contents of a context, on their way to its replacement, or to the first cells of the same context."""

from __future__ import annotations

from dataclasses import dataclass

from llmcli.engine.kv.sequence_ids import CachedPrefix, SequenceIdPool
from llmcli.engine.llama.context import Context
from llmcli.engine.llama.state_files import NativeStateFile, StateFile
from llmcli.engine.sequences.sequence import Sequence


@dataclass(frozen=True, slots=True, eq=False)
class SavedContents:
    """States of running sequences (None: to be evaluated again) and of prefixes that forks wait for."""

    running: list[tuple[Sequence, bytearray | StateFile | NativeStateFile | None]]
    awaited: list[tuple[CachedPrefix, bytearray | StateFile | NativeStateFile]]

    @classmethod
    def save(
        cls, context: Context, pool: SequenceIdPool, running: list[Sequence], *, restorable: bool, allow_files: bool
    ) -> SavedContents:
        """Save the contents of ``context``; ``allow_files``: the next context has the same layout and reads files."""
        save = context.save_state_or_file if allow_files else context.save_state
        return cls(
            [
                (s, save(s.slot) if restorable and s.slot is not None and s.num_computed_tokens else None)
                for s in running
            ],
            [(prefix, save(slot)) for slot, prefix in pool.cached.items() if prefix.is_awaited and restorable],
        )

    def restore(self, context: Context, pool: SequenceIdPool) -> None:
        """Restore the states; a sequence whose state does not fit is evaluated again, such a prefix is dropped."""
        for sequence, state in self.running:
            slot = pool.allocate()
            if slot is None or state is None or not context.restore_state(slot, state):
                sequence.reset()
            sequence.slot = slot
        for prefix, awaited_state in self.awaited:
            slot = pool.allocate_highest()
            if slot is None:
                return
            if context.restore_state(slot, awaited_state):
                pool.retain(slot, prefix)
            else:
                pool.free(slot)


def compact_cells(context: Context, pool: SequenceIdPool) -> None:
    """Move cached prefixes to the first cells: every step attends to all cells up to the last one in use."""
    states = {slot: context.save_state_or_file(slot) for slot in pool.cached}
    pool.memory.clear()
    for slot, state in states.items():
        if not context.restore_state(slot, state):
            pool.evict(slot)
