"""Stalls: too little for too long ends a transfer, whatever happens in between; what moves is never given up."""

from __future__ import annotations

import pytest

from llmcli.models.hub.stalls import StallDetector, TransferStalled

MEGABYTE = 1_000_000


class Transfer:
    """A detector with a clock of its own."""

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


def test_a_slow_transfer_that_moves_goes_on():
    """One kilobyte a second is enough, for ever."""
    transfer = Transfer()
    for _ in range(100_000):
        transfer.receive(1000, after=1.0)


@pytest.mark.parametrize(("count", "after"), [(1, 0.5), (900, 1.0), (9000, 10.0), (1, 19.0)])
def test_a_trickle_stalls_after_a_minute(count, after):
    """Less than a kilobyte a second ends the transfer once a minute has passed, in however many pieces it comes."""
    transfer = Transfer()
    assert 60 <= transfer.stalls_at(lambda: transfer.receive(count, after)) < 60 + after


def test_a_stall_after_a_quick_beginning_takes_a_minute_too():
    """What came before the last minute does not count."""
    transfer = Transfer()
    for _ in range(600):
        transfer.receive(MEGABYTE, after=0.1)
    assert 60 <= transfer.stalls_at(lambda: transfer.receive(10, after=1.0)) - 60 <= 62


def test_silence_ends_after_a_minute_whatever_the_tries():
    """Reads that time out without a byte between them are a stall after a minute, not after each try's patience."""
    transfer = Transfer(max_timeouts=100)
    assert transfer.stalls_at(lambda: transfer.time_out(after=20.0)) == 60


def test_pauses_between_tries_do_not_count():
    """A server that asks to wait is not taken for one that stalls."""
    transfer = Transfer()
    for _ in range(100):
        transfer.time += 59.0
        transfer.detector.exclude_pause(59.0)
        transfer.receive(1000, after=1.0)


def test_a_server_that_stops_after_each_megabyte_is_given_up():
    """A little in each answer renews nothing: so many timeouts end the transfer."""
    transfer = Transfer()

    def answer():
        transfer.receive(MEGABYTE, after=0.1)
        transfer.time_out(after=20.0)

    assert transfer.stalls_at(answer) == pytest.approx(201)


def test_timeouts_far_apart_are_forgiven():
    """A long download outlives a bad moment now and then."""
    transfer = Transfer()
    for _ in range(100):
        for _ in range(100):
            transfer.receive(MEGABYTE, after=0.1)
        transfer.time_out(after=20.0)
