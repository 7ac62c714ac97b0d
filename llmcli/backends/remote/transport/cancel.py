"""Cancellation of a running request by another thread."""

from __future__ import annotations

import socket
import threading
import time
from contextlib import suppress
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from llmcli.backends.remote.transport.cost_budget import RequestCost


class Cancelled(Exception):
    """The call was cancelled: no consumer waits for it any more."""


class DeadlineExceeded(Exception):
    """The call's deadline passed."""


class CancelToken:
    """``deadline`` is a ``time.monotonic()`` value; ``delivered`` is set when a piece of the answer was passed on.

    ``cost`` is that of the request, None where its price is not known.
    """

    def __init__(self, deadline: float | None = None, cost: RequestCost | None = None) -> None:
        self.deadline = deadline
        self.cost = cost
        self.delivered = False
        self._cancelled = threading.Event()
        self._lock = threading.Lock()
        self._socket: socket.socket | None = None

    def cancel(self) -> None:
        """Cancel the call: a thread that waits for its socket wakes up."""
        with self._lock:
            self._cancelled.set()
            if self._socket is not None:
                with suppress(OSError):  # it is closed already
                    socket.socket.shutdown(self._socket, socket.SHUT_RDWR)  # below TLS, which another thread reads

    @property
    def is_cancelled(self) -> bool:
        """Whether it was cancelled."""
        return self._cancelled.is_set()

    def check(self) -> None:
        """Raise ``Cancelled`` or ``DeadlineExceeded``, if either applies."""
        if self.is_cancelled:
            raise Cancelled
        if self.deadline is not None and time.monotonic() >= self.deadline:
            raise DeadlineExceeded

    def attach_socket(self, used: socket.socket | None) -> None:
        """Remember the socket that the call waits for, None when it waits for none. Raises as ``check``."""
        with self._lock:
            self._socket = used
        if used is not None:
            self.check()

    def limit_timeout(self, seconds: float) -> float:
        """Return how long to wait for the server: ``seconds``, less where the deadline comes before."""
        if self.deadline is None:
            return seconds
        return max(0.001, min(seconds, self.deadline - time.monotonic()))

    def sleep(self, seconds: float) -> None:
        """Wait. Raises as ``check``."""
        self._cancelled.wait(self.limit_timeout(seconds))
        self.check()
