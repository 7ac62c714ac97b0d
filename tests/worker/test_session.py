"""How a worker sends what a command waits for."""

from __future__ import annotations

import os
import signal
import socket
import threading

import pytest

from llmcli.cli.signals import caught
from llmcli.errors import Terminated
from llmcli.interrupt import Interrupt
from llmcli.worker.client import Gone, Session
from llmcli.worker.session import gathering


@pytest.mark.parametrize(
    ("pause", "active", "seconds"),
    [(0.0, 100, 0.0), (0.1, 0, 0.1), (0.1, 2, 0.1), (0.1, 16, 0.8), (0.1, 200, 1.0), (2.0, 16, 2.0)],
)
def test_text_that_nobody_watches_gathers_longer_in_a_crowd(pause, active, seconds):
    """Each piece that is sent wakes a process, which takes the processor from the engine."""
    assert gathering(pause, active) == pytest.approx(seconds)


def test_a_worker_that_takes_nothing_does_not_hold_back_a_signal():
    """A long request to a worker that does not read ends at a signal; the exchange, torn in the middle, is over."""
    ours, theirs = socket.socketpair()
    with ours, theirs, caught(Interrupt()):
        session = Session(ours, {})
        os.kill(os.getpid(), signal.SIGTERM)
        with pytest.raises(Terminated):
            session.send(bytes(10_000_000))
        with pytest.raises(Gone):
            session.send(b"more")


def test_a_worker_that_reads_slowly_gets_all_of_a_long_request():
    """What does not fit the socket at once is sent in pieces, whole."""
    ours, theirs = socket.socketpair()
    with ours, theirs:
        session, got = Session(ours, {}), []

        def read():
            while data := theirs.recv(1 << 20):
                got.append(data)

        reader = threading.Thread(target=read)
        reader.start()
        session.send(b"x" * 3_000_000)
        session.close()
        reader.join()
    assert b"\r\n2dc6c0\r\n" + b"x" * 3_000_000 + b"\r\n" in b"".join(got)
