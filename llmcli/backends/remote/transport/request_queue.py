"""A queue of threads that wait for a server or a permit: the request that was submitted first is served first.

A request whose server failed waits again, and the requests after it would otherwise be as likely to be next. The rows of a
job are written in the order of its records, so all answers after such a request would wait for it.
"""

from __future__ import annotations

import itertools
from bisect import insort
from collections.abc import Iterator
from contextlib import contextmanager

RequestOrder = tuple[bool, int]
"""Sorts requests: interactive ones, then by the number of their submission in this process."""
Ticket = tuple[RequestOrder, int]

HIGHEST_PRIORITY: RequestOrder = (False, 0)
"""The order of a question about a server, such as its list of models: requests wait for the answer."""


class RequestQueue:
    """Orders waiting threads by their requests. The caller holds a lock during each call."""

    def __init__(self) -> None:
        self._tickets: list[Ticket] = []
        self._arrivals = itertools.count()

    @contextmanager
    def enqueue(self, order: RequestOrder) -> Iterator[Ticket]:
        """Keep the calling thread in the queue during the block, and yield its ticket."""
        ticket = (order, next(self._arrivals))
        insort(self._tickets, ticket)
        try:
            yield ticket
        finally:
            self._tickets.remove(ticket)

    def is_first(self, ticket: Ticket) -> bool:
        """Return whether a ticket is at the head of the queue."""
        return self._tickets[0] == ticket
