"""The exchange in which a command runs: its lines come up, the worker's go down, for as long as it lives (see ``wire``)."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from starlette.types import Receive, Scope, Send

from llmcli.engine.engine import Engine
from llmcli.errors import InternalError, TryAgain
from llmcli.types import Event, Finished, TextPiece
from llmcli.worker import wire
from llmcli.worker.activity import Activity
from llmcli.worker.client import LINES
from llmcli.worker.engines import Engines
from llmcli.worker.feed import Feed
from llmcli.worker.threads import run_counted

_BAD = (ValueError, TypeError, KeyError, AttributeError, RecursionError)
"""What reading a line can raise that no client of ours wrote."""
_AT_ONCE = 32
"""Requests that are taken in one go, so that another client's come in between."""
_LONGEST_PAUSE = 1.0
"""Seconds for which text may gather that nobody watches, however many ask at once."""
_LOADING_INTERVAL_S = 0.25
"""Seconds between two reports on the loading of the model."""


class Sessions:
    """An ASGI application for the path of sessions."""

    def __init__(self, engines: Engines, activity: Activity, pool: ThreadPoolExecutor) -> None:
        self._engines = engines
        self._activity = activity
        self._pool = pool
        self._open: set[_Session] = set()
        self.closing = False

    async def __call__(self, _scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one exchange."""
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", LINES.encode())]})
        session = _Session(self._engines, self._activity, self._pool, receive, send)
        self._open.add(session)
        try:
            await session.run(lambda: self.closing)
        finally:
            self._open.discard(session)

    def close(self) -> None:
        """Let the exchanges end that have nothing to do."""
        self.closing = True
        for session in self._open:
            session.wake()


def gathering(pause: float, active: int) -> float:
    """Return for how many seconds the text of one client gathers that bears a ``pause``, among ``active`` requests.

    As much longer as there are more of them: all clients together cost the engine what two would.
    """
    return min(pause * max(1.0, active / 2), max(pause, _LONGEST_PAUSE))


class _Session:
    def __init__(
        self, engines: Engines, activity: Activity, pool: ThreadPoolExecutor, receive: Receive, send: Send
    ) -> None:
        self._engines = engines
        self._activity = activity
        self._pool = pool
        self._receive = receive
        self._send = send
        self._feed = Feed(activity)
        self._messages: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        self._replies: list[bytes] = []
        self._gathered: dict[str, list[str]] = {}  # texts of gathered requests: sent when they end
        self._pause = 0.0
        self._ended = False  # nobody reads what would be sent
        self._failed = False

    def wake(self) -> None:
        """Look whether there is anything to do."""
        self._feed.wake()

    async def run(self, closing: Callable[[], bool]) -> None:
        """Serve until the client goes, or ``closing`` while it has nothing to do."""
        tasks = [asyncio.create_task(work()) for work in (self._read, self._work)]
        try:
            await self._write(closing)
        finally:
            for task in tasks:
                task.cancel()

    # ---- up ------------------------------------------------------------------------------------------------------

    async def _read(self) -> None:
        """Queue the client's messages as they come."""
        rest = b""
        while True:
            message = await self._receive()
            if message["type"] == "http.disconnect":
                break
            *lines, rest = (rest + message.get("body", b"")).split(b"\n")
            try:
                for line in lines:
                    self._messages.put_nowait(wire.parse(line))
            except _BAD as error:
                self._fail(InternalError("worker", detail=f"not a message: {error}"))
            if not message.get("more_body"):
                break
        self._ended = True
        self._feed.leave()

    async def _work(self) -> None:
        """Do what the messages say, in their order."""
        try:
            start = await self._messages.get()
            options = wire.load_options(start["options"])
            self._pause = float(start.get("pause", 0.0))
            engine = self._engines.start(options)
        except _BAD as error:
            self._fail(InternalError("worker", detail=f"not a beginning: {error}"))
            return
        telling = asyncio.create_task(self._tell_loading(engine)) if start.get("progress") else None
        try:
            await self._do(engine, [{"info": None}])  # what every client asks first
            while True:
                messages = [await self._messages.get()]
                while len(messages) < _AT_ONCE and not self._messages.empty():
                    messages.append(self._messages.get_nowait())
                await self._do(engine, messages)
        except _BAD as error:
            self._fail(InternalError("worker", detail=f"not a request: {error}"))
        except TryAgain:  # this worker is ending: a client that is told nothing goes to the next one
            self._failed = True
            self._feed.wake()
        except Exception as error:  # noqa: BLE001 (what the model's loading raised, or a bug: told to the client)
            self._fail(error)
        finally:
            if telling is not None:
                telling.cancel()
            self._feed.leave()
            if self._feed.open:
                engine.cancel(lambda sequence: sequence.sink is self._feed)
            self._engines.release(options)

    async def _tell_loading(self, engine: Engine) -> None:
        """Tell a client that shows it how much of the model is loaded, until all of it is."""
        while (share := engine.loading) is not None:
            self._replies.append(wire.line(loading=share))
            self._feed.wake()
            await asyncio.sleep(_LOADING_INTERVAL_S)

    async def _do(self, engine: Engine, messages: list[dict[str, Any]]) -> None:
        requests = [wire.load_request(message["submit"]) for message in messages if "submit" in message]
        if requests:
            self._gathered.update((r.id, []) for r in requests if r.gathered)
            await self._feed.submit(engine, requests, self._pool)
        for message in messages:
            if "cancel" in message:
                self._cancel(engine, message["cancel"])
            elif "submit" not in message:
                reply = await run_counted(self._activity, self._pool, _reply, engine, message, self._feed)
                self._replies.append(reply)
                self._feed.wake()

    def _cancel(self, engine: Engine, wanted: str) -> None:
        engine.cancel(lambda sequence: sequence.sink is self._feed and sequence.request.id == wanted)

    def _fail(self, error: Exception) -> None:
        self._replies.append(wire.line(failed=wire.dump_error(error)))
        self._failed = True
        self._feed.wake()

    # ---- down ----------------------------------------------------------------------------------------------------

    async def _write(self, closing: Callable[[], bool]) -> None:
        """Send what there is, whenever there is something."""
        while True:
            events = await self._feed.take()
            if self._ended:
                return
            lines = [*filter(None, map(self._line, events)), *self._replies]
            self._replies.clear()
            over = self._failed or (closing() and not self._feed.open)
            if lines or over:
                await self._send({"type": "http.response.body", "body": b"".join(lines), "more_body": not over})
            if over:
                return
            if self._pause and self._feed.open:
                await self._feed.pause(gathering(self._pause, self._activity.active))

    def _line(self, event: Event) -> bytes:
        """Return the line for an event; pieces of a gathered request are kept until it ends."""
        texts = self._gathered.get(event.id)
        if texts is None:
            return wire.line(event=wire.dump_event(event))
        if isinstance(event, TextPiece):
            texts.append(event.text)
            return b""
        line = wire.line(event=wire.dump_event(event))
        if isinstance(event, Finished):
            del self._gathered[event.id]
            if texts:
                return wire.line(event=wire.dump_event(TextPiece(event.id, "".join(texts)))) + line
        return line


def _reply(engine: Engine, message: dict[str, Any], feed: Feed) -> bytes:
    def gone() -> bool:
        return feed.gone

    if "count" in message:
        counts, _ = engine.count([wire.load_request(fields) for fields in message["count"]], gone)
        return wire.line(count=counts)
    if "work" in message:
        return wire.line(work=wire.dump_work(engine.work()))
    if "info" in message:
        return wire.line(info=wire.dump_info(engine.info(gone)))
    raise ValueError(f"unknown: {', '.join(message)}")
