"""Several rankings of the same things become one."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Sequence
from typing import TypeVar

T = TypeVar("T", bound=Hashable)

RANK_CONSTANT = 60
"""``k`` of reciprocal rank fusion: how little the first places count more than the next ones."""


def fuse_rankings(rankings: Iterable[Sequence[T]]) -> list[T]:
    """Return what the rankings contain, each once, the best first.

    The score is the sum of 1 / (k + rank) over the rankings that contain it: reciprocal rank fusion (Cormack, Clarke
    and Buettcher 2009). Equal scores are in the order of the first ranking that contains them.
    """
    scores: dict[T, float] = {}
    for ranking in rankings:
        for rank, each in enumerate(ranking, 1):
            scores[each] = scores.get(each, 0.0) + 1 / (RANK_CONSTANT + rank)
    return sorted(scores, key=lambda each: -scores[each])
