"""Stalls: too few bytes for too long end a transfer, whatever happens in between; progress continues it."""

from __future__ import annotations

import pytest

from llmcli.errors.network_errors import TransferStalled
from llmcli.network.transfers import StallDetector

MEGABYTE = 1_000_000


class Transfer:
    """A detector with its own clock."""

    def __init__(self, **limits) -> None:
        self.time = 0.0
        self.detector = StallDetector("model", clock=lambda: self.time, **limits)

    def receive(self, count, after):
        self.time += after
        self.detector.add_bytes(count)

    def time_out(self, after):
        self.time += after
        self.detector.add_timeout()

    def stalls_at(self, step):
        """Repeat ``step`` until the transfer has stalled; return the time."""

        def repeat():
            for _ in range(100_000):
                step()

        with pytest.raises(TransferStalled):
            repeat()
        return self.time


def test_a_slow_transfer_with_progress_continues():
    """One kilobyte a second is enough, without a time limit."""
    transfer = Transfer()
    for _ in range(100_000):
        transfer.receive(1000, after=1.0)


@pytest.mark.parametrize(("count", "after"), [(1, 0.5), (900, 1.0), (9000, 10.0), (1, 19.0)])
def test_a_very_slow_transfer_stalls_after_a_minute(count, after):
    """Less than a kilobyte a second ends the transfer after a minute, in any number of pieces."""
    transfer = Transfer()
    assert 60 <= transfer.stalls_at(lambda: transfer.receive(count, after)) < 60 + after


def test_a_stall_after_a_quick_beginning_takes_a_minute_too():
    """Bytes from before the last minute do not count."""
    transfer = Transfer()
    for _ in range(600):
        transfer.receive(MEGABYTE, after=0.1)
    assert 60 <= transfer.stalls_at(lambda: transfer.receive(10, after=1.0)) - 60 <= 62


def test_silence_ends_after_a_minute_whatever_the_attempts():
    """Timeouts without a byte between them are a stall after a minute, not after each attempt's timeout."""
    transfer = Transfer(max_timeouts=100)
    assert transfer.stalls_at(lambda: transfer.time_out(after=20.0)) == 60


def test_pauses_between_attempts_do_not_count():
    """A server that asks to wait has not stalled."""
    transfer = Transfer()
    for _ in range(100):
        transfer.time += 59.0
        transfer.detector.exclude_pause(59.0)
        transfer.receive(1000, after=1.0)


def test_a_server_that_stops_after_each_megabyte_stalls():
    """A little progress in each response does not help: this many timeouts end the transfer."""
    transfer = Transfer()

    def answer():
        transfer.receive(MEGABYTE, after=0.1)
        transfer.time_out(after=20.0)

    assert transfer.stalls_at(answer) == pytest.approx(201)


def test_rare_timeouts_are_forgiven():
    """A long download survives an occasional timeout."""
    transfer = Transfer()
    for _ in range(100):
        for _ in range(100):
            transfer.receive(MEGABYTE, after=0.1)
        transfer.time_out(after=20.0)
