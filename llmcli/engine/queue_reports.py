"""Telling waiting requests how many go before them, where they asked for that (``Request.progress``)."""

from __future__ import annotations

import time
from collections.abc import Iterable

from llmcli.engine.sequence import REPORT_INTERVAL_S, Sequence


class QueueReports:
    """Reports at once to new requests, and now and then to the first one of each client: the rest follow from it."""

    def __init__(self) -> None:
        self._due = 0.0

    def expect(self, sequence: Sequence) -> None:
        """Note that a sequence has joined the queue."""
        if sequence.request.progress:
            self._due = 0.0

    def tell(self, waiting: Iterable[Sequence]) -> None:
        """Report to those who wait, in their order."""
        now = time.monotonic()
        if now < self._due:
            return
        self._due = now + REPORT_INTERVAL_S
        told = set()
        for ahead, sequence in enumerate(waiting):
            if sequence.unreported or (sequence.request.progress and id(sequence.sink) not in told):
                told.add(id(sequence.sink))
                sequence.report(ahead)
