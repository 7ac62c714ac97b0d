"""Several servers behind one name: each request is answered once, whatever servers do meanwhile."""

from __future__ import annotations

import functools
import os
import random
import threading
import time
from collections import Counter
from contextlib import ExitStack, contextmanager, suppress

import pytest
from fake_server import (
    FakeServer,
    close_connection,
    cut_connection,
    encode_chunk,
    error_answer,
    last_message,
    send_events,
    stall_after,
    stream_answer,
)
from waiting import wait_until

from llmcli.backends.base import run_requests
from llmcli.backends.remote import load_balancing_backend
from llmcli.backends.remote.load_balancing_backend import SINGLE_TRY, LoadBalancingBackend
from llmcli.backends.remote.remote_backend import RemoteBackend
from llmcli.backends.remote.transport.api_keys import ApiKey
from llmcli.backends.remote.transport.cost_budget import CostBudget
from llmcli.config.backend_config import Price, ServerConfig
from llmcli.errors import ConfigError, RequestRejected
from llmcli.errors.incomplete_results import CostLimitReached
from llmcli.errors.network_errors import ServerUnreachable
from llmcli.interrupt import Interrupt
from llmcli.network.retry_policy import RetryPolicy
from llmcli.types import (
    UNKNOWN_USAGE,
    CandidateScores,
    Finished,
    FinishReason,
    Message,
    Request,
    RequestProgress,
    Role,
    TextDelta,
    Usage,
)

SEED = int(os.environ.get("LLMCLI_STRESS_SEED", "41"))
QUICK = RetryPolicy(first_pause_s=0.002, max_pause_s=0.05)


@pytest.fixture
def servers():
    """Return two servers that answer with the request's text."""
    with running(2) as found:
        yield found


@contextmanager
def running(count):
    with ExitStack() as stack:
        found = [FakeServer() for _ in range(count)]
        for server in found:
            stack.callback(server.close)
        yield found


@contextmanager
def balancing(servers, *, budget=None, policy=QUICK, labels=False, **fields):
    """Give a backend on the servers."""
    urls = tuple(getattr(server, "url", server) for server in servers)
    config = ServerConfig(urls[0], "farm", base_urls=urls, **{"concurrency": 4, "timeout": 5.0, **fields})
    options = {"retry_policy": SINGLE_TRY, "labels": labels}
    members = [RemoteBackend(each, ApiKey(), Interrupt(), **options) for each in config.members]
    backend = LoadBalancingBackend(config, members, Interrupt(), policy, budget=budget)
    try:
        yield backend
    finally:
        backend.close()


def request(name="a", **fields):
    return Request(str(name), (Message(Role.USER, f"text {name}"),), **{"gathered": True, **fields})


def answers(backend, requests):
    """Return the text of each request and the errors; each request must end once."""
    texts, ends = {}, Counter()
    errors = {}
    for event in run_requests(backend, requests):
        if isinstance(event, TextDelta):
            texts[event.id] = texts.get(event.id, "") + event.text
        elif isinstance(event, Finished):
            ends[event.id] += 1
            if event.reason is not FinishReason.STOP:
                errors[event.id] = event.error or event.reason
    assert ends == Counter(each.id for each in requests)
    return texts, errors


def expected(requests):
    return {each.id: each.messages[-1].content for each in requests}


def test_all_servers_answer(servers):
    """About as many requests each; each request once."""
    requests = [request(number) for number in range(40)]
    for server in servers:
        server.usual = stream_answer(seconds=0.005)
    with balancing(servers) as backend:
        assert answers(backend, requests) == (expected(requests), {})
        stats = backend.stats()
    asked = [len(server.chats()) for server in servers]
    assert sum(asked) == 40 and min(asked) >= 15
    assert [(each.address, each.answered, each.failed) for each in stats.servers] == [
        (server.url, count, 0) for server, count in zip(servers, asked, strict=True)
    ]
    assert stats.width == 8


def test_sixteen_servers_are_all_busy():
    """No server waits while others have more to do: with as many requests as may run at once, each has its share."""
    started, all_busy, lock = [0] * 16, threading.Event(), threading.Lock()

    def answer_when_all_are_busy(number, handler, body):
        with lock:
            started[number] += 1
            if sum(started) == 32:
                all_busy.set()
        assert all_busy.wait(60)
        stream_answer()(handler, body)

    with running(16) as found:
        for number, server in enumerate(found):
            server.usual = functools.partial(answer_when_all_are_busy, number)
        requests = [request(number) for number in range(32)]
        with balancing(found, concurrency=2) as backend:
            assert answers(backend, requests) == (expected(requests), {})
    assert started == [2] * 16


def longest_wait(backend, num_requests, tell):
    """Return the most answers that ever waited for that of an earlier request; ``tell`` how many there are."""
    waiting, oldest, longest, num_done = set(), 0, 0, 0
    for event in run_requests(backend, [request(number) for number in range(num_requests)]):
        if isinstance(event, Finished):
            assert event.reason is FinishReason.STOP, event.error
            num_done += 1
            tell(num_done)
            waiting.add(int(event.id))
            while oldest in waiting:
                waiting.remove(oldest)
                oldest += 1
            longest = max(longest, len(waiting))
    assert oldest == num_requests
    return longest


def test_the_requests_of_a_server_that_dies_go_first():
    """So answers do not pile up behind them: the job writes its rows in order, and a kill would lose those answers."""
    is_dead, lock, places = threading.Event(), threading.Lock(), {}
    concurrency, num_requests = 4, 140

    def number_of(body):
        return int(last_message(body).split()[1])

    def answer_until_the_death(handler, body):
        if is_dead.wait(0.1):
            close_connection()(handler, body)
        else:
            stream_answer()(handler, body)

    def list_models(handler, body):
        if is_dead.is_set():
            close_connection()(handler, body)
        else:
            handler.give(200, handler.fake.list_models())

    def answer_slowly(handler, body):
        with lock:
            if is_dead.is_set() and last_message(body).startswith("text "):
                places[number_of(body)] = len(places)
        stream_answer(seconds=0.1)(handler, body)

    with running(3) as found, balancing(found, concurrency=concurrency) as backend:
        found[0].usual, found[0].paths["/v1/models"] = answer_until_the_death, list_models
        found[1].usual = found[2].usual = answer_slowly
        longest = longest_wait(backend, num_requests, lambda num_done: is_dead.set() if num_done == 20 else None)
        assert longest <= 3 * 3 * concurrency
        at_dead_server = {number_of(chat) for chat in found[0].chats() if last_message(chat).startswith("text ")}
        lost = at_dead_server & places.keys()
        assert lost and all(places[number] < 3 * 3 * concurrency for number in lost), places


@pytest.mark.parametrize(
    "failing",
    [
        error_answer(500, "out of order"),
        error_answer(503, "busy", Retry_After="1"),
        close_connection(),
        cut_connection(),
        stall_after(encode_chunk({"content": "Half"})),
        stall_after(),
    ],
    ids=["500", "503", "closed", "cut", "stalled", "silent"],
)
def test_a_failing_server_loses_its_requests_to_another(servers, failing):
    """Whatever it has sent so far; the answers are complete and come once."""
    servers[0].usual = failing
    requests = [request(number) for number in range(24)]
    with balancing(servers, timeout=0.3) as backend:
        assert answers(backend, requests) == (expected(requests), {})
        first, second = backend.stats().servers
    assert first.failed >= 1 and (first.answered, second.answered) == (0, 24)
    assert sum("'text " in str(body) for body in servers[0].chats()) < 24  # it was set aside


def test_a_server_that_is_restarted_gets_requests_again(servers):
    """It is asked for its model with growing pauses, then gets one request, and then as many as before."""
    requests = [request(number) for number in range(200)]
    down = threading.Event()
    answer_slowly = stream_answer(seconds=0.01)

    def failing(handler, body):
        if len(servers[0].chats()) == 10:
            down.set()
        (error_answer(500) if down.is_set() else answer_slowly)(handler, body)

    def list_models(handler, body):
        (error_answer(502) if down.is_set() else lambda handler, _: handler.give(200, servers[0].list_models()))(
            handler, body
        )

    servers[0].usual, servers[1].usual = failing, answer_slowly
    with balancing(servers) as backend:
        backend.info()
        servers[0].paths["/v1/models"] = list_models
        threading.Thread(target=lambda: (down.wait(10), time.sleep(0.1), down.clear()), daemon=True).start()
        assert answers(backend, requests) == (expected(requests), {})
        first, _ = backend.stats().servers
    assert first.failed >= 2 and first.answered > 20 and first.problem == ""


def test_an_answer_that_is_shown_is_not_repeated(servers):
    """What was shown cannot be taken back; the error is that of one server."""
    for server in servers:
        server.usual = cut_connection()
    with balancing(servers) as backend:
        texts, errors = answers(backend, [request(gathered=False)])
    assert texts == {"a": "Half an ans"} and "broke off" in errors["a"].detail
    assert sum(len(server.chats()) for server in servers) == 1


def test_progress_comes_although_the_text_is_held_back(servers, monkeypatch):
    """So a long answer of a document does not look dead."""
    from llmcli.backends.remote import remote_job

    monkeypatch.setattr(remote_job, "_REPORT_INTERVAL_S", 0.0)
    with balancing(servers) as backend:
        events = list(run_requests(backend, [request(progress=True)]))
    kinds = [type(event) for event in events]
    assert kinds[0] is RequestProgress and kinds[-1] is Finished
    assert kinds == sorted(kinds, key=[RequestProgress, TextDelta, Finished].index)


def test_scores_and_structured_answers_fail_over(servers):
    """As whole answers."""
    servers[0].usual = error_answer(500)
    servers[1].usual = lambda handler, body: stream_answer(
        '{"word": "hello"}' if "JSON" in str(body) or "response_format" in body else "yes"
    )(handler, body)
    schema = {"type": "object", "properties": {"word": {"type": "string"}}, "required": ["word"]}
    with balancing(servers) as backend:
        texts, errors = answers(backend, [request("b", schema=schema)])
        assert (texts, errors) == ({"b": '{"word": "hello"}'}, {})
        scored, ended = run_requests(backend, [request("c", candidates=("yes", "no"))])
    assert isinstance(scored, CandidateScores) and ended.reason is FinishReason.STOP


def test_a_request_that_no_server_can_answer_fails(servers):
    """After as many attempts as with one server; the others are answered."""
    for server in servers:
        server.usual = lambda handler, body: (
            error_answer(500, "it crashed") if last_message(body) == "text 3" else stream_answer()
        )(handler, body)
    requests = [request(number) for number in range(12)]
    with balancing(servers) as backend:
        texts, errors = answers(backend, requests)
    assert list(errors) == ["3"] and errors["3"].detail == "it crashed" and len(texts) == 11
    assert sum(last_message(body) == "text 3" for server in servers for body in server.chats() if body) == 5


def test_a_request_that_is_refused_is_not_sent_elsewhere(servers):
    """The other would refuse it, too."""
    for server in servers:
        server.usual = error_answer(400, "no such thing")
    with balancing(servers) as backend:
        _, errors = answers(backend, [request()])
    assert isinstance(errors["a"], RequestRejected) and sum(len(server.chats()) for server in servers) == 1


def test_busy_servers_get_fewer_requests(servers):
    """A 429 takes the request elsewhere, and does not set the server aside while it answers others."""
    for server in servers:
        server.bears, server.usual = 2, stream_answer(seconds=0.005)
    requests = [request(number) for number in range(60)]
    with balancing(servers, concurrency=8) as backend:
        assert answers(backend, requests) == (expected(requests), {})
        assert min(each.answered for each in backend.stats().servers) > 10


def test_requests_leave_a_silent_server_together(servers):
    """The first that finds out takes along those that the server has not begun to answer, too."""
    began = threading.Event()

    def silent(handler, _body):
        if began.is_set():
            time.sleep(0.2)
        began.set()
        handler.fake.over.wait(20)

    servers[0].usual = silent
    requests = [request(number) for number in range(8)]
    with balancing(servers, timeout=0.5) as backend:
        assert answers(backend, requests) == (expected(requests), {})
        assert backend.stats().servers[0].failed >= 1


def test_a_cancelled_request_is_not_sent_elsewhere(servers):
    """It ends at once, wherever it is."""
    for server in servers:
        server.usual = stall_after()
    with balancing(servers) as backend, backend.open() as job:
        job.submit(request())
        job.close_input()
        threading.Timer(0.2, job.cancel, "a").start()
        ended = [event for event in job if isinstance(event, Finished)]
    assert [event.reason for event in ended] == [FinishReason.CANCELLED]
    assert sum(len(server.chats()) for server in servers) == 1


def test_a_job_that_is_left_leaves_no_threads(servers):
    """Neither those of requests nor those that try a failed server again."""
    servers[0].usual, servers[1].usual = error_answer(500), stall_after()
    with balancing(servers, policy=RetryPolicy(first_pause_s=30)) as backend, backend.open() as job:
        for number in range(8):
            job.submit(request(number))
        wait_until(lambda: servers[0].chats() and servers[1].chats())
    wait_until(lambda: not any(thread.name in {"remote", "recovery"} for thread in threading.enumerate()))


# ---- the start -------------------------------------------------------------------------------------------------------


def test_a_server_that_is_down_at_the_start_is_set_aside(servers):
    """The others do its work, and the statistics say why."""
    requests = [request(number) for number in range(4)]
    with balancing(["http://127.0.0.1:9/v1", servers[1]], policy=RetryPolicy()) as backend:
        assert answers(backend, requests) == (expected(requests), {})
        down, up = backend.stats().servers
    assert down.problem == "Connection refused" and up.answered == 4


def test_without_any_server_the_first_error_is_raised():
    """At once, before any request is made."""
    with (
        balancing(["http://127.0.0.1:9/v1", "http://127.0.0.1:10/v1"]) as backend,
        pytest.raises(ServerUnreachable) as caught,
    ):
        backend.info()
    assert caught.value.address == "http://127.0.0.1:9/v1"


def test_a_latecomer_is_used_later(servers, monkeypatch):
    """A job does not wait long for a server that loads its model while another has answered."""
    monkeypatch.setattr(load_balancing_backend, "_STARTUP_GRACE_S", 0.05)
    ready = threading.Event()
    servers[0].paths["/v1/models"] = lambda handler, _body: (
        ready.wait(10),
        handler.give(200, servers[0].list_models()),
    )
    for server in servers:
        server.usual = stream_answer(seconds=0.005)
    with balancing(servers) as backend:
        assert backend.info().model == "big" and backend.stats().servers[0].problem.startswith(
            "it did not answer within"
        )
        ready.set()
        wait_until(lambda: not backend.stats().servers[0].problem)
        answers(backend, [request(number) for number in range(40)])
        assert min(each.answered for each in backend.stats().servers) > 5


def test_the_shortest_context_counts(servers):
    """A prompt must fit wherever it goes; the id is the same when a server is added."""
    servers[0].models[0]["max_model_len"] = 2048
    with balancing(servers) as backend:
        both = backend.info()
        assert backend.count([request()]) == ([25], False)
    with balancing(servers[1:]) as backend:
        one = backend.info()
    assert (both.context, one.context, both.model_id) == (2048, 4096, one.model_id)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ({"id": "big"}, {"id": "small"}),
        ({"id": "m", "digest": "0f" * 32, "weights": "bf16"}, {"id": "m", "digest": "0f" * 32, "weights": "original"}),
        ({"id": "m", "digest": "0f" * 32}, {"id": "m", "digest": "aa" * 32}),
        ({"id": "m", "meta": {"n_params": 135, "size": 80}}, {"id": "m", "meta": {"n_params": 135, "size": 140}}),
        ({"id": "m", "root": "org/Model"}, {"id": "m", "root": "org/Model-AWQ"}),
    ],
    ids=["name", "type of weights", "digest", "size", "repository"],
)
def test_servers_with_different_models_are_refused(servers, one, other):
    """As far as they say; unless they may be mixed."""
    servers[0].models, servers[1].models = [one], [other]
    with balancing(servers) as backend:
        for _ in range(2):
            with pytest.raises(ConfigError) as caught:
                backend.info()
    assert all(server.url in caught.value.detail for server in servers) and "mixed: true" in caught.value.detail
    requests = [request(number) for number in range(8)]
    with balancing(servers, mixed=True) as backend:
        assert answers(backend, requests) == (expected(requests), {})
    assert {body["model"] for server in servers for body in server.chats()} == {one["id"], other["id"]}


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ({"id": "big"}, {"id": "org/big", "digest": "0f" * 32, "weights": "original"}),
        ({"id": "m", "root": "/data/Model"}, {"id": "m", "root": "/mnt/models/Model"}),
        ({"id": "m", "meta": {"n_ctx": 4096, "size": 80}}, {"id": "m", "meta": {"n_ctx": 8192, "size": 80}}),
    ],
    ids=["unknown", "directories", "context"],
)
def test_what_does_not_tell_weights_apart_is_accepted(servers, one, other):
    """Directories and settings differ between machines."""
    servers[0].models, servers[1].models = [one], [other]
    with balancing(servers) as backend:
        assert backend.info().context


def describe_weights(server, weights, digest="0f" * 32, **more):
    """Let a server be ours, with a model of these weights."""
    server.models = [{"id": "m", "owned_by": "llmcli"}]
    details = {"model": "m", "digest": digest, "weights": weights, "context": 512, "layers": 4, **more}
    server.paths["/v1/info"] = lambda handler, _body: handler.give(200, details)


def test_llm_serve_is_asked_to_load_its_model(servers):
    """It knows the weights then; the type that it chooses differs between machines."""
    for server, weights in zip(servers, ("bf16", "original"), strict=True):
        describe_weights(server, weights)
    with balancing(servers) as backend, pytest.raises(ConfigError) as caught:
        backend.info()
    assert "m (0f0f0f0f0f0f bf16)" in caught.value.detail


def test_labels_of_several_of_our_servers_are_those_of_one_model(servers):
    """Its digest and weights identify it, so a probe and a calibration fit; the shortest context counts."""
    for server, context in zip(servers, (512, 256), strict=True):
        describe_weights(server, "bf16", context=context)
    with balancing(servers, labels=True) as backend:
        info = backend.info()
    assert (info.model_id, info.weights, info.layers, info.context) == ("0f" * 32, "bf16", 4, 256)


def test_labels_do_not_mix_our_server_with_another(servers):
    """The other one has no such weights, and would score in another way."""
    describe_weights(servers[0], "bf16")
    servers[1].models = [{"id": "m", "owned_by": "somebody", "max_model_len": 512}]
    with balancing(servers, labels=True) as backend, pytest.raises(ConfigError):
        backend.info()
    with balancing(servers) as backend:
        assert backend.info().model == "m"


def test_a_server_with_another_model_after_a_restart_is_not_used_again(servers):
    """Its answers would be those of another model."""

    def restarted(handler, body):
        servers[0].models = [{"id": "small", "owned_by": "somebody", "max_model_len": 4096}]
        cut_connection()(handler, body)

    servers[0].script = [stream_answer(), restarted]
    requests = [request(number) for number in range(40)]
    for server in servers:
        server.usual = stream_answer(seconds=0.005)
    with balancing(servers) as backend:
        assert answers(backend, requests) == (expected(requests), {})
        wait_until(lambda: "small" in backend.stats().servers[0].problem)
        before = len(servers[0].chats())
        answers(backend, requests)
        assert len(servers[0].chats()) == before


# ---- costs -----------------------------------------------------------------------------------------------------------

PRICE = Price(10.0, 100.0, 1.0)


def test_an_answer_that_broke_off_counts(servers):
    """A server may have worked for it, so both attempts count against the limit, and only the usage as spent."""
    servers[0].usual = cut_connection()
    budget = CostBudget(PRICE, 0.01)
    with balancing(servers, budget=budget) as backend:
        answers(backend, [request(max_tokens=20)])
        spent = backend.stats().cost
    usage_cost = PRICE.of_tokens(0, 2) + (5 * 10 + 2) / 1e6
    assert spent == pytest.approx(usage_cost)
    assert 0.01 - budget._left() > spent + PRICE.of_tokens(20, 20)


@pytest.mark.parametrize("priced", [True, False])
def test_what_a_cancelled_request_used_is_unknown(servers, priced):
    """Its reservation counts as spent; one that was not sent used nothing."""
    for server in servers:
        server.usual = stall_after(encode_chunk({"content": "Half"}))
    budget = CostBudget(PRICE, 1.0) if priced else None
    with balancing(servers[:1], budget=budget, concurrency=1) as backend, backend.open() as job:
        job.submit(request("sent", max_tokens=20))
        job.submit(request("waiting", max_tokens=20))
        job.close_input()
        wait_until(servers[0].chats)
        for name in ("waiting", "sent"):
            job.cancel(name)
        ends = {event.id: event.usage for event in job if isinstance(event, Finished)}
        stats = backend.stats()
    assert ends == {"sent": UNKNOWN_USAGE, "waiting": Usage()}
    assert (stats.cost, stats.num_unknown_costs) == ((0.0, 1) if priced else (None, 0))
    assert budget is None or 1.0 - budget._left() >= PRICE.of_tokens(0, 20)


def test_what_a_failed_request_used_is_what_its_servers_charge(servers):
    """Nothing for one that was refused, unknown for an answer that cannot be parsed."""
    servers[0].script = [error_answer(400, "no"), send_events(b"no JSON")]
    with balancing(servers[:1], budget=CostBudget(PRICE)) as backend:
        ends = []
        for number in range(2):
            with backend.open() as job:
                job.submit(request(number))
                job.close_input()
                ends += [event for event in job if isinstance(event, Finished)]
        assert [end.usage.is_known for end in ends] == [True, False] and all(end.error is not None for end in ends)
        assert backend.stats().num_unknown_costs >= 1


def test_a_job_ends_before_all_servers_together_cost_more(servers):
    """One budget for all."""
    budget = CostBudget(PRICE, 0.01)
    with balancing(servers, budget=budget) as backend, backend.open() as job:
        with suppress(CostLimitReached):  # raised once an earlier request was refused
            for number in range(60):
                job.submit(request(number, max_tokens=20))
        job.close_input()
        ends = [event for event in job if isinstance(event, Finished)]
    bill = sum(len(server.chats()) for server in servers) * ((5 * 10 + 2) / 1e6 + PRICE.of_tokens(0, 2))
    assert 0 < sum(end.error is None for end in ends) < 60 and bill <= 0.01
    assert {type(end.error) for end in ends if end.error is not None} <= {CostLimitReached}


# ---- kills -----------------------------------------------------------------------------------------------------------


@pytest.mark.stress
def test_fifty_failures_in_the_middle_of_a_job():
    """Two of three servers fail at random moments in every way; nothing is lost or comes twice."""
    check_failures(3, 1500, 50)


def test_failures_in_the_middle_of_a_job():
    """The same with fewer of them."""
    check_failures(3, 200, 8)


def check_failures(count, records, failures):
    """Run a job while servers fail that often."""
    chance = random.Random(SEED)
    moments = set(chance.sample(range(records), failures))
    lock, seen = threading.Lock(), iter(range(10**9))
    ways = [error_answer(500), close_connection(), cut_connection(), stall_after(encode_chunk({"content": "x"}))]
    failed = []

    def usual(handler, body):
        with lock:
            number = next(seen)
        if number in moments:
            failed.append(number)
            chance.choice(ways)(handler, body)
        else:
            stream_answer(seconds=chance.random() * 0.004)(handler, body)

    with running(count) as found:
        for server in found:
            server.usual = usual
        requests = [request(number) for number in range(records)]
        with balancing(found, timeout=0.5) as backend:
            texts, errors = answers(backend, requests)
            assert (texts, errors) == (expected(requests), {}) and len(failed) == failures
