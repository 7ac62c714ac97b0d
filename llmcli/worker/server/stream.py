"""The exchange in which a command runs: lines in both directions for as long as it lives (see ``protocol``)."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from starlette.types import Receive, Scope, Send

from llmcli.engine.engine import Engine
from llmcli.errors import InternalError, TemporaryFailure
from llmcli.types import Event, Finished, TextDelta
from llmcli.worker import protocol
from llmcli.worker.protocol import NDJSON_TYPE
from llmcli.worker.server.engine_pool import EnginePool
from llmcli.worker.server.event_queue import AsyncEventQueue
from llmcli.worker.server.metrics import WorkerMetrics
from llmcli.worker.server.thread_pool import run_counted

_DECODE_ERRORS = (ValueError, TypeError, KeyError, AttributeError, RecursionError)
"""What reading a malformed line can raise."""
_MAX_BATCH_REQUESTS = 32
"""Requests that are submitted at once, so that those of other clients come in between."""
_MAX_COALESCE_S = 1.0
"""Most seconds for which unwatched text is coalesced, however many requests there are."""
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


def coalesce_delay(pause: float, active: int) -> float:
    """Return the coalescing delay in seconds for one client with a minimum of ``pause``, among ``active`` requests.

    It grows with their number: all clients together cost the engine as much as two would.
    """
    return min(pause * max(1.0, active / 2), max(pause, _MAX_COALESCE_S))


class _CommandStream:
    def __init__(
        self, engines: EnginePool, metrics: WorkerMetrics, pool: ThreadPoolExecutor, receive: Receive, send: Send
    ) -> None:
        self._engine_pool = engines
        self._metrics = metrics
        self._pool = pool
        self._receive = receive
        self._send = send
        self._queue = AsyncEventQueue(metrics)
        self._messages: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        self._replies: list[bytes] = []
        self._whole_texts: dict[str, list[str]] = {}  # texts of gathered requests: sent when they end
        self._coalesce_s = 0.0
        self._client_gone = False  # nothing more can be sent
        self._failed = False

    def wake_writer(self) -> None:
        """Wake the writer."""
        self._queue.wake()

    async def run(self, closing: Callable[[], bool]) -> None:
        """Serve until the client leaves, or ``closing`` while it is idle."""
        tasks = [asyncio.create_task(work()) for work in (self._read_messages, self._process_messages)]
        try:
            await self._write_events(closing)
        finally:
            for task in tasks:
                task.cancel()

    # ---- up ------------------------------------------------------------------------------------------------------

    async def _read_messages(self) -> None:
        """Queue the client's messages as they come."""
        rest = b""
        while True:
            message = await self._receive()
            if message["type"] == "http.disconnect":
                break
            *lines, rest = (rest + message.get("body", b"")).split(b"\n")
            try:
                for line in lines:
                    self._messages.put_nowait(protocol.decode_message(line))
            except _DECODE_ERRORS as error:
                self._report_failure(InternalError("worker", detail=f"not a message: {error}"))
            if not message.get("more_body"):
                break
        self._client_gone = True
        self._queue.disconnect()

    async def _process_messages(self) -> None:
        """Execute the messages in order."""
        try:
            start = await self._messages.get()
            options = protocol.load_options(start["options"])
            self._coalesce_s = float(start.get("pause", 0.0))
            engine = self._engine_pool.acquire(options)
        except _DECODE_ERRORS as error:
            self._report_failure(InternalError("worker", detail=f"not a beginning: {error}"))
            return
        telling = asyncio.create_task(self._report_loading(engine)) if start.get("progress") else None
        try:
            await self._execute_messages(engine, [{"info": None}])  # every client asks for it first
            while True:
                messages = [await self._messages.get()]
                while len(messages) < _MAX_BATCH_REQUESTS and not self._messages.empty():
                    messages.append(self._messages.get_nowait())
                await self._execute_messages(engine, messages)
        except _DECODE_ERRORS as error:
            self._report_failure(InternalError("worker", detail=f"not a request: {error}"))
        except TemporaryFailure:  # this worker is ending: a client that gets no answer goes to the next one
            self._failed = True
            self._queue.wake()
        except Exception as error:  # noqa: BLE001 (what the model's loading raised, or a bug: told to the client)
            self._report_failure(error)
        finally:
            if telling is not None:
                telling.cancel()
            self._queue.disconnect()
            if self._queue.open_ids:
                engine.cancel(lambda sequence: sequence.sink is self._queue)
            self._engine_pool.release(options)

    async def _report_loading(self, engine: Engine) -> None:
        """Report how much of the model is loaded, until all of it is."""
        while (share := engine.loading_progress) is not None:
            self._replies.append(protocol.encode_message(loading=share))
            self._queue.wake()
            await asyncio.sleep(_LOADING_INTERVAL_S)

    async def _execute_messages(self, engine: Engine, messages: list[dict[str, Any]]) -> None:
        requests = [protocol.load_request(message["submit"]) for message in messages if "submit" in message]
        if requests:
            self._whole_texts.update((r.id, []) for r in requests if r.gathered)
            await self._queue.submit(engine, requests, self._pool)
        for message in messages:
            if "cancel" in message:
                self._cancel_request(engine, message["cancel"])
            elif "submit" not in message:
                reply = await run_counted(self._metrics, self._pool, _answer_query, engine, message, self._queue)
                self._replies.append(reply)
                self._queue.wake()

    def _cancel_request(self, engine: Engine, wanted: str) -> None:
        engine.cancel(lambda sequence: sequence.sink is self._queue and sequence.request.id == wanted)

    def _report_failure(self, error: Exception) -> None:
        self._replies.append(protocol.encode_message(failed=protocol.dump_error(error)))
        self._failed = True
        self._queue.wake()

    # ---- down ----------------------------------------------------------------------------------------------------

    async def _write_events(self, closing: Callable[[], bool]) -> None:
        """Send events and replies as they become available."""
        while True:
            events = await self._queue.drain()
            if self._client_gone:
                return
            lines = [*filter(None, map(self._encode_event, events)), *self._replies]
            self._replies.clear()
            over = self._failed or (closing() and not self._queue.open_ids)
            if lines or over:
                await self._send({"type": "http.response.body", "body": b"".join(lines), "more_body": not over})
            if over:
                return
            if self._coalesce_s and self._queue.open_ids:
                await self._queue.coalesce(coalesce_delay(self._coalesce_s, self._metrics.num_active))

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
    raise ValueError(f"unknown: {', '.join(message)}")
