"""States of sequences in main memory while there is no context: a fraction of a context's size."""

from __future__ import annotations

from llmcli.engine.kv.sequence_ids import CachedPrefix
from llmcli.frozen_dataclass import frozen


@frozen
class IdleState:
    """``state`` as ``Context.save_state`` returned it, with the ``KVCacheManager.state_format`` of that time."""

    prefix: CachedPrefix
    state_format: str
    state: bytearray

    __eq__ = object.__eq__
    __hash__ = object.__hash__


class IdleStates:
    """At most ``max_bytes`` of states; the oldest are evicted."""

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._states: list[IdleState] = []

    def __len__(self) -> int:
        return len(self._states)

    @property
    def total_bytes(self) -> int:
        """The bytes of all states."""
        return sum(len(saved.state) for saved in self._states)

    def with_format(self, state_format: str) -> list[IdleState]:
        """Return the states that a cache of this format can restore."""
        return [saved for saved in self._states if saved.state_format == state_format]

    def fits(self, size: int) -> bool:
        """Return whether a state of ``size`` bytes may be added."""
        return size <= self._max_bytes

    def add(self, prefix: CachedPrefix, state_format: str, state: bytearray) -> None:
        """Keep a state; the oldest ones make room for it."""
        self._states.append(IdleState(prefix, state_format, state))
        while self.total_bytes > self._max_bytes:
            del self._states[0]

    def remove(self, saved: IdleState) -> None:
        """Remove a state."""
        self._states.remove(saved)
