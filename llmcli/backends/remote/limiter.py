"""How many requests a server gets at once: as many as it bears.

Additive increase, multiplicative decrease, as TCP has it (Chiu and Jain, 1989): each good answer lets a little more
through, and an answer of 429 or 503 halves it. A pause that the server asks for holds back all requests. So that it is not
asked for again and again, as many requests at once as were refused are tried seldom, and ever more seldom.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

from llmcli.backends.remote.call import Call
from llmcli.errors import TryAgain

_LOOK = 0.05
_SELDOM = 16
_MOST_SELDOM = 1024


class Busy(TryAgain):
    """The server has too much to do (429, 503)."""


class Limiter:
    """Lets at most ``most`` requests through at once; begins with that many, so that a job is not slow to start."""

    def __init__(self, most: int, longest: float) -> None:
        """``longest``: seconds of a pause that is waited for at all."""
        self._most = most
        self._longest = longest
        self._limit = float(most)
        self._running = 0
        self._not_before = 0.0
        self._decreased = 0.0
        self._refused_at = most + 1  # at once; what is below was borne
        self._until_tried = _SELDOM  # good answers after which so many are tried again
        self._good = 0
        self._changed = threading.Condition()
        self.widest = 0
        """Most requests that were under way at once."""
        self.answered = 0
        """Requests that were answered so far."""

    @property
    def limit(self) -> int:
        """How many requests may be under way now."""
        return max(1, int(self._limit))

    @contextmanager
    def turn(self, call: Call) -> Iterator[None]:
        """Wait for a turn and take it for the time of the block, whose end says how the server bore it.

        Raises what ``call.check`` raises.
        """
        began = self._enter(call)
        try:
            yield
        except Busy as busy:
            self._leave(busy, began)
            raise
        except BaseException:
            self._leave(None, began, good=False)
            raise
        else:
            self._leave(None, began)

    def _enter(self, call: Call) -> float:
        with self._changed:
            while self._running >= self.limit or time.monotonic() < self._not_before:
                call.check()
                self._changed.wait(_LOOK)
            call.check()
            self._running += 1
            self.widest = max(self.widest, self._running)
            return time.monotonic()

    def _leave(self, busy: Busy | None, began: float, *, good: bool = True) -> None:
        with self._changed:
            self._running -= 1
            now = time.monotonic()
            if busy is not None:
                if began >= self._decreased:  # of those that were sent together one halves, not each
                    self._limit = max(1.0, self._limit / 2)
                    self._decreased = now
                    again = self._running + 1 >= self._refused_at
                    self._until_tried = min(_MOST_SELDOM, self._until_tried * 2) if again else _SELDOM
                    self._refused_at = max(2, self._running + 1)
                    self._good = 0
                if busy.retry_after is not None and busy.retry_after <= self._longest:
                    self._not_before = max(self._not_before, now + busy.retry_after)
            elif good:
                self.answered += 1
                self._good += 1
                wanted = min(self._most, self._limit + 1 / self._limit)
                if wanted < self._refused_at or self._good >= self._until_tried:
                    self._limit = wanted
            self._changed.notify_all()
