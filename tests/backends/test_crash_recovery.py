"""After a worker ends: which requests go to the next one, which fail, and how many may be in flight."""

from __future__ import annotations

import pytest

from llmcli.backends.worker_job import CrashRecovery
from llmcli.types import Message, Request, Role

TOLD = {"stop_requested": True, "stale": False}
STALE = {"stop_requested": False, "stale": True}
CRASH = {"stop_requested": False, "stale": False}


def request(name):
    """Return a request."""
    return Request(name, (Message(Role.USER, "hello"),))


def replay(steps):
    """Return the policy after ``steps``: ids of requests sent, started ("a+"), cancelled ("a-"), finished ("a."), and disconnects."""
    recovery = CrashRecovery()
    record = {"+": recovery.mark_started, "-": recovery.mark_cancelled, ".": recovery.mark_finished}
    for step in steps:
        if isinstance(step, dict):
            recovery.disconnect(**step)
        elif step[-1] in record:
            record[step[-1]](step[:-1])
        else:
            recovery.mark_sent(request(step))
    return recovery


@pytest.mark.parametrize(
    ("steps", "disconnect", "retry", "failed", "limit"),
    [
        pytest.param(["a", "b"], TOLD, "a b", "", 256, id="what was not started goes to the next worker"),
        pytest.param(["a", "a+", "b"], TOLD, "a+ b", "", 256, id="an answer that has begun begins again"),
        pytest.param(["a", "b"], STALE, "a b", "", 256, id="a worker that was just ending counts as told"),
        pytest.param([TOLD, TOLD, STALE, "a", "b"], TOLD, "a b", "", 1, id="the fourth stale worker is a crash"),
        pytest.param(
            [TOLD, TOLD, STALE, "a", "a.", "b"], TOLD, "b", "", 256, id="an answer in between resets the count"
        ),
        pytest.param(["a", "b", "b+"], CRASH, "a b+", "", 1, id="a crash restarts what has begun"),
        pytest.param(["a", "b", "c"], CRASH, "a b c", "", 1, id="the requests of a crash are suspect"),
        pytest.param(["a", "b", CRASH, "a"], CRASH, "a", "", 1, id="alone in a crash for the first time"),
        pytest.param(["a", "b", CRASH, "a", CRASH, "a"], CRASH, "", "a", 256, id="alone in a crash twice"),
        pytest.param(["a", CRASH, "a"], CRASH, "a", "", 1, id="the only request was no suspect in its first crash"),
        pytest.param([*[CRASH] * 7, "a"], CRASH, "a", "", 1, id="the eighth crash is survived"),
        pytest.param([*[CRASH] * 8, "a"], CRASH, "", "a", 256, id="the ninth crash is not survived"),
        pytest.param(
            [*[CRASH] * 8, "a", "a.", "b"], CRASH, "b", "", 1, id="crashes with an answer between are survived"
        ),
        pytest.param(["a", "a+", TOLD, "a"], TOLD, "a", "", 256, id="what begins again has not begun yet"),
        pytest.param(["a", "a+", "a.", "a"], TOLD, "a", "", 256, id="an id that is used again starts anew"),
        pytest.param(["a", "a+", "a-", "b"], CRASH, "b", "", 1, id="what was cancelled is not sent again"),
        pytest.param([], CRASH, "", "", 256, id="nothing in flight"),
    ],
)
def test_a_disconnect_decides_on_every_request_in_flight(steps, disconnect, retry, failed, limit):
    """Each is retried in its order, a "+" where its answer had begun, or fails; suspects are then sent one at a time."""
    recovery = replay(steps)
    decision = recovery.disconnect(**disconnect)
    restarted = [each.id + "+" * (each.id in decision.restarted) for each in decision.retry]
    assert restarted == retry.split()
    assert list(decision.failed) == failed.split()
    assert decision.cancelled == (("a",) if "a-" in steps else ())
    assert recovery.limit == limit
    assert recovery.in_flight_ids == []


def test_the_limit_ends_with_the_last_suspect():
    """Other requests wait until every suspect has finished."""
    recovery = replay(["a", "b", CRASH, "a", "a."])
    assert recovery.limit == 1
    recovery.mark_sent(request("b"))
    assert not recovery.can_send
    recovery.mark_finished("b")
    assert recovery.limit == 256


def test_requests_above_the_limit_wait():
    """Requests above the limit wait until one finishes."""
    recovery = CrashRecovery(max_in_flight=2)
    for name in ("a", "b"):
        assert recovery.can_send
        recovery.mark_sent(request(name))
    assert not recovery.can_send
    recovery.mark_finished("a")
    assert recovery.can_send
