"""Threads that wait for the same thing: the one whose request was submitted first gets it first.

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

FIRST: RequestOrder = (False, 0)
"""That of a question about a server, for which requests wait."""


class WaitingLine:
    """The threads that wait, in the order of their requests. Its user holds a lock during each call."""

    def __init__(self) -> None:
        self._tickets: list[Ticket] = []
        self._arrivals = itertools.count()

    @contextmanager
    def join(self, order: RequestOrder) -> Iterator[Ticket]:
        """Give a place in the line during the block."""
        ticket = (order, next(self._arrivals))
        insort(self._tickets, ticket)
        try:
            yield ticket
        finally:
            self._tickets.remove(ticket)

    def is_first(self, ticket: Ticket) -> bool:
        """Whether nobody in the line comes before."""
        return self._tickets[0] == ticket
