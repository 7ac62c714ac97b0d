"""The sequence ids of a context: which are free, and which hold cached prefixes."""

from __future__ import annotations

import heapq
from collections.abc import Mapping

from llmcli.engine.kv.layouts import UnifiedKV
from llmcli.engine.sequences.sequence import Sequence, TokenStates
from llmcli.fast_dataclass import frozen, slotted

_MAX_CACHED_PREFIXES = 4
"""The most ended sequences whose tokens stay cached, besides those that other sequences wait for."""


@slotted
class CachedPrefix:
    """Tokens in memory for sequences that begin with them; ``owner``: the request whose forks will.

    ``session``: the saved conversation whose state they are, as long as it is not on disk. ``states``: their hidden
    states, None in a context that gives none. ``is_open``: they end with an answer, and no request has continued it.
    """

    tokens: list[int]
    owner: Sequence | None = None
    session: str | None = None
    states: TokenStates | None = None
    is_open: bool = False

    @property
    def is_awaited(self) -> bool:
        """Whether forks of the owner are still to come."""
        return self.owner is not None and not self.owner.ended


class SequenceIdPool:
    """``count`` ids from 0 on, each free, cached or allocated to a sequence; the lowest free one is allocated first."""

    def __init__(self, memory: UnifiedKV, count: int) -> None:
        self.memory = memory
        self.cached: dict[int, CachedPrefix] = {}
        """Least recently used first."""
        self._capacity = count
        self.free_ids = list(range(count))
        """A heap."""

    @property
    def cached_tokens(self) -> int:
        """The number of tokens of all cached prefixes."""
        return sum(len(prefix.tokens) for prefix in self.cached.values())

    def allocate(self, keep: int | None = None) -> int | None:
        """Return a free id, if necessary by evicting a cached prefix other than that of ``keep``."""
        if self.free_ids or self.evict_lru(keep):
            return heapq.heappop(self.free_ids)
        return None

    def allocate_highest(self) -> int | None:
        """Return the highest free id, away from those of running sequences; None if there is none."""
        if not self.free_ids and not self.evict_lru():
            return None
        slot = max(self.free_ids)
        self._remove_free(slot)
        return slot

    def _remove_free(self, slot: int) -> None:
        self.free_ids.remove(slot)
        heapq.heapify(self.free_ids)

    def free(self, slot: int) -> None:
        """Free an id that is empty."""
        heapq.heappush(self.free_ids, slot)

    def remove_sequence(self, slot: int) -> None:
        """Empty an id that is allocated to a sequence, and free it."""
        self.memory.remove_sequence(slot)
        self.free(slot)

    def retain(self, slot: int, prefix: CachedPrefix) -> None:
        """Keep the content of an id as a cached prefix, within limits."""
        self.cached[slot] = prefix
        while sum(not cached.is_awaited for cached in self.cached.values()) > _MAX_CACHED_PREFIXES and self.evict_lru():
            pass

    def mark_used(self, slot: int | None) -> None:
        """Mark a cached prefix as used last; one that is open as used first, if no conversation has to be saved.

        The request that continues an answer has all of its tokens: what others have is worth more.
        """
        prefix = self.cached.pop(slot, None) if slot is not None else None
        if prefix is None or slot is None:
            return
        was_open, prefix.is_open = prefix.is_open, False
        if was_open and prefix.session is None:
            self.cached = {slot: prefix, **self.cached}
        else:
            self.cached[slot] = prefix

    def evict(self, slot: int) -> None:
        """Remove the cached prefix of an id."""
        del self.cached[slot]
        self.remove_sequence(slot)

    def allocate_cached(self, slot: int, length: int) -> bool:
        """Allocate the id of a cached prefix, of which ``length`` tokens stay; return False if none can."""
        prefix = self.cached.pop(slot)
        return length == len(prefix.tokens) or self.memory.truncate(slot, length)

    def truncate_cached(self, slot: int | None, length: int) -> bool:
        """Keep only ``length`` tokens of the cached prefix of an id; return whether others were removed."""
        prefix = self.cached.get(slot) if slot is not None else None
        if prefix is None or slot is None or prefix.is_awaited or not 0 < length < len(prefix.tokens):
            return False
        if not self.memory.supports_partial_prefix:  # a truncation might leave nothing
            return False
        states = None if prefix.states is None else prefix.states.prefix(length)
        self.cached[slot] = CachedPrefix(prefix.tokens[:length], states=states)
        return self.memory.truncate(slot, length)

    def evict_lru(self, keep: int | None = None, *, needed: bool = False) -> bool:
        """Evict the least recently used prefix except ``keep``, with ``needed`` also one that forks wait for."""
        evictable = (slot for slot, prefix in self.cached.items() if slot != keep and (needed or not prefix.is_awaited))
        slot = next(evictable, None)
        if slot is None:
            return False
        self.evict(slot)
        return True

    def unsaved_sessions(self) -> list[tuple[int, CachedPrefix]]:
        """Return the ids and cached prefixes of conversations that are not saved yet."""
        return [(slot, prefix) for slot, prefix in self.cached.items() if prefix.session]

    def detach_session(self, session: str | None) -> None:
        """Do not save any cached prefix as the state of this conversation."""
        for prefix in self.cached.values():
            prefix.session = None if prefix.session == session else prefix.session

    def clear(self) -> None:
        """Remove everything, also running sequences."""
        self.memory.clear()
        self.cached.clear()
        self.free_ids = list(range(self._capacity))

    # ---- compaction --------------------------------------------------------------------------------------------------

    def compact(self, tokens_left: Mapping[int, int], min_tokens_left: int) -> dict[int, int]:
        """Move running sequences to the ids from 0 on; return new ids by old ones.

        ``tokens_left`` maps their ids to the tokens that each may still generate; one with fewer than
        ``min_tokens_left`` is not moved.
        """
        moved: dict[int, int] = {}
        allocated = dict(tokens_left)
        for gap in range(len(allocated)):
            last = max(allocated)
            if gap in allocated:
                continue
            if allocated[last] < min_tokens_left:
                break
            if not self._free_up(gap):
                continue
            self._remove_free(gap)
            self._move_sequence(last, gap)
            allocated[gap] = allocated.pop(last)
            moved[last] = gap
        return moved

    def _free_up(self, slot: int) -> bool:
        """Free an id: its cached prefix is moved to a higher id or evicted; return False if neither is possible."""
        if slot not in self.cached:
            return True
        other = max(self.free_ids, default=-1)
        if other > slot:
            self._remove_free(other)
            self._move_sequence(slot, other)
            self.cached[other] = self.cached.pop(slot)
        elif self.cached[slot].is_awaited:
            return False
        else:
            self.evict(slot)
        return True

    def _move_sequence(self, source: int, target: int) -> None:
        self.memory.move_sequence(source, target)
        self.free(source)


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
