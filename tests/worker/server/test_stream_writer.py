"""Events and replies become bytes in the right order and form."""

from __future__ import annotations

import asyncio

import pytest

from llmcli.errors import OutOfMemory
from llmcli.types import Finished, FinishReason, Phase, RequestProgress, TextDelta
from llmcli.worker import protocol
from llmcli.worker.server.event_queue import AsyncEventQueue
from llmcli.worker.server.metrics import WorkerMetrics
from llmcli.worker.server.stream import EventWriter, coalesce_delay


@pytest.mark.parametrize(
    ("pause", "active", "seconds"),
    [(0.0, 100, 0.0), (0.1, 0, 0.1), (0.1, 2, 0.1), (0.1, 16, 0.8), (0.1, 200, 1.0), (2.0, 16, 2.0)],
)
def test_unwatched_text_is_coalesced_longer_under_load(pause, active, seconds):
    """Each sent piece wakes a process, which takes processor time from the engine."""
    assert coalesce_delay(pause, active) == pytest.approx(seconds)


def written(prepare):
    """Return what a client receives until the exchange ends; ``prepare`` gets the queue and the writer."""
    heard, ends = [], []

    async def send(message):
        heard.extend(map(protocol.decode_message, message["body"].splitlines()))
        ends.append(not message["more_body"])

    async def run():
        queue = AsyncEventQueue(WorkerMetrics())
        writer = EventWriter(queue, WorkerMetrics(), send)
        prepare(queue, writer)
        await asyncio.wait_for(writer.write(lambda: False), 20)

    asyncio.run(run())
    return heard, ends


def test_the_text_of_a_gathered_request_comes_when_it_ends():
    """In one piece, before the end; progress and other requests do not wait."""
    first = [TextDelta("a", "x"), RequestProgress("a", Phase.WRITING, 1), TextDelta("b", "z"), TextDelta("a", "y")]
    end = Finished("a", FinishReason.STOP)

    def prepare(queue, writer):
        writer.gather(["a"])
        for event in (*first, end):
            queue.emit(event)
        writer.end()

    heard, ends = written(prepare)
    assert [protocol.load_event(line["event"]) for line in heard] == [first[1], first[2], TextDelta("a", "xy"), end]
    assert ends == [True]


def test_an_error_is_the_last_line():
    """After the replies before it."""

    def prepare(_queue, writer):
        writer.reply(protocol.encode_message(count=[1]))
        writer.fail(OutOfMemory("tiny"))

    heard, ends = written(prepare)
    assert [next(iter(line)) for line in heard] == ["count", "failed"]
    assert ends == [True]


def test_nothing_is_sent_to_a_disconnected_client():
    """The exchange ends at once."""

    def prepare(queue, writer):
        writer.reply(protocol.encode_message(count=[1]))
        writer.client_gone = True
        queue.disconnect()

    assert written(prepare) == ([], [])
