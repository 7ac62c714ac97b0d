"""Jobs on a remote server: cancelling, leaving, deadlines, order, progress."""

from __future__ import annotations

import threading
import time

from fake_server import encode_chunk, last_message, stall_after, stream_answer
from waiting import wait_until

from llmcli.backends.base import run_requests
from llmcli.backends.remote import remote_job
from llmcli.backends.remote.remote_backend import RemoteBackend
from llmcli.backends.remote.transport.api_keys import ApiKey
from llmcli.config.backend_config import ServerConfig
from llmcli.errors import Unsupported
from llmcli.interrupt import Interrupt
from llmcli.types import (
    Finished,
    FinishReason,
    Message,
    Phase,
    Priority,
    Request,
    RequestProgress,
    Role,
)


def request(name="a", **fields):
    return Request(name, (Message(Role.USER, f"text {name}"),), **fields)


def test_a_request_can_be_cancelled_at_any_time(server, backend):
    """A waiting or running request ends at once, and the others continue."""
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
    """The server sees its clients disconnect."""
    server.usual = stall_after(encode_chunk({"content": "x"}))
    with backend.open() as job:
        for name in "abc":
            job.submit(request(name))
        next(iter(job))
    wait_until(lambda: not any(thread.name == "remote" for thread in threading.enumerate()))


def test_a_deadline_ends_a_request(server, backend):
    """With its own finish reason."""
    server.usual = stall_after()
    (ended,) = run_requests(backend, [request(deadline=time.monotonic() + 0.1)])
    assert ended.reason is FinishReason.TIMEOUT


def test_interactive_requests_go_first(server):
    """Before bulk requests that were submitted earlier and still wait."""
    backend = RemoteBackend(ServerConfig(server.url, concurrency=1), ApiKey(), Interrupt())
    gate = threading.Event()
    server.script = [lambda handler, body: (gate.wait(10), stream_answer()(handler, body))]
    with backend.open() as job:
        for name, priority in (("0", Priority.BULK), ("1", Priority.BULK), ("2", Priority.INTERACTIVE)):
            job.submit(request(name, priority=priority))
            wait_until(server.chats)  # the first one
        gate.set()
        job.close_input()
        order = [event.id for event in job if isinstance(event, Finished)]
    backend.close()
    assert order == ["0", "2", "1"] and server.most == 1


def test_what_a_server_writes_is_counted(server, backend, monkeypatch):
    """A request with progress reports its tokens: one per piece, or one per four characters."""
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


def test_hidden_states_are_unsupported(backend):
    """Servers have no path for them; one that ignored the wish would generate text."""
    (ended,) = run_requests(backend, [request(hidden_states=True)])
    assert isinstance(ended.error, Unsupported)


def test_a_grammar_is_unsupported(backend):
    """Servers that do not know it would ignore it."""
    (ended,) = run_requests(backend, [request(grammar='start: "x"')])
    assert isinstance(ended.error, Unsupported)
