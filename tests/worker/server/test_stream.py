"""A worker sends the events and the progress that a command waits for."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import threading
import types
from concurrent.futures import ThreadPoolExecutor

import pytest

from llmcli.cli.console.signals import forward_signals
from llmcli.errors import Terminated
from llmcli.errors.model_errors import DerivedWeightsMissing
from llmcli.interrupt import Interrupt
from llmcli.types import BackendInfo, Finished, FinishReason, Message, Phase, Request, RequestProgress, Role, TextDelta
from llmcli.worker import protocol
from llmcli.worker.client.channel import Channel, WorkerGone
from llmcli.worker.server.metrics import WorkerMetrics
from llmcli.worker.server.stream import StreamEndpoint


class Exchange:
    """A client of sessions: sends its lines, and reads the worker's until it has enough."""

    def __init__(self, *lines: bytes, until: int) -> None:
        self._lines = list(lines)
        self._until = until
        self._enough = asyncio.Event()
        self.heard: list[dict] = []

    async def receive(self) -> dict:
        if self._lines:
            return {"type": "http.request", "body": self._lines.pop(0), "more_body": True}
        await self._enough.wait()
        return {"type": "http.disconnect"}

    async def send(self, message: dict) -> None:
        self.heard += map(protocol.decode_message, message.get("body", b"").splitlines())
        if len(self.heard) >= self._until:
            self._enough.set()


def exchange(engine, *lines: bytes, until: int) -> list[dict]:
    """Return what a client receives that sends these lines to a worker with this engine."""
    engines = types.SimpleNamespace(acquire=lambda _options: engine, release=lambda _options: None)

    async def run() -> list[dict]:
        client = Exchange(*lines, until=until)
        with ThreadPoolExecutor(1) as pool:
            await asyncio.wait_for(StreamEndpoint(engines, WorkerMetrics(), pool)({}, client.receive, client.send), 20)
        return client.heard

    return asyncio.run(run())


def test_progress_is_not_kept_back_with_the_text():
    """The text of a gathered request is sent when it ends, its progress as it arrives."""
    events = [
        RequestProgress("a", Phase.READING, 5, 9),
        TextDelta("a", "x"),
        RequestProgress("a", Phase.WRITING, 1),
        TextDelta("a", "y"),
        Finished("a", FinishReason.STOP),
    ]
    engine = types.SimpleNamespace(
        info=lambda _gone: BackendInfo("m", "id", 64),
        cancel=lambda _: None,
        submit=lambda _, sink: [*map(sink.emit, events)],
    )
    request = Request("a", (Message(Role.USER, "hello"),), gathered=True, progress=True)
    lines = [protocol.encode_message(options={}), protocol.encode_message(submit=protocol.dump_request(request))]
    heard = exchange(engine, *lines, until=5)
    assert [protocol.load_event(line["event"]) for line in heard if "event" in line] == [
        events[0],
        events[2],
        TextDelta("a", "xy"),
        events[4],
    ]


def test_a_missing_copy_is_told_to_the_client():
    """Another worker would not find it either."""

    def info(_gone):
        raise DerivedWeightsMissing("m", weights="bf16")

    engine = types.SimpleNamespace(info=info, cancel=lambda _: None)
    (told,) = exchange(engine, protocol.encode_message(options={}), until=1)
    assert isinstance(protocol.load_error(told["failed"]), DerivedWeightsMissing)


@pytest.mark.parametrize("wanted", [True, False])
def test_loading_is_reported_to_clients_that_show_it(wanted):
    """The loaded fraction comes before the description of the model."""
    told, ready = [], threading.Event()

    def loading():
        told.append(1)
        return 0.25 if len(told) == 1 else ready.set()

    class Loading:
        """An engine that is ready after it was asked twice, or at once if it is not asked."""

        loading_progress = property(lambda _self: loading())

        def info(self, _gone) -> BackendInfo:
            assert ready.wait(20) or not wanted
            return BackendInfo("m", "id", 64)

        def cancel(self, _should_end) -> None:
            pass

    if not wanted:
        ready.set()
    heard = exchange(Loading(), protocol.encode_message(options={}, progress=wanted), until=1 + wanted)
    assert [next(iter(line)) for line in heard] == ["loading", "info"][not wanted :]
    assert not wanted or heard[0]["loading"] == 0.25


def test_a_worker_that_does_not_read_does_not_delay_a_signal():
    """A long request to a worker that does not read ends at a signal, and the incomplete exchange is closed."""
    ours, theirs = socket.socketpair()
    with ours, theirs, forward_signals(Interrupt()):
        channel = Channel(ours, {})
        os.kill(os.getpid(), signal.SIGTERM)
        with pytest.raises(Terminated):
            channel.send(bytes(10_000_000))
        with pytest.raises(WorkerGone):
            channel.send(b"more")


def test_a_worker_that_reads_slowly_gets_all_of_a_long_request():
    """Bytes that do not fit the socket at once are sent in pieces, completely."""
    ours, theirs = socket.socketpair()
    with ours, theirs:
        channel, got = Channel(ours, {}), []

        def read():
            while data := theirs.recv(1 << 20):
                got.append(data)

        reader = threading.Thread(target=read)
        reader.start()
        channel.send(b"x" * 3_000_000)
        channel.close()
        reader.join()
    assert b"\r\n2dc6c0\r\n" + b"x" * 3_000_000 + b"\r\n" in b"".join(got)
