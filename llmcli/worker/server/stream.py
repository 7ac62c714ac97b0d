"""The exchange in which a command runs: lines in both directions for as long as it lives (see ``protocol``)."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from starlette.types import Receive, Scope, Send

from llmcli.engine.engine import Engine
from llmcli.errors import InternalError, TemporaryFailure
from llmcli.errors.model_errors import DerivedWeightsMissing
from llmcli.types import Event, Finished, TextDelta
from llmcli.worker import protocol
from llmcli.worker.protocol import NDJSON_TYPE
from llmcli.worker.server.engine_pool import EnginePool
from llmcli.worker.server.event_queue import AsyncEventQueue
from llmcli.worker.server.metrics import WorkerMetrics, run_counted

_MAX_BATCH_REQUESTS = 32
"""Requests submitted at a time, so that those of other clients get in between."""
_LOADING_INTERVAL_S = 0.25
"""Seconds between two reports on the loading of the model."""


class StreamEndpoint:
    """An ASGI application for ``STREAM_PATH``."""

    def __init__(self, engines: EnginePool, metrics: WorkerMetrics, pool: ThreadPoolExecutor) -> None:
        self._engine_pool = engines
        self._metrics = metrics
        self._pool = pool
        self._open_streams: set[_CommandStream] = set()
        self.closing = False

    async def __call__(self, _scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one exchange."""
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", NDJSON_TYPE.encode())]})
        session = _CommandStream(self._engine_pool, self._metrics, self._pool, receive, send)
        self._open_streams.add(session)
        try:
            await session.run(lambda: self.closing)
        finally:
            self._open_streams.discard(session)

    def close(self) -> None:
        """Let idle exchanges end."""
        self.closing = True
        for session in self._open_streams:
            session.wake_writer()


class _CommandStream:
    """One exchange: executes the messages of ``MessageReader``, while ``EventWriter`` sends the results."""

    def __init__(
        self, engines: EnginePool, metrics: WorkerMetrics, pool: ThreadPoolExecutor, receive: Receive, send: Send
    ) -> None:
        self._engine_pool = engines
        self._metrics = metrics
        self._pool = pool
        self._queue = AsyncEventQueue(metrics)
        self._reader = MessageReader(receive)
        self._writer = EventWriter(self._queue, metrics, send)

    def wake_writer(self) -> None:
        """Wake the writer."""
        self._queue.wake()

    async def run(self, closing: Callable[[], bool]) -> None:
        """Serve until the client leaves, or until ``closing`` is set and the exchange is idle."""
        tasks = [asyncio.create_task(work()) for work in (self._read_messages, self._process_messages)]
        try:
            await self._writer.write(closing)
        finally:
            for task in tasks:
                task.cancel()

    async def _read_messages(self) -> None:
        await self._reader.read(self._writer.fail)
        self._writer.client_gone = True
        self._queue.disconnect()

    async def _process_messages(self) -> None:
        """Execute the messages in order."""
        try:
            start = await self._reader.next_message()
            options = protocol.load_options(start["options"])
            self._writer.coalesce_s = float(start.get("pause", 0.0))
            engine = self._engine_pool.acquire(options)
        except _DECODE_ERRORS as error:
            self._writer.fail(InternalError("worker", detail=f"invalid first message: {error}"))
            return
        reporting = asyncio.create_task(self._report_loading(engine)) if start.get("progress") else None
        try:
            await self._execute_messages(engine, [{"info": None}])  # every client asks for it first
            while True:
                await self._execute_messages(engine, await self._reader.next_batch(_MAX_BATCH_REQUESTS))
        except _DECODE_ERRORS as error:
            self._writer.fail(InternalError("worker", detail=f"invalid request: {error}"))
        except DerivedWeightsMissing as error:
            self._writer.fail(error)
        except TemporaryFailure:  # this worker is ending: a client without an answer goes to the next worker
            self._writer.end()
        except Exception as error:  # noqa: BLE001 (loading the model failed, or a bug: the client is told)
            self._writer.fail(error)
        finally:
            if reporting is not None:
                reporting.cancel()
            self._queue.disconnect()
            if self._queue.open_ids:
                engine.cancel(lambda sequence: sequence.sink is self._queue)
            self._engine_pool.release(options)

    async def _report_loading(self, engine: Engine) -> None:
        """Report how much of the model is loaded, until all of it is."""
        while (share := engine.loading_progress) is not None:
            self._writer.reply(protocol.encode_message(loading=share))
            await asyncio.sleep(_LOADING_INTERVAL_S)

    async def _execute_messages(self, engine: Engine, messages: list[dict[str, Any]]) -> None:
        requests = [protocol.load_request(message["submit"]) for message in messages if "submit" in message]
        if requests:
            self._writer.gather(request.id for request in requests if request.gathered)
            await self._queue.submit(engine, requests, self._pool)
        for message in messages:
            if "cancel" in message:
                self._cancel_request(engine, message["cancel"])
            elif "submit" not in message:
                self._writer.reply(
                    await run_counted(self._metrics, self._pool, _answer_query, engine, message, self._queue)
                )

    def _cancel_request(self, engine: Engine, wanted: str) -> None:
        engine.cancel(lambda sequence: sequence.sink is self._queue and sequence.request.id == wanted)


def _answer_query(engine: Engine, message: dict[str, Any], events: AsyncEventQueue) -> bytes:
    def gone() -> bool:
        return events.consumer_gone

    if "count" in message:
        counts, _ = engine.count([protocol.load_request(fields) for fields in message["count"]], gone)
        return protocol.encode_message(count=counts)
    if "work" in message:
        return protocol.encode_message(work=protocol.dump_stats(engine.stats()))
    if "info" in message:
        return protocol.encode_message(info=protocol.dump_info(engine.info(gone)))
    raise ValueError(f"unknown message: {', '.join(message)}")


_DECODE_ERRORS = (ValueError, TypeError, KeyError, AttributeError, RecursionError)
"""What parsing a malformed line, or a message with unknown fields, can raise."""


class MessageReader:
    """The messages of a client, queued as they arrive."""

    def __init__(self, receive: Receive) -> None:
        self._receive = receive
        self._messages: asyncio.Queue[dict[str, Any]] = asyncio.Queue()

    async def read(self, on_error: Callable[[InternalError], None]) -> None:
        """Queue messages until the client has sent all or left; ``on_error`` receives the errors of invalid ones."""
        rest = b""
        while True:
            message = await self._receive()
            if message["type"] == "http.disconnect":
                return
            *lines, rest = (rest + message.get("body", b"")).split(b"\n")
            try:
                for line in lines:
                    self._messages.put_nowait(protocol.decode_message(line))
            except _DECODE_ERRORS as error:
                on_error(InternalError("worker", detail=f"invalid message: {error}"))
            if not message.get("more_body"):
                return

    async def next_message(self) -> dict[str, Any]:
        """Wait for a message and return it."""
        return await self._messages.get()

    async def next_batch(self, most: int) -> list[dict[str, Any]]:
        """Wait for a message; return it and those that have already arrived after it, at most ``most``."""
        messages = [await self._messages.get()]
        while len(messages) < most and not self._messages.empty():
            messages.append(self._messages.get_nowait())
        return messages


_MAX_COALESCE_S = 1.0
"""Most seconds for which unwatched text is coalesced, however many requests there are."""


def coalesce_delay(pause: float, active: int) -> float:
    """Return the coalescing delay in seconds for one client with a minimum of ``pause``, among ``active`` requests.

    It grows with their number: all clients together cost the engine as much as two would.
    """
    return min(pause * max(1.0, active / 2), max(pause, _MAX_COALESCE_S))


class EventWriter:
    """Writes the events of ``queue``, and replies, to one client."""

    def __init__(self, queue: AsyncEventQueue, metrics: WorkerMetrics, send: Send) -> None:
        self.coalesce_s = 0.0
        """The minimum coalescing delay in seconds."""
        self.client_gone = False
        """Whether nothing more can be sent."""
        self._queue = queue
        self._metrics = metrics
        self._send = send
        self._replies: list[bytes] = []
        self._whole_texts: dict[str, list[str]] = {}  # texts of gathered requests: sent when they end
        self._ending = False

    def gather(self, request_ids: Iterable[str]) -> None:
        """Send the texts of these requests when they end."""
        self._whole_texts.update((request_id, []) for request_id in request_ids)

    def reply(self, line: bytes) -> None:
        """Send a line."""
        self._replies.append(line)
        self._queue.wake()

    def end(self) -> None:
        """End the exchange after what was queued."""
        self._ending = True
        self._queue.wake()

    def fail(self, error: Exception) -> None:
        """End the exchange with an error."""
        self._replies.append(protocol.encode_message(failed=protocol.dump_error(error)))
        self.end()

    async def write(self, closing: Callable[[], bool]) -> None:
        """Send events and replies as they become available; ``closing``: end as soon as no request is open."""
        while True:
            events = await self._queue.drain()
            if self.client_gone:
                return
            lines = [*filter(None, map(self._encode_event, events)), *self._replies]
            self._replies.clear()
            over = self._ending or (closing() and not self._queue.open_ids)
            if lines or over:
                await self._send({"type": "http.response.body", "body": b"".join(lines), "more_body": not over})
            if over:
                return
            if self.coalesce_s and self._queue.open_ids:
                await self._queue.coalesce(coalesce_delay(self.coalesce_s, self._metrics.num_active))

    def _encode_event(self, event: Event) -> bytes:
        """Return the line for an event; pieces of a gathered request are kept until it ends."""
        texts = self._whole_texts.get(event.id)
        if texts is None:
            return protocol.encode_message(event=protocol.dump_event(event))
        if isinstance(event, TextDelta):
            texts.append(event.text)
            return b""
        line = protocol.encode_message(event=protocol.dump_event(event))
        if isinstance(event, Finished):
            del self._whole_texts[event.id]
            if texts:
                return protocol.encode_message(event=protocol.dump_event(TextDelta(event.id, "".join(texts)))) + line
        return line
