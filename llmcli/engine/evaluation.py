"""What an evaluation is for, and when aborting it takes hardly anything from those who still wait."""

from __future__ import annotations

from collections.abc import Callable
from collections.abc import Sequence as SequenceOf

from llmcli.engine.sequence import Sequence

_NEARLY_ALL = 0.9
"""The part of an evaluation that must be for nothing before it is aborted at the cost of the rest."""


class Evaluation:
    """The evaluation that runs: ``shares`` are its sequences and their tokens. Other threads may ask it.

    Where the memory cannot be rolled back, an abort clears it, so that all of ``running`` lose what they have. A sequence
    that lost its last evaluation to an abort does not lose the next one too: else clients that come and go could keep it
    from ever ending.
    """

    def __init__(
        self, shares: SequenceOf[tuple[Sequence, int]], running: SequenceOf[Sequence], *, can_roll_back: bool
    ) -> None:
        self._shares = list(shares)
        self._ending: set[int] = set()
        self._asked = 0
        self._abandoned = False
        if not can_roll_back:
            present = {id(sequence) for sequence, _ in shares}
            self._shares += [(sequence, 1) for sequence in running if id(sequence) not in present]
        total = sum(count for _, count in self._shares)
        protected = not can_roll_back or any(sequence.lost_step for sequence, _ in shares)
        self._enough = total if protected else _NEARLY_ALL * total
        self.expires_at = self._expiry()
        """When it is for nearly nothing but what is past its deadline, in ``time.monotonic()`` seconds; None: never."""

    def is_only_for(self, should_end: Callable[[Sequence], bool]) -> bool:
        """Tell whether nearly all of it is for sequences that should end, those of earlier calls included.

        Each of many clients that leave at once has only a small share.
        """
        self._ending.update(number for number, (sequence, _) in enumerate(self._shares) if should_end(sequence))
        return sum(self._shares[number][1] for number in self._ending) >= self._enough

    def is_abandoned(self, cancelled: SequenceOf[Callable[[Sequence], bool]]) -> bool:
        """Tell whether ``is_only_for`` is true of what ``cancelled`` lists, which grows while this is asked again.

        It may hold cancellations from before the evaluation began: making a context for it takes long.
        """
        while not self._abandoned and self._asked < len(cancelled):
            self._abandoned = self.is_only_for(cancelled[self._asked])
            self._asked += 1
        return self._abandoned

    def _expiry(self) -> float | None:
        expired = 0
        deadlines = ((s.request.deadline, count) for s, count in self._shares if s.request.deadline is not None)
        for deadline, count in sorted(deadlines):
            expired += count
            if expired >= self._enough:
                return deadline
        return None
