"""The sequence ids of a context: which are free, and which hold beginnings that are kept for others."""

from __future__ import annotations

import heapq
from collections.abc import Mapping
from dataclasses import dataclass

from llmcli.engine.memory import Memory
from llmcli.engine.sequence import Scoring

_KEPT = 4
"""Ended sequences whose tokens stay for those who begin alike (as well as those that others are waiting for)."""


@dataclass(slots=True)
class Kept:
    """Tokens that are in the memory for whoever begins with them; ``owner``: the request whose branches will.

    ``session``: the saved conversation that they are the present state of, as long as that is not on disk.
    """

    tokens: list[int]
    owner: Scoring | None = None
    session: str | None = None

    @property
    def needed(self) -> bool:
        """Somebody is waiting for it."""
        return self.owner is not None and not self.owner.ended


class Places:
    """``count`` ids from 0 on. Each is free, kept, or with a sequence that took it; the lowest free one goes first."""

    def __init__(self, memory: Memory, count: int) -> None:
        self.memory = memory
        self.kept: dict[int, Kept] = {}
        """Least recently used first."""
        self._count = count
        self.free = list(range(count))
        """A heap."""

    @property
    def tokens(self) -> int:
        """Tokens of all that is kept."""
        return sum(len(kept.tokens) for kept in self.kept.values())

    def take(self, keep: int | None = None) -> int | None:
        """Return a free id, if need be by forgetting a kept beginning other than ``keep``."""
        if self.free or self.forget_one(keep):
            return heapq.heappop(self.free)
        return None

    def take_last(self) -> int | None:
        """Return the highest free id, out of the way of those that run; None when there is none."""
        if not self.free and not self.forget_one():
            return None
        slot = max(self.free)
        self._pick(slot)
        return slot

    def _pick(self, slot: int) -> None:
        self.free.remove(slot)
        heapq.heapify(self.free)

    def give_back(self, slot: int) -> None:
        """Free an id that is empty."""
        heapq.heappush(self.free, slot)

    def remove(self, slot: int) -> None:
        """Empty an id that is with a sequence, and free it."""
        self.memory.remove(slot)
        self.give_back(slot)

    def hold(self, slot: int, kept: Kept) -> None:
        """Keep what is at an id, within bounds."""
        self.kept[slot] = kept
        while sum(not each.needed for each in self.kept.values()) > _KEPT and self.forget_one():
            pass

    def used(self, slot: int | None) -> None:
        """Note that a beginning was of use."""
        if slot in self.kept:
            self.kept[slot] = self.kept.pop(slot)

    def forget(self, slot: int) -> None:
        """Forget what is kept at an id."""
        del self.kept[slot]
        self.remove(slot)

    def forget_one(self, keep: int | None = None, *, needed: bool = False) -> bool:
        """Forget the least recently used beginning but ``keep``, with ``needed`` also one that branches wait for."""
        slots = (slot for slot, kept in self.kept.items() if slot != keep and (needed or not kept.needed))
        slot = next(slots, None)
        if slot is None:
            return False
        self.forget(slot)
        return True

    def unsaved(self) -> list[tuple[int, Kept]]:
        """Return the ids and what is kept there of conversations to be saved."""
        return [(slot, kept) for slot, kept in self.kept.items() if kept.session]

    def disown(self, session: str | None) -> None:
        """Let nothing that is kept be saved as this conversation's."""
        for kept in self.kept.values():
            kept.session = None if kept.session == session else kept.session

    def clear(self) -> None:
        """Forget everything, what runs too."""
        self.memory.clear()
        self.kept.clear()
        self.free = list(range(self._count))

    # ---- ranks ----------------------------------------------------------------------------------------------------------

    def close_ranks(self, rest: Mapping[int, int], least: int) -> dict[int, int]:
        """Let those that run have the ids from 0 on; returns new ids by old ones.

        ``rest`` maps their ids to the tokens that each may still generate: one with fewer than ``least`` stays.
        """
        moved: dict[int, int] = {}
        seated = dict(rest)
        for hole in range(len(seated)):
            last = max(seated)
            if hole in seated:
                continue
            if seated[last] < least:
                break
            if not self._vacate(hole):
                continue
            self._pick(hole)
            self._move(last, hole)
            seated[hole] = seated.pop(last)
            moved[last] = hole
        return moved

    def _vacate(self, slot: int) -> bool:
        """Make an id free: what is kept there moves up, or is forgotten; False where neither can be."""
        if slot not in self.kept:
            return True
        other = max(self.free, default=-1)
        if other > slot:
            self._pick(other)
            self._move(slot, other)
            self.kept[other] = self.kept.pop(slot)
        elif self.kept[slot].needed:
            return False
        else:
            self.forget(slot)
        return True

    def _move(self, source: int, target: int) -> None:
        self.memory.move(source, target)
        self.give_back(source)
