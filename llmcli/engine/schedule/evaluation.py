"""The current evaluation: which sequences it serves, and when aborting it costs the others hardly anything."""

from __future__ import annotations

from collections.abc import Callable
from collections.abc import Sequence as SequenceOf

from llmcli.engine.schedule.batch import BatchEntry
from llmcli.engine.sequences.sequence import Sequence

_ABANDONED_SHARE = 0.9
"""The fraction of an evaluation that must have become useless before it is aborted at the cost of the rest."""


class Evaluation:
    """The current evaluation: ``entries`` are the parts of its batch. Other threads may call it.

    If the memory cannot be rolled back, an abort clears it, so that all ``running`` sequences lose their state. A
    sequence that lost its last evaluation to an abort does not lose the next one too: otherwise clients that come and
    go could keep it from ever finishing.
    """

    def __init__(self, entries: SequenceOf[BatchEntry], running: SequenceOf[Sequence], *, can_roll_back: bool) -> None:
        self._entries = list(entries)
        self._ending_indices: set[int] = set()
        self._num_checked = 0
        self._abandoned = False
        if not can_roll_back:
            present = {id(entry.sequence) for entry in entries}
            self._entries += [BatchEntry(sequence, 1, []) for sequence in running if id(sequence) not in present]
        total = sum(entry.num_tokens for entry in self._entries)
        protected = not can_roll_back or any(entry.sequence.lost_last_step for entry in entries)
        self._abort_threshold = total if protected else _ABANDONED_SHARE * total
        self.expires_at = self._compute_expiry()
        """The time when nearly all of it is past its deadline, in ``time.monotonic()`` seconds; None: never."""

    def is_only_for(self, should_end: Callable[[Sequence], bool]) -> bool:
        """Return whether nearly all of it is for sequences that should end, those of earlier calls included.

        Each of many clients that leave at once has only a small share.
        """
        self._ending_indices.update(i for i, entry in enumerate(self._entries) if should_end(entry.sequence))
        return sum(self._entries[i].num_tokens for i in self._ending_indices) >= self._abort_threshold

    def is_abandoned(self, cancelled: SequenceOf[Callable[[Sequence], bool]]) -> bool:
        """Return whether ``is_only_for`` holds for the predicates in ``cancelled``, a list that grows between calls.

        It may contain cancellations from before the evaluation began, since creating a context for it takes long.
        """
        while not self._abandoned and self._num_checked < len(cancelled):
            self._abandoned = self.is_only_for(cancelled[self._num_checked])
            self._num_checked += 1
        return self._abandoned

    def _compute_expiry(self) -> float | None:
        expired = 0
        deadlines = ((entry.sequence.request.deadline, entry.num_tokens) for entry in self._entries)
        for deadline, count in sorted((when, count) for when, count in deadlines if when is not None):
            expired += count
            if expired >= self._abort_threshold:
                return deadline
        return None
