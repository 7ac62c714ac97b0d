"""The parts of the backend on servers elsewhere: scores, schemas, cancelling, and the pure ones."""

from __future__ import annotations

import contextlib
import json
import math
import random
import threading
import time

import pytest
from fake_server import complete_answer, encode_chunk, error_answer, last_message, stall_after, stream_answer

from llmcli.backends.base import run_requests
from llmcli.backends.remote import remote_backend as remote
from llmcli.backends.remote import remote_job
from llmcli.backends.remote.candidate_scoring import TokenAlternatives, candidate_probabilities, match_candidate
from llmcli.backends.remote.remote_backend import RemoteBackend
from llmcli.backends.remote.schema_validation import iter_errors
from llmcli.backends.remote.transport.api_keys import ApiKey
from llmcli.backends.remote.transport.cancel import Cancelled, CancelToken
from llmcli.backends.remote.transport.concurrency_limiter import ConcurrencyLimiter, RateLimited
from llmcli.backends.remote.transport.proxies import find_proxy
from llmcli.backends.remote.transport.sse import EventStream, EventTooLong
from llmcli.errors import ConfigError, RemoteError, Unsupported
from llmcli.interrupt import Interrupt
from llmcli.server_config import ServerConfig
from llmcli.types import (
    CandidateScores,
    Finished,
    FinishReason,
    Message,
    Phase,
    Priority,
    Request,
    RequestProgress,
    Role,
    Sampling,
    Score,
    TextDelta,
)

LABELS = ("positive", "neutral", "negative")
PERSON = {"type": "object", "properties": {"age": {"type": "integer"}}, "required": ["age"]}


def request(name="a", **fields):
    return Request(name, (Message(Role.USER, f"text {name}"),), **fields)


@pytest.fixture
def backend(server):
    """Return a backend on the server."""
    made = RemoteBackend(ServerConfig(server.url), ApiKey(), Interrupt())
    yield made
    made.close()


def logprobs(*positions: dict[str, float]):
    """Answer the first token of each position, with these alternatives and their probabilities."""
    content = [
        {
            "token": next(iter(position)),
            "logprob": math.log(next(iter(position.values()))),
            "top_logprobs": [{"token": token, "logprob": math.log(chance)} for token, chance in position.items()],
        }
        for position in positions
    ]
    return complete_answer(
        {"content": "".join(next(iter(position)) for position in positions)}, logprobs={"content": content}
    )


# ---- scores -----------------------------------------------------------------------------------------------------------


def scored(backend, **fields):
    """Return the scores' event of one request, and how it ended."""
    events = list(run_requests(backend, [request(candidates=LABELS, **fields)]))
    return next((event for event in events if isinstance(event, CandidateScores)), None), events[-1]


def test_a_server_of_ours_scores_itself(server, backend):
    """By /score, with all tokens of each candidate."""
    server.models[0]["owned_by"] = "llmcli"
    answer = {"scores": [{"candidate": name, "logprob": -1.5, "tokens": 2} for name in LABELS]}
    server.paths["/v1/score"] = lambda handler, _body: handler.give(200, answer)
    found, _ = scored(backend)
    assert found.method == "score" and found.scores[0] == Score(LABELS[0], -1.5, 2)
    assert server.asked[-1].body["candidates"] == list(LABELS) and server.chats() == []


def test_without_that_path_the_first_tokens_tell(server, backend):
    """Also of a server of ours behind something that does not pass the path on."""
    server.models[0]["owned_by"] = "llmcli"
    server.usual = logprobs({"positive": 0.6, "Neg": 0.3, "The": 0.1})
    found, ended = scored(backend)
    chances = {score.candidate: math.exp(score.logprob) for score in found.scores}
    assert found.method == "logprobs" and ended.reason is FinishReason.STOP and ended.usage.prompt_tokens == 7
    assert chances == pytest.approx({"positive": 0.6, "neutral": 1e-6, "negative": 0.3})


@pytest.mark.parametrize("tells", [False, True])
def test_without_log_probabilities_answers_are_counted(server, backend, tells):
    """Where the field is refused, where it is ignored, and where the first tokens begin no label."""
    answers = ["positive", "Positive.", "It is negative", "positive or negative", "**positive**"]
    if not tells:
        server.fields_refused = {"logprobs"}
    samples = iter(answers)
    server.usual = lambda handler, body: (
        stream_answer(next(samples)) if body.get("stream") else logprobs({"The": 0.9, "A": 0.1})
    )(handler, body)
    found, _ = scored(backend, sampling=Sampling(seed=3))
    counts = {score.candidate: math.exp(score.logprob) * (5 + 1.5) - 0.5 for score in found.scores}
    assert found.method == "samples" and counts == pytest.approx({"positive": 4, "neutral": 0, "negative": 1})
    drawn = [body for body in server.chats() if body.get("stream")][-5:]
    assert [body["seed"] for body in drawn] == [3, 4, 5, 6, 7] and {body["temperature"] for body in drawn} == {1.0}


def test_answers_that_are_no_label_are_an_error(server, backend):
    """No label is made up."""
    server.usual = stream_answer("I cannot say")
    found, ended = scored(backend)
    assert found is None and "none of positive" in ended.error.detail


def test_a_token_that_several_labels_begin_with_is_followed():
    """Into the next position when it was sampled; else they share it."""
    positions = [
        TokenAlternatives("ne", (("ne", 0.8), ("positive", 0.2))),
        TokenAlternatives("gative", (("gative", 0.75), ("utral", 0.25))),
    ]
    assert candidate_probabilities(LABELS, positions) == pytest.approx(
        {"positive": 0.2, "neutral": 0.2, "negative": 0.6}
    )
    assert candidate_probabilities(LABELS, positions[:1]) == pytest.approx(
        {"positive": 0.2, "neutral": 0.4, "negative": 0.4}
    )


def test_blanks_and_quotes_before_a_label_do_not_matter():
    """A position without visible characters is followed too."""
    positions = [TokenAlternatives(" ", ((" ", 1.0),)), TokenAlternatives('"Pos', (('"Pos', 0.9), ("neutral", 0.1)))]
    assert candidate_probabilities(LABELS, positions) == pytest.approx(
        {"positive": 0.9, "neutral": 0.1, "negative": 0.0}
    )


@pytest.mark.parametrize(
    ("said", "meant"),
    [
        ("negative", "negative"),
        ('"Neutral."', "neutral"),
        ("It is positive!", "positive"),
        ("positive, or negative?", "positive"),
        ("either positive or negative", None),
        ("", None),
    ],
)
def test_what_an_answer_means(said, meant):
    """What it begins with, or the only label that it names."""
    assert match_candidate(said, LABELS) == meant


# ---- schemas ----------------------------------------------------------------------------------------------------------


def structured(backend):
    """Return the text of an answer to a schema, and how it ended."""
    *pieces, ended = run_requests(backend, [request(schema=PERSON)])
    return "".join(piece.text for piece in pieces if isinstance(piece, TextDelta)), ended


def test_a_schema_goes_into_response_format(server, backend):
    """Where the server has it, nothing is said in words; what came is checked all the same."""
    server.usual = stream_answer('{"age": 3}')
    assert structured(backend)[0] == '{"age": 3}'
    (asked,) = server.chats()
    assert asked["response_format"]["json_schema"]["schema"] == PERSON and "schema" not in str(asked["messages"])


def test_without_response_format_the_schema_is_said_and_answers_are_repaired(server, backend):
    """Wrong answers go back with what is wrong, twice at most; fences around JSON are taken away."""
    server.fields_refused = {"response_format"}
    server.script = [
        stream_answer("ignored"),
        stream_answer("Sure! 3"),
        stream_answer('{"age": "3"}'),
        stream_answer('```json\n{"age": 3}\n```'),
    ]
    text, ended = structured(backend)
    assert text == '{"age": 3}' and ended.reason is FinishReason.STOP
    first, second, third = server.chats()[1:]
    assert '"age"' in first["messages"][0]["content"] and first["messages"][0]["role"] == "system"
    assert "not JSON" in last_message(second) and "$.age must be of type integer" in last_message(third)
    assert ended.usage.prompt_tokens == 3 * 7


def test_a_server_that_ignores_response_format_is_told_in_words(server, backend):
    """In the second try, and from then on in the first."""
    server.script = [stream_answer("They are 3."), stream_answer('{"age": 3}'), stream_answer('{"age": 4}')]
    assert structured(backend)[0] == '{"age": 3}' and structured(backend)[0] == '{"age": 4}'
    first, *others = server.chats()
    assert "response_format" in first and len(others) == 2
    assert all("response_format" not in body and "JSON schema" in body["messages"][0]["content"] for body in others)


def test_an_answer_that_stays_wrong_is_an_error(server, backend):
    """76, and nothing of it is delivered."""
    server.usual = stream_answer('{"name": "x"}')
    text, ended = structured(backend)
    assert text == "" and isinstance(ended.error, RemoteError) and "$.age is missing" in ended.error.detail
    assert len(server.chats()) == 3


def labelled(backend, **fields):
    """Return the text of an answer that shall be a label, and how it ended."""
    *pieces, ended = run_requests(backend, [request(labels=("good", "so so"), **fields)])
    return "".join(piece.text for piece in pieces if isinstance(piece, TextDelta)), ended


def test_labels_go_into_response_format(server, backend):
    """As an object that holds one of them, which is all that is left of it; the limit leaves room for the object."""
    server.usual = stream_answer('{"label": "so so"}')
    text, ended = labelled(backend, max_tokens=4)
    assert (text, ended.reason) == ("so so", FinishReason.STOP)
    (asked,) = server.chats()
    wanted = asked["response_format"]["json_schema"]["schema"]
    assert wanted["properties"]["label"]["enum"] == ["good", "so so"] and asked["max_tokens"] == 4 + 16


@pytest.mark.parametrize("said", ["good", "Good.", '**"good"**', '```json\n{"label": "good"}\n```'])
def test_a_label_in_plain_words_is_one(server, backend, said):
    """Of a server that ignores the field."""
    server.usual = stream_answer(said)
    assert labelled(backend)[0] == "good" and len(server.chats()) == 1


def test_what_is_no_label_is_sent_back(server, backend):
    """Also what only names one; where the field is refused the labels are told in words; then it is an error."""
    server.fields_refused = {"response_format"}
    server.script = [
        stream_answer("ignored"),
        stream_answer("It is not good"),
        stream_answer('{"label": "fine"}'),
        stream_answer('{"label": "good"}'),
    ]
    assert labelled(backend)[0] == "good"
    assert '"so so"' in server.chats()[1]["messages"][0]["content"] and "must be one of" in last_message(
        server.chats()[3]
    )
    server.usual = stream_answer("It is not good")
    text, ended = labelled(backend)
    assert text == "" and isinstance(ended.error, RemoteError) and len(server.chats()) == 4 + 3


def test_a_label_that_a_limit_cut_is_none(server, backend):
    """It might have become another; one that was there as a whole is one."""
    server.usual = stream_answer("good", reason="length")
    assert labelled(backend)[0] == "" and labelled(backend)[1].reason is FinishReason.LENGTH
    server.usual = stream_answer('{"label": "good"}', reason="length")
    text, ended = labelled(backend)
    assert (text, ended.reason) == ("good", FinishReason.STOP)


@pytest.mark.parametrize(
    ("value", "schema", "wrong"),
    [
        (1, {"type": "integer"}, 0),
        (1.0, {"type": "integer"}, 0),
        (True, {"type": "integer"}, 1),
        (None, {"type": ["string", "null"]}, 0),
        ("b", {"enum": ["a"]}, 1),
        (1, {"const": True}, 1),
        ("ab", {"minLength": 3}, 1),
        ("ab", {"maxLength": 1, "pattern": "^x"}, 2),
        (5, {"minimum": 6, "exclusiveMaximum": 5}, 2),
        (5, {"maximum": 4, "exclusiveMinimum": 5}, 2),
        ({"a": 1}, {"required": ["b"], "additionalProperties": False}, 2),
        ({"a": {"b": []}}, {"properties": {"a": {"properties": {"b": {"minItems": 1}}}}}, 1),
        ([1, "x"], {"prefixItems": [{"type": "string"}], "items": {"type": "string"}}, 1),
        (3, {"anyOf": [{"type": "string"}, {"type": "null"}]}, 1),
        (3, {"oneOf": [{"type": "number"}, {"type": "integer"}]}, 1),
        (3, {"allOf": [{"type": "string"}]}, 1),
        ({"next": {"next": 1}}, {"type": "object", "properties": {"next": {"$ref": "#"}}}, 1),
        ({"a": "x"}, {"properties": {"a": {"$ref": "#/$defs/n"}}, "$defs": {"n": {"type": "number"}}}, 1),
        (1, {"$ref": "#"}, 1),
        (1, True, 0),
    ],
)
def test_what_is_wrong_with_a_value(value, schema, wrong):
    """Each keyword says what it wants."""
    assert len(list(iter_errors(value, schema))) == wrong


# ---- jobs -------------------------------------------------------------------------------------------------------------


def test_a_request_can_be_cancelled_at_any_time(server, backend):
    """Waiting or under way it ends at once, and the others go on."""
    server.usual = lambda handler, body: (stall_after() if "slow" in last_message(body) else stream_answer())(
        handler, body
    )
    ends = {}
    with backend.open() as job:
        job.submit(request("slow"))
        job.submit(request("good"))
        threading.Timer(0.1, job.cancel, ["slow"]).start()
        job.close_input()
        ends = {event.id: event.reason for event in job if isinstance(event, Finished)}
    assert ends == {"slow": FinishReason.CANCELLED, "good": FinishReason.STOP}


def test_leaving_a_job_ends_its_requests(server, backend):
    """The server sees its clients go."""
    server.usual = stall_after(encode_chunk({"content": "x"}))
    with backend.open() as job:
        for name in "abc":
            job.submit(request(name))
        next(iter(job))
    until = time.monotonic() + 10
    while threads := [thread for thread in threading.enumerate() if thread.name == "remote"]:
        assert time.monotonic() < until, threads
        time.sleep(0.01)


def test_a_deadline_ends_a_request(server, backend):
    """With the reason that is its own."""
    server.usual = stall_after()
    (ended,) = run_requests(backend, [request(deadline=time.monotonic() + 0.1)])
    assert ended.reason is FinishReason.TIMEOUT


def test_interactive_requests_go_first(server):
    """Before bulk ones that were submitted earlier and still wait."""
    backend = RemoteBackend(ServerConfig(server.url, concurrency=1), ApiKey(), Interrupt())
    gate = threading.Event()
    server.script = [lambda handler, body: (gate.wait(10), stream_answer()(handler, body))]
    with backend.open() as job:
        for name, priority in (("0", Priority.BULK), ("1", Priority.BULK), ("2", Priority.INTERACTIVE)):
            job.submit(request(name, priority=priority))
            while name == "0" and not server.chats():
                time.sleep(0.01)
        gate.set()
        job.close_input()
        order = [event.id for event in job if isinstance(event, Finished)]
    backend.close()
    assert order == ["0", "2", "1"] and server.most == 1


def test_what_a_server_writes_is_counted(server, backend, monkeypatch):
    """A request that asks for it is told how many tokens came: as many as pieces, or a quarter of the characters."""
    monkeypatch.setattr(remote_job, "_REPORT_INTERVAL_S", 0.0)
    server.script = [
        stream_answer("One two three."),
        lambda handler, _: handler.stream(iter([encode_chunk({"content": "x" * 400}), b"[DONE]"])),
        stream_answer(),
    ]
    asked = [request(name, progress=name != "c") for name in "abc"]
    found = [event for each in asked for event in run_requests(backend, [each]) if isinstance(event, RequestProgress)]
    assert [(event.id, event.done) for event in found] == [("a", 1), ("a", 2), ("a", 3), ("b", 100)]
    assert {event.phase for event in found} == {Phase.WRITING}


def test_a_grammar_cannot_be_had(backend):
    """Servers that do not know it would ignore it."""
    (ended,) = run_requests(backend, [request(grammar='root ::= "x"')])
    assert isinstance(ended.error, Unsupported)


def test_connections_are_kept(server, backend, monkeypatch):
    """Requests one after the other go over one connection, streams included."""
    made = []
    connect = backend._client._connect
    monkeypatch.setattr(backend._client, "_connect", lambda call: made.append(1) or connect(call))
    for name in "abc":
        assert list(run_requests(backend, [request(name)]))[-1].reason is FinishReason.STOP
    assert len(made) == 1


def test_what_is_near_the_context_a_server_of_ours_counts(server, backend):
    """All else is estimated, so that counting a hundred texts does not take a hundred questions."""
    server.models[0]["owned_by"] = "llmcli"
    server.paths["/v1/count"] = lambda handler, _body: handler.give(200, {"tokens": 1234})
    long = Request("long", (Message(Role.USER, "word " * 2000),))
    (small, large), exact = backend.count([request(), long])
    assert not exact and small < 64 and large == 1234
    assert [asked.path for asked in server.asked] == ["/v1/models", "/v1/count"]


def test_llama_server_says_its_context_elsewhere(server, backend):
    """In /props, for one slot; Ollama says nothing, and drops what is beyond its own default."""
    server.models = [{"id": "m", "owned_by": "llamacpp", "meta": {"n_ctx_train": 8192}}]
    server.paths["/props"] = lambda handler, _body: handler.give(200, {"default_generation_settings": {"n_ctx": 512}})
    assert backend.info().context == 512
    server.models = [{"id": "m", "owned_by": "library"}]
    assert RemoteBackend(ServerConfig(server.url), ApiKey(), Interrupt()).info().context == remote.OLLAMA_CONTEXT_TOKENS


def test_a_server_without_a_list_of_models_is_used_by_name(server):
    """Some show it to other keys only."""
    server.paths["/v1/models"] = error_answer(403)
    backend = RemoteBackend(ServerConfig(server.url, model="m"), ApiKey(), Interrupt())
    assert backend.info().model == "m" and list(run_requests(backend, [request()]))[-1].reason is FinishReason.STOP


def test_what_a_server_refuses_is_kept_for_a_while(tmp_path, server):
    """In the cache; what is broken or old there is learnt again."""
    server.fields_refused = {"temperature"}
    for expected in (2, 3):
        backend = RemoteBackend(ServerConfig(server.url, model="m"), ApiKey(), Interrupt(), cache=tmp_path)
        assert list(run_requests(backend, [request()]))[-1].reason is FinishReason.STOP
        assert len(server.chats()) == expected
    (kept,) = (tmp_path / "servers").glob("*.json")
    for text in ("{", json.dumps({"time": 0, "refused": ["temperature"]}), json.dumps({"time": time.time()})):
        kept.write_text(text)
        before = len(server.chats())
        list(
            run_requests(
                RemoteBackend(ServerConfig(server.url, model="m"), ApiKey(), Interrupt(), cache=tmp_path), [request()]
            )
        )
        assert len(server.chats()) == before + 2


# ---- the pure parts ---------------------------------------------------------------------------------------------------


def test_events_are_the_same_however_the_bytes_are_cut():
    """Line ends of all three kinds, comments, several lines of data, a byte order mark, UTF-8 cut in the middle."""
    text = "\ufeffdata: ä\r\n\r\n: comment\rdata:b\rdata: c\r\revent: x\nid: 1\ndata\n\ndata:  d\n\ndata: lost"
    data, rng = text.encode(), random.Random(1)
    for size in (1, 2, 3, 7, len(data)):
        stream, found, rest = EventStream(), [], data
        while rest:
            step = rng.randint(1, size)
            found += stream.feed(rest[:step])
            rest = rest[step:]
        assert found == ["ä", "b\nc", "", " d"]


@pytest.mark.parametrize("data", [b"data: " + b"x" * 200, b"data: xxxxxxxxxx\n" * 20])
def test_a_line_that_does_not_end_is_told(data):
    """Memory stays bounded."""
    with pytest.raises(EventTooLong):
        list(EventStream(max_chars=100).feed(data))


def test_a_busy_server_gets_half_and_then_a_little_more():
    """Of requests that were refused together the limit halves once; good answers raise it by one a round."""
    limiter = ConcurrencyLimiter(8, longest=60)

    def take(count, error=None):
        turns = [limiter.acquire(CancelToken()) for _ in range(count)]
        for turn in turns:
            turn.__enter__()
        for turn in turns:
            turn.__exit__(type(error) if error else None, error, None)

    take(8, RateLimited("s"))
    assert limiter.limit == 4
    take(4)
    take(4)
    assert limiter.limit == 5 and limiter.peak_running == 8
    for _ in range(6):
        take(1, RateLimited("s", retry_after=1000.0))  # longer than is waited for
    assert limiter.limit == 1


def test_what_was_refused_is_tried_seldom():
    """A server that bears two: of hundreds of answers few are refusals, though each good one asks for a little more."""
    limiter, refused, good = ConcurrencyLimiter(16, longest=60), 0, 0
    while good < 400:
        together = limiter.limit
        turns = [limiter.acquire(CancelToken()) for _ in range(together)]
        for turn in turns:
            turn.__enter__()
        for number, turn in reversed(list(enumerate(turns))):  # who is refused hears it first
            busy = RateLimited("s") if number >= 2 else None
            turn.__exit__(type(busy) if busy else None, busy, None)
            refused += busy is not None
            good += busy is None
    assert refused < 40 and limiter.limit == 2
    limiter = ConcurrencyLimiter(16, longest=60)  # and one that bears more after a while is found out
    for _ in range(3):
        with contextlib.suppress(RateLimited), limiter.acquire(CancelToken()):
            raise RateLimited("s")
    for _ in range(200):
        with limiter.acquire(CancelToken()):
            pass
    assert limiter.limit == 16


def test_waiting_for_a_turn_can_be_ended():
    """By the thread that cancels the call."""
    limiter, call = ConcurrencyLimiter(1, longest=60), CancelToken()
    with limiter.acquire(CancelToken()):
        threading.Timer(0.05, call.cancel).start()
        with pytest.raises(Cancelled), limiter.acquire(call):
            raise AssertionError("there was no turn")


@pytest.mark.parametrize(
    ("environ", "found"),
    [
        ({}, None),
        ({"HTTPS_PROXY": "http://p:3128"}, ("p", 3128)),
        ({"https_proxy": "p:3128", "HTTPS_PROXY": "http://q:1"}, ("p", 3128)),
        ({"ALL_PROXY": "http://p"}, ("p", 80)),
        ({"HTTP_PROXY": "http://p:3128"}, None),
        ({"HTTPS_PROXY": "http://p:3128", "NO_PROXY": "example.com"}, None),
        ({"HTTPS_PROXY": "http://p:3128", "NO_PROXY": ".example.com, x"}, None),
        ({"HTTPS_PROXY": "http://p:3128", "NO_PROXY": "*"}, None),
        ({"HTTPS_PROXY": "http://p:3128", "NO_PROXY": "ample.com"}, ("p", 3128)),
        ({"HTTPS_PROXY": "http://p:3128", "NO_PROXY": "api.example.com:8443"}, ("p", 3128)),
    ],
)
def test_the_proxy_of_the_environment(environ, found):
    """As curl reads it."""
    proxy = find_proxy(ServerConfig("https://api.example.com/v1"), environ)
    assert (proxy and (proxy.host, proxy.port)) == found
    assert find_proxy(ServerConfig("https://localhost/v1"), environ) is None


def test_a_proxy_of_another_kind_is_told():
    """78 instead of going around it."""
    with pytest.raises(ConfigError):
        find_proxy(ServerConfig("https://api.example.com/v1"), {"ALL_PROXY": "socks5://p:1080"})


@pytest.mark.parametrize(
    ("url", "here"),
    [
        ("http://localhost:1/v1", True),
        ("http://127.9.9.9/v1", True),
        ("http://[::1]:80/v1", True),
        ("http://a.localhost/v1", True),
        ("http://localhost.evil.com/v1", False),
        ("http://127.0.0.1.evil.com/v1", False),
        ("http://0.0.0.0/v1", False),
        ("http://10.0.0.1/v1", False),
    ],
)
def test_what_this_machine_is(url, here):
    """Names that only look like it are others."""
    assert ServerConfig(url).is_loopback == here


def test_a_key_is_not_in_its_repr():
    """So that no log of objects has it."""
    key = ApiKey("secret", "VAR")
    assert "secret" not in repr(key) and key.redact("a secret!") == "a ***!"
