"""Backends on servers of each protocol, without pauses between tries."""

from __future__ import annotations

import pytest
from hosted_servers import SERVERS

from llmcli.backends.base import run_requests
from llmcli.backends.remote import remote_backend
from llmcli.backends.remote.remote_backend import RemoteBackend
from llmcli.backends.remote.transport.api_keys import ApiKey
from llmcli.config.backend_config import ServerConfig
from llmcli.interrupt import Interrupt
from llmcli.network.retry_policy import RetryPolicy
from llmcli.types import Message, Request, Role, TextDelta


@pytest.fixture
def serve(monkeypatch):
    """Return a function that starts a server of a protocol and returns it with a function that asks it."""
    policy = RetryPolicy(max_tries=3, max_connect_tries=2, first_pause_s=0.001, max_pause_s=5)
    monkeypatch.setattr(remote_backend, "DEFAULT_RETRY_POLICY", policy)
    running = []

    def start(protocol):
        server = SERVERS[protocol]()
        backend = RemoteBackend(ServerConfig(server.url, type=protocol, model="big"), ApiKey("the-key"), Interrupt())
        running.extend((backend, server))

        def ask(**fields):
            """Return the text of an answer, its other events, and how it ended."""
            *events, finished = run_requests(backend, [make_request(**fields)])
            text = "".join(event.text for event in events if isinstance(event, TextDelta))
            return text, [event for event in events if not isinstance(event, TextDelta)], finished

        return server, ask

    yield start
    for each in running:
        each.close()


def make_request(**fields):
    """Return a request with instructions, an example and a question."""
    turns = (
        Message(Role.SYSTEM, "Be short."),
        Message(Role.USER, "one"),
        Message(Role.ASSISTANT, "1"),
        Message(Role.USER, "two"),
    )
    return Request("a", **({"messages": turns} | fields))
