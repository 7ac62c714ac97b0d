import pytest

from llmcli.errors import TemporaryFailure
from llmcli.interrupt import Interrupt
from llmcli.network.retry_policy import parse_retry_after
from llmcli.network.transfers import DownloadRetryPolicy, count_retries


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"retry-after": "12"}, 12),
        ({"retry-after": "Thu, 01 Jan 1970 00:01:40 GMT"}, 40),
        ({"retry-after": "Thu, 01 Jan 1970 00:00:10 GMT"}, 0),
        ({"ratelimit": '"api";r=0;t=55'}, 55),
        ({"retry-after": "soon"}, None),
        ({"retry-after": "\u00b2"}, None),
        ({"retry-after": "9" * 5000}, None),
        ({"retry-after": f"Thu, 01 Jan 1970 00:00:10 +{'9' * 30}"}, None),
        ({}, None),
    ],
)
def test_retry_after_forms(headers, seconds):
    """Seconds, dates and the Hub's own header are understood."""
    assert parse_retry_after(headers, now=lambda: 60.0) == seconds


@pytest.fixture
def waits(monkeypatch):
    """Record the seconds of each pause instead of pausing."""
    seconds = []
    monkeypatch.setattr("llmcli.network.transfers.sleep_interruptibly", lambda wait, _interrupt: seconds.append(wait))
    return seconds


def test_pauses_double_up_to_the_longest_and_tries_end(waits):
    """Failures in a row are counted until there is progress."""
    retries = count_retries(DownloadRetryPolicy(max_tries=4, first_pause_s=1, max_pause_s=3), Interrupt())
    failure = TemporaryFailure("x")
    for _ in range(3):
        retries.wait_or_raise(failure)
    with pytest.raises(TemporaryFailure):
        retries.wait_or_raise(failure)
    retries.reset()
    retries.wait_or_raise(failure)
    assert waits == [1, 2, 3, 1]


def test_a_servers_pause_is_respected(waits):
    """It is respected, unless it exceeds the maximum."""
    retries = count_retries(DownloadRetryPolicy(max_pause_s=3), Interrupt())
    assert retries.wait_or_raise(TemporaryFailure("x", retry_after=2.5)) == 2.5
    with pytest.raises(TemporaryFailure):
        retries.wait_or_raise(TemporaryFailure("x", retry_after=4))
    assert waits == [2.5]
