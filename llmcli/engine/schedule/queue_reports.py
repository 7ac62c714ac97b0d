"""Reports of queue positions to waiting requests that asked for them (``Request.progress``)."""

from __future__ import annotations

import time
from collections.abc import Iterable

from llmcli.engine.sequences.sequence import REPORT_INTERVAL_S, Sequence


class QueueReports:
    """Reports at once to new requests, then periodically to the first of each client; the others follow from it."""

    def __init__(self) -> None:
        self._next_report_at = 0.0

    def note_arrival(self, sequence: Sequence) -> None:
        """Record that a sequence has joined the queue."""
        if sequence.request.progress:
            self._next_report_at = 0.0

    def report_positions(self, waiting: Iterable[Sequence]) -> None:
        """Report their positions to the ``waiting`` sequences, which are in order."""
        now = time.monotonic()
        if now < self._next_report_at:
            return
        self._next_report_at = now + REPORT_INTERVAL_S
        reported = set()
        for ahead, sequence in enumerate(waiting):
            if sequence.is_unreported or (sequence.request.progress and id(sequence.sink) not in reported):
                reported.add(id(sequence.sink))
                sequence.report_progress(ahead)
