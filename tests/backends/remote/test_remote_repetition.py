"""Answers of servers that repeat themselves, or are too long."""

from __future__ import annotations

import contextlib

import pytest
from fake_server import stream_answer
from hosted_servers import SERVERS

from llmcli.backends.base import run_requests
from llmcli.backends.remote.remote_backend import RemoteBackend
from llmcli.backends.remote.transport.api_keys import ApiKey
from llmcli.config.backend_config import ServerConfig
from llmcli.interrupt import Interrupt
from llmcli.types import (
    CHARS_LIMIT,
    REPETITION_LIMIT,
    Finished,
    FinishReason,
    Message,
    RepetitionPolicy,
    Request,
    Role,
    TextDelta,
)

LINE = "The mayor was absent from the meeting.\n"


def ask(backend, **fields):
    """Return the text of an answer, and its end."""
    request = Request("a", (Message(Role.USER, "Why?"),), **fields)
    events = list(run_requests(backend, [request]))
    return "".join(event.text for event in events if isinstance(event, TextDelta)), events[-1]


@pytest.mark.parametrize("kind", SERVERS)
@pytest.mark.parametrize("policy", RepetitionPolicy)
def test_an_answer_of_each_protocol_is_stopped(kind, policy):
    """Two rounds are delivered; without the guard, all of it."""
    with contextlib.closing(SERVERS[kind]()) as server:
        server.usual = server.say(lambda _body: LINE * 60)
        backend = RemoteBackend(ServerConfig(server.url, type=kind), ApiKey(), Interrupt(), model="big")
        text, end = ask(backend, repetition=policy)
        backend.close()
    assert isinstance(end, Finished)
    if policy is RepetitionPolicy.OFF:
        assert (text, end.reason) == (LINE * 60, FinishReason.STOP)
    else:
        assert (text, end.reason, end.limit) == (LINE * 2, FinishReason.LENGTH, REPETITION_LIMIT)


@pytest.mark.parametrize("kind", SERVERS)
def test_lines_that_vary_are_stopped(kind):
    """After three rounds, in any order."""
    other = "The roof was wet after all the rain.\n"
    with contextlib.closing(SERVERS[kind]()) as server:
        server.usual = server.say(lambda _body: (LINE + other * 2 + LINE * 2 + other) * 20)
        backend = RemoteBackend(ServerConfig(server.url, type=kind), ApiKey(), Interrupt(), model="big")
        text, end = ask(backend, repetition=RepetitionPolicy.ANSWER)
        backend.close()
    assert (text, end.limit) == (LINE + other * 2 + LINE * 2 + other, REPETITION_LIMIT)


@pytest.mark.parametrize("kind", SERVERS)
def test_a_long_answer_of_each_protocol_is_stopped(kind):
    """The rest is not read."""
    with contextlib.closing(SERVERS[kind]()) as server:
        server.usual = server.say(lambda _body: LINE * 600)
        backend = RemoteBackend(ServerConfig(server.url, type=kind), ApiKey(), Interrupt(), model="big")
        text, end = ask(backend, max_chars=100)
        backend.close()
    assert (end.reason, end.limit) == (FinishReason.LENGTH, CHARS_LIMIT) and 100 < len(text) < len(LINE) * 300


def test_json_that_repeats_itself_is_stopped(server, backend):
    """It is delivered as far as it came, without a repair."""
    server.usual = stream_answer('{"items": [' + '"the same item again", ' * 200)
    text, end = ask(backend, schema={"type": "object"}, repetition=RepetitionPolicy.ANSWER)
    assert end.limit == REPETITION_LIMIT and text.startswith('{"items": ["the same item') and len(text) < 80
    assert [each.method for each in server.asked].count("POST") == 1
