"""The choice of a server for a request: tokens in flight, prefixes, servers that are set aside."""

from __future__ import annotations

import threading

import pytest
from waiting import wait_until

from llmcli.backends.remote import request_router
from llmcli.backends.remote.request_router import RequestRouter
from llmcli.backends.remote.transport.remote_call import RemoteCall
from llmcli.errors import TemporaryFailure
from llmcli.errors.network_errors import RateLimited, ServerUnreachable
from llmcli.network.cancellation import Cancelled
from llmcli.types import Message, Priority, Request, Role, Usage

TEXTS = [f"{number} " * 20 for number in range(100)]


def request(text, *, system="", **fields):
    messages = (Message(Role.SYSTEM, system), Message(Role.USER, text))
    return Request("a", messages, **{"candidates": ("yes", "no"), **fields})


def assign(router, text="", tokens=10, failed=(), **fields):
    """Assign a request of so many tokens."""
    return router.assign(request(text, **fields), tokens, RemoteCall(), failed)


def test_a_request_goes_to_the_server_with_the_fewest_tokens_in_flight():
    """Not to the one with the fewest requests."""
    router = RequestRouter(3)
    numbers = [
        assign(router, text, tokens).server.number for text, tokens in zip(TEXTS, (100, 10, 10, 10, 10), strict=False)
    ]
    assert numbers == [0, 1, 2, 1, 2]


def test_an_end_frees_its_tokens():
    """So the next request goes where one has ended."""
    router = RequestRouter(2)
    first, _ = assign(router, TEXTS[0], 50), assign(router, TEXTS[1], 60)
    router.release(first, Usage(50, 0, 0))
    assert assign(router, TEXTS[2]).server is first.server
    assert [server.answered for server in router.servers] == [1, 0] and router.peak_running == 2


def test_answers_count_as_far_as_they_are_long():
    """A limit of tokens that answers never reach does not make a request large; candidates have no answer."""
    router = RequestRouter(2)
    long = assign(router, TEXTS[0], 10, candidates=(), max_tokens=4000)
    assert long.tokens == 10 + 128
    for _ in range(100):
        router.release(assign(router, TEXTS[1], 10, candidates=()), Usage(10, 0, 8))
    assert assign(router, TEXTS[2], 10, candidates=()).tokens == pytest.approx(18, abs=0.5)
    assert assign(router, TEXTS[3], 10, candidates=(), max_tokens=4).tokens == 14
    assert assign(router, TEXTS[4], 10).tokens == assign(router, "", 10, candidates=(), embeds=("a",)).tokens == 10


def test_a_request_goes_near_its_prefix_as_long_as_that_costs_less_than_the_wait():
    """Evaluating the document again costs 1,000 tokens; so much may be in flight where it is known."""
    router = RequestRouter(2)
    document = "word " * 1024  # 20 blocks
    first = assign(router, "question", 1000, system=document)
    router.release(first, Usage(1000, 0, 0))
    near = [assign(router, text, 1000, system=document) for text in TEXTS[:30]]
    moved = next(number for number, each in enumerate(near) if each.server is not first.server)
    assert moved > 1 and near[0].tokens == pytest.approx(50, abs=10) and near[moved].tokens == 1000
    assert sum(each.tokens for each in near[:moved]) == pytest.approx(1000, abs=60)


def test_a_conversation_stays_where_it_was():
    """Each turn begins with all earlier ones."""
    router = RequestRouter(4)
    said, places = "", set()
    for turn in TEXTS[:8]:
        said += turn * 20
        assignment = assign(router, said, len(said) // 4)
        places.add(assignment.server.number)
        router.release(assignment, Usage(1, 0, 0))
        router.release(assign(router, turn * 20, 10), Usage(1, 0, 0))
    assert len(places) == 1


def test_a_prefix_that_was_not_used_for_long_is_forgotten(monkeypatch):
    """Servers keep a limited number of tokens; the end of a prompt is forgotten before its beginning."""
    monkeypatch.setattr(request_router, "_MAX_BLOCKS", 8)
    router = RequestRouter(1)
    texts = [letter * 256 * 6 for letter in "ab"]
    costs = []
    for text in (texts[0], texts[0], texts[1], texts[0]):
        assignment = assign(router, text, 100)
        costs.append(round(assignment.tokens))
        router.release(assignment, Usage(1, 0, 0))
    assert costs[0] == costs[2] == 100 and costs[1] < costs[3] < 100
    assert len(router.servers[0].blocks) == 8


# ---- servers that fail -----------------------------------------------------------------------------------------------


def fail(router, assignment, error=None, *, cancel_unanswered=False):
    """Let the server of an assignment fail; return whether it was not aside before."""
    was_new = router.set_aside(
        assignment, error or TemporaryFailure("s", detail="broke"), cancel_unanswered=cancel_unanswered
    )
    router.release(assignment, failed=True)
    return was_new


def test_a_server_that_is_set_aside_gets_nothing():
    """Until it has answered again."""
    router = RequestRouter(2)
    assert fail(router, assign(router, TEXTS[0]))
    assert {assign(router, text).server.number for text in TEXTS[:5]} == {1}
    router.restore(router.servers[0])
    assert [assign(router, text).server.number for text in TEXTS[7:10]] == [0, 0, 0]


def test_an_interactive_request_waits_for_no_server():
    """It goes to one that is set aside if there is no other, and its answer ends that."""
    router = RequestRouter(2)
    for number in range(2):
        fail(router, assign(router, TEXTS[number]))
    assignment = assign(router, priority=Priority.INTERACTIVE)
    assert not any(server.is_up for server in router.servers)
    router.release(assignment, Usage(1, 0, 1))
    assert [server.is_up for server in router.servers] == [True, False]


def test_requests_that_fail_together_are_one_failure():
    """Also those that end after the server was brought back: they say nothing about it now."""
    router = RequestRouter(1)
    together = [assign(router, text) for text in TEXTS[:4]]
    assert [fail(router, each) for each in together[:3]] == [True, False, False]
    router.restore(router.servers[0])
    assert not fail(router, together[3]) and router.servers[0].failures == 0 and router.servers[0].failed == 4


def test_failures_in_a_row_end_with_an_answer():
    """So the pauses grow only while a server answers nothing."""
    router = RequestRouter(1)
    for failures in (1, 2, 3):
        fail(router, assign(router), RateLimited("s"))
        assert router.servers[0].failures == failures
        router.restore(router.servers[0], is_busy=True)
    router.release(assign(router), Usage(1, 0, 1))
    assert router.servers[0].failures == 0


def test_a_request_avoids_servers_that_failed_it():
    """Unless there is no other."""
    router = RequestRouter(3)
    first, second, third = router.servers
    assert assign(router, failed=[first, third]).server is second
    assert assign(router, failed=[first, second, third]).server is first


def test_requests_are_taken_from_a_silent_server():
    """Those of which nothing has come: they are cancelled, and go to another one."""
    router = RequestRouter(1)
    failing, silent, writing = [assign(router, text) for text in TEXTS[:3]]
    writing.call.received = True
    fail(router, failing, cancel_unanswered=True)
    assert silent.call.is_cancelled and not writing.call.is_cancelled
    router = RequestRouter(1)
    failing, other = assign(router), assign(router)
    fail(router, failing)
    assert not other.call.is_cancelled  # the server answers, so it may be about one request


def test_a_request_waits_for_a_server():
    """While all are set aside."""
    router = RequestRouter(1)
    fail(router, assign(router))
    threading.Timer(0.1, router.restore, router.servers).start()
    assert assign(router).server is router.servers[0]


def test_a_wait_ends_with_the_request():
    """When it is cancelled, or its deadline passes."""
    router = RequestRouter(1)
    fail(router, assign(router))
    call = RemoteCall()
    threading.Timer(0.1, call.cancel).start()
    with pytest.raises(Cancelled):
        router.assign(request(""), 1, call)


@pytest.mark.parametrize(("error", "failures"), [(RateLimited, 8), (TemporaryFailure, 3)])
def test_a_wait_ends_when_the_servers_were_busy_too_often_or_never_answered(error, failures):
    """The job ends with the last error."""
    clock = Clock()
    router = RequestRouter(2, clock=clock)
    for number in range(failures):
        for server in router.servers:
            router.record_failure(server, error("s", detail=f"failure {number + 1}"))
    with pytest.raises(error) as caught:
        router.assign(request(""), 10, ScriptedWait(clock, []))
    assert caught.value.detail == f"failure {failures}" and caught.value.ends_job


class Clock:
    """A clock that the test advances."""

    now = 0.0

    def __call__(self):
        return self.now


class ScriptedWait(RemoteCall):
    """A request whose every look at its end is the next of some events."""

    def __init__(self, clock, events):
        super().__init__()
        self.clock = clock
        self.events = iter(events)

    def check(self):
        super().check()
        self.clock.now += 10
        next(self.events)()


@pytest.fixture
def silent(monkeypatch):
    """Return a router of two servers that were just set aside, and its clock."""
    monkeypatch.setattr(request_router, "_POLL_S", 0.001)
    clock = Clock()
    router = RequestRouter(2, "farm (http://a/v1, http://b/v1)", clock)
    for server in router.servers:
        router.restore(server)
        fail_probe(router, server)
    return router, clock


def fail_probe(router, server, error=None):
    router.record_failure(server, error or ServerUnreachable("b", detail="Connection refused"))


def test_a_wait_ends_after_a_minute_of_silence(silent):
    """The error names the servers, and the last cause."""
    router, clock = silent
    events = [lambda server=server: fail_probe(router, server) for server in router.servers * 9]
    with pytest.raises(TemporaryFailure) as caught:
        router.assign(request(""), 1, ScriptedWait(clock, events))
    assert clock.now == 60
    assert caught.value.ends_job and caught.value.type_name == "ServersUnreachable"
    assert caught.value.subject == "farm (http://a/v1, http://b/v1)" and caught.value.exit_code == 75
    assert caught.value.detail == "none has answered for 60 seconds: Connection refused"


def test_a_new_request_waits_for_one_more_sign_of_silence(silent):
    """The servers may have been started since they were asked last."""
    router, clock = silent
    clock.now = 300
    events = [lambda: None, lambda: None, lambda: fail_probe(router, router.servers[1])]
    with pytest.raises(TemporaryFailure, match="none has answered for 60 seconds"):
        router.assign(request(""), 1, ScriptedWait(clock, events))
    assert clock.now == 330


def test_a_server_that_says_that_it_is_busy_is_not_silent(silent):
    """It may be loading its model, so the wait goes on until it has failed often."""
    router, clock = silent
    busy = RateLimited("b", detail="Loading model")
    events = [
        lambda: fail_probe(router, router.servers[0]),
        *[lambda: fail_probe(router, router.servers[1], busy)] * 7,
        lambda: router.restore(router.servers[1]),
    ]
    assert router.assign(request(""), 1, ScriptedWait(clock, events)).server is router.servers[1]
    assert clock.now == 90


def test_a_server_that_answers_one_request_is_not_silent(silent):
    """However long the other is dead, and however long that answer takes."""
    router, clock = silent
    living = router.servers[1]
    router.restore(living)
    trial = router.assign(request(""), 1, RemoteCall())
    for _ in range(50):
        clock.now += 10
        fail_probe(router, router.servers[0])
    fail(router, trial)
    events = [lambda: fail_probe(router, living), lambda: router.restore(living)]
    assert router.assign(request(""), 1, ScriptedWait(clock, events)).server is living
    assert clock.now == 520


def test_no_request_waits_for_servers_that_are_gone():
    """They have other models now, or ask for a pause that is too long."""
    router = RequestRouter(2)
    router.record_failure(router.servers[0], TemporaryFailure("s", detail="another model"), is_dropped=True)
    fail(router, assign(router), TemporaryFailure("s", retry_after=600.0, detail="quota"))
    with pytest.raises(TemporaryFailure) as caught:
        assign(router)
    assert caught.value.detail == "quota"


class RecordingRouter(RequestRouter):
    """Keeps the texts of requests in the order in which they were assigned."""

    def __init__(self, count):
        super().__init__(count)
        self.assigned = []

    def _cost(self, server, request, prompt_tokens, blocks):
        self.assigned.append(request.messages[-1].content)
        return super()._cost(server, request, prompt_tokens, blocks)


def test_the_request_that_was_submitted_first_leaves_first():
    """Once a server is available again, waiting requests are sent in order; an interactive one goes first."""
    router = RecordingRouter(1)
    first = assign(router, "first")
    router.set_aside(first, ServerUnreachable("s"))

    def wait(number):
        router.assign(request(str(number), priority=Priority.BULK), 1, RemoteCall(order=(True, number)))

    threads = [threading.Thread(target=wait, args=(number,)) for number in (4, 2, 7, 5, 1, 3, 6)]
    for count, thread in enumerate(threads, start=1):
        thread.start()
        wait_until(lambda count=count: len(router._queue._tickets) == count)
    assign(router, "interactive", priority=Priority.INTERACTIVE)
    router.restore(first.server)
    for thread in threads:
        thread.join()
    assert router.assigned == ["first", "interactive", *"1234567"]
