"""States of sequences in ordinary memory, while there is no context: a fraction of what a context takes."""

from __future__ import annotations

from dataclasses import dataclass

from llmcli.engine.places import Kept


@dataclass(frozen=True, slots=True, eq=False)
class ParkedState:
    """``state`` as ``Context.save`` returned it from a cache of this ``format`` (``KVCacheManager.format``)."""

    kept: Kept
    format: str
    state: bytearray


class ParkedStates:
    """At most ``limit`` bytes of states; the oldest make room."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._states: list[ParkedState] = []

    def __len__(self) -> int:
        return len(self._states)

    @property
    def size(self) -> int:
        """Bytes of all states."""
        return sum(len(parked.state) for parked in self._states)

    def in_format(self, form: str) -> list[ParkedState]:
        """Return the states that a cache of this format can take over."""
        return [parked for parked in self._states if parked.format == form]

    def fits(self, size: int) -> bool:
        """Tell whether a state of so many bytes may be added."""
        return size <= self._limit

    def add(self, kept: Kept, form: str, state: bytearray) -> None:
        """Keep a state, if need be in place of the oldest."""
        self._states.append(ParkedState(kept, form, state))
        while self.size > self._limit:
            del self._states[0]

    def remove(self, parked: ParkedState) -> None:
        """Forget a state."""
        self._states.remove(parked)
