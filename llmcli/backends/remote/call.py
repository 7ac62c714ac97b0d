"""One request under way, which another thread may end at any time."""

from __future__ import annotations

import socket
import threading
import time
from contextlib import suppress


class Ended(Exception):
    """The call was ended from outside: nobody waits for it any more."""


class Late(Exception):
    """The call's deadline passed."""


class Call:
    """``deadline`` is a ``time.monotonic()`` value; ``delivered`` is set when a piece of its answer was handed on."""

    def __init__(self, deadline: float | None = None) -> None:
        self.deadline = deadline
        self.delivered = False
        self._ended = threading.Event()
        self._lock = threading.Lock()
        self._socket: socket.socket | None = None

    def end(self) -> None:
        """End the call: whoever waits for its socket wakes up."""
        with self._lock:
            self._ended.set()
            if self._socket is not None:
                with suppress(OSError):  # it is closed already
                    socket.socket.shutdown(self._socket, socket.SHUT_RDWR)  # below TLS, which another thread reads

    @property
    def ended(self) -> bool:
        """Whether it was ended."""
        return self._ended.is_set()

    def check(self) -> None:
        """Raise ``Ended`` or ``Late``."""
        if self.ended:
            raise Ended
        if self.deadline is not None and time.monotonic() >= self.deadline:
            raise Late

    def watch(self, used: socket.socket | None) -> None:
        """Remember the socket that the call waits for, None when it waits for none. Raises ``Ended`` and ``Late``."""
        with self._lock:
            self._socket = used
        if used is not None:
            self.check()

    def patience(self, seconds: float) -> float:
        """Return how long to wait for the server: ``seconds``, less where the deadline comes before."""
        if self.deadline is None:
            return seconds
        return max(0.001, min(seconds, self.deadline - time.monotonic()))

    def sleep(self, seconds: float) -> None:
        """Wait. Raises ``Ended`` and ``Late``."""
        self._ended.wait(self.patience(seconds))
        self.check()
