"""A request whose client has left is not started, wherever it waits, and counts as active until it has ended."""

from __future__ import annotations

import asyncio
import json
import threading

import pytest
from waiting import wait_until

from llmcli.engine.llama import model
from llmcli.engine.llama.context import Context
from llmcli.engine.text.chat_template import ChatTemplate
from llmcli.engine.text.tokenizer import Tokenizer
from llmcli.types import Message, Priority, Request, Role
from llmcli.worker import protocol
from llmcli.worker.client import channel
from llmcli.worker.runtime_dir import WorkerConfig
from llmcli.worker.server.engine_pool import EnginePool
from llmcli.worker.server.worker_server import WorkerApp

from .conftest import SHORT

HANG = 60.0
"""Seconds after which what should come at once is said never to come."""
ASK = ("ask", "hello", *SHORT)
HELLO = [{"role": "user", "content": "hello"}]
ENDLESS = {"messages": HELLO, "max_tokens": 30_000, "ignore_eos": True}
LINES = protocol.encode_message(options={}) + b"".join(
    protocol.encode_message(
        submit=protocol.dump_request(Request(name, (Message(Role.USER, "hello"),), priority=priority))
    )
    for name, priority in (("a", Priority.INTERACTIVE), ("b", Priority.BULK))
)
COUNTING = protocol.encode_message(options={}) + protocol.encode_message(
    count=[protocol.dump_request(Request("a", (Message(Role.USER, "hello"),)))] * 9
)
POSTS = {
    "chat": ("/v1/chat/completions", ENDLESS),
    "stream": ("/v1/chat/completions", {**ENDLESS, "stream": True}),
    "several answers": ("/v1/chat/completions", {**ENDLESS, "n": 5}),
    "completion": ("/v1/completions", {"prompt": "hello", "max_tokens": 30_000, "ignore_eos": True}),
    "score": ("/v1/score", {"messages": HELLO, "candidates": ["yes", "no"]}),
    "count": ("/v1/count", {"messages": HELLO}),
    "embeddings": ("/v1/embeddings", {"input": ["hello", "world"]}),
    "session": (protocol.STREAM_PATH, LINES),
    "session that counts": (protocol.STREAM_PATH, COUNTING),
}
each_post = pytest.mark.parametrize("post", POSTS.values(), ids=POSTS)


class Gate:
    """Blocks threads in a method of a class until it is opened."""

    def __init__(self, monkeypatch):
        self._patch = monkeypatch.setattr
        self.reached = threading.Event()
        self.open = threading.Event()

    def hold(self, kind, name):
        real = getattr(kind, name)

        def held(*given, **named):
            self.reached.set()
            assert self.open.wait(HANG)
            return real(*given, **named)

        self._patch(kind, name, held)


@pytest.fixture
def gate(monkeypatch):
    return Gate(monkeypatch)


@pytest.fixture
def start(tiny):
    """Return a function to a worker's application, whose model starts loading."""
    path, made = tiny("chatml"), []

    def worker():
        made.append(EnginePool(path, "tiny", "id", None))
        return WorkerApp(WorkerConfig(str(path), "tiny", "id", None, 60.0, "log"), made[-1], lambda: True)

    yield worker
    for engines in made:
        engines.close()


@pytest.fixture
def worker(start):
    return start()


@pytest.fixture
def evaluated(monkeypatch):
    """Return a list that grows with every evaluation of a batch."""
    batches, real = [], Context.evaluate

    def evaluate(context, **how):
        batches.append(context.batch.size)
        return real(context, **how)

    monkeypatch.setattr(Context, "evaluate", evaluate)
    return batches


class Client:
    """A client of an application that sends a request and ``leave``s."""

    def __init__(self, worker, path, body):
        content = body if isinstance(body, bytes) else json.dumps(body).encode()
        self._messages = [{"type": "http.request", "body": content, "more_body": path == protocol.STREAM_PATH}]
        self._gone = asyncio.Event()
        headers = [(b"content-type", b"application/json")]
        scope = {
            "type": "http",
            "method": "POST",
            "path": path,
            "headers": headers,
            "query_string": b"",
            "scheme": "http",
        }
        self.answer = b""
        self.serving = asyncio.create_task(worker.app(scope, self._receive, self._send))

    async def _receive(self):
        if self._messages:
            return self._messages.pop()
        await self._gone.wait()
        return {"type": "http.disconnect"}

    async def _send(self, message):
        self.answer += message.get("body", b"")

    def leave(self):
        self._gone.set()


async def until(holds):
    """Wait for the effect of the event loop or a thread."""
    async with asyncio.timeout(HANG):
        while not holds():  # noqa: ASYNC110 (threads bring it about)
            await asyncio.sleep(0.005)


async def abandon(worker, post, gate, *, working=True, clients=20):
    """Send requests up to the gate, where one thread is ``working``, disconnect their clients, and open it."""
    came = [Client(worker, *post) for _ in range(clients)]
    await until(lambda: gate.reached.is_set() and worker.metrics.num_active >= clients)
    for each in came:
        each.leave()
    async with asyncio.timeout(HANG):
        await asyncio.gather(*(each.serving for each in came))
    if working:
        assert worker.metrics.num_active > 0, "what a thread still works on is active"
    gate.open.set()
    await until(lambda: not worker.metrics.num_active)


async def answers(worker):
    """Return whether a later request is answered."""
    later = Client(worker, "/v1/chat/completions", {"messages": HELLO, "max_tokens": 4})
    async with asyncio.timeout(HANG):
        await later.serving
    return bool(json.loads(later.answer)["choices"])


@pytest.mark.slow
@each_post
def test_requests_waiting_for_the_model_do_not_start(start, gate, evaluated, monkeypatch, post):
    """Nothing is rendered, tokenized or evaluated for a client that disconnected while the model was being loaded."""
    rendered = []
    gate.hold(model, "Model")
    for kind, name in (
        (ChatTemplate, "tokenize_with_prefixes"),
        (Tokenizer, "encode_prompt"),
        (Tokenizer, "encode_special"),
    ):
        real = getattr(kind, name)

        def note(*given, _real=real, **named):
            rendered.append(given)
            return _real(*given, **named)

        monkeypatch.setattr(kind, name, note)
    worker = start()

    async def scenario():
        await abandon(worker, post, gate, working=False)
        assert not rendered and not evaluated
        assert await answers(worker)
        once = len(rendered)
        assert await answers(worker)
        assert len(rendered) == 2 * once, "what was rendered later was that of the two later requests"

    asyncio.run(scenario())


@each_post
def test_requests_being_rendered_do_not_start(worker, gate, evaluated, post):
    """Sixteen are in the threads of the pool, the others before them: no token of any is evaluated."""

    async def scenario():
        assert await answers(worker)
        before = len(evaluated)
        for kind, name in (
            (ChatTemplate, "tokenize_with_prefixes"),
            (Tokenizer, "encode_prompt"),
            (Tokenizer, "encode_special"),
        ):
            gate.hold(kind, name)
        await abandon(worker, post, gate)
        assert len(evaluated) == before
        assert worker.metrics.completion_tokens <= 4
        assert await answers(worker)

    asyncio.run(scenario())


@pytest.mark.parametrize("name", ["chat", "stream", "several answers", "completion", "session"])
def test_queued_and_running_requests_end_at_the_next_step(worker, gate, name):
    """Of endless answers, more than run at once, nothing is left, and a later request is answered."""

    async def scenario():
        assert await answers(worker)
        gate.hold(Context, "evaluate")
        await abandon(worker, POSTS[name], gate)
        assert await answers(worker)

    asyncio.run(scenario())


def test_a_client_that_disconnected_before_it_is_read(worker, evaluated):
    """The body and the end of the connection arrive together, as from a killed client."""

    async def scenario():
        assert await answers(worker)
        before = len(evaluated)
        gone = [Client(worker, *post) for post in POSTS.values() for _ in range(5)]
        for each in gone:
            each.leave()
        async with asyncio.timeout(HANG):
            await asyncio.gather(*(each.serving for each in gone))
        await until(lambda: not worker.metrics.num_active)
        assert len(evaluated) == before
        assert await answers(worker)

    asyncio.run(scenario())


def test_active_counts_what_is_counted_over_http(worker, gate):
    """A request that only counts tokens keeps the worker from being idle."""

    async def scenario():
        assert await answers(worker)
        gate.hold(ChatTemplate, "tokenize_with_prefixes")
        counting = Client(worker, *POSTS["count"])
        await until(gate.reached.is_set)
        assert worker.metrics.num_active == 1 and worker.metrics.idle_seconds == 0
        gate.open.set()
        await counting.serving
        await until(lambda: not worker.metrics.num_active)
        assert json.loads(counting.answer)["tokens"] > 0

    asyncio.run(scenario())


def test_a_model_that_cannot_be_loaded_leaves_nothing_active(start, monkeypatch):
    """Requests that never reached the engine have ended with the error."""

    def load(path, **_):
        raise MemoryError(str(path))

    monkeypatch.setattr(model, "Model", load)
    worker = start()

    async def scenario():
        clients = [Client(worker, *POSTS[name]) for name in ("session", "session that counts")]
        await until(lambda: all(b"failed" in each.answer for each in clients))
        await until(lambda: not worker.metrics.num_active)
        for each in clients:
            each.leave()
            await each.serving

    asyncio.run(scenario())


@pytest.mark.slow
def test_five_hundred_closed_connections_leave_nothing_behind(shell):
    """On its real socket: no request is left, hardly a token was generated, and the next one is answered."""
    assert shell(*ASK).code == 0
    status = shell.worker()
    body = json.dumps({"messages": [{"role": "user", "content": "hello " * 200}], "max_tokens": 30_000}).encode()
    head = f"POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nContent-Length: {len(body)}\r\n\r\n".encode()
    for _ in range(500):
        with channel.connect_socket(status["socket"]) as connected:
            connected.sendall(head + body)
    wait_until(lambda: shell.worker().get("active") == 0, HANG)
    assert shell(*ASK).code == 0
    assert shell.worker()["pid"] == status["pid"]
