"""The server's process: uvicorn on a socket that listens already, until somebody says to end."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import logging
import resource
import socket
from collections.abc import Callable, Iterator
from typing import Any

import h11
import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

from llmcli.serve.app import Models
from llmcli.serve.app import Server as Application
from llmcli.serve.guard import Guard, Rules
from llmcli.worker import logs
from llmcli.worker.answers import error

_HEAD = 10.0
"""Seconds in which the head of a request has to come."""
_KEEP = 30
"""Seconds for which a connection is kept without a request."""
_LOOK = 0.05
_REAP = 2.0
_GRACE = 2
"""Seconds for connections to close once their answers were written."""
_DESCRIPTORS = 8192
_REQUESTS = "uvicorn.requests"


class _Patient(H11Protocol):
    """HTTP that waits for the head of a request no longer than ``_HEAD``, however slowly bytes of it drop in."""

    _waiting: asyncio.TimerHandle | None = None

    def __init__(self, *given: Any, **named: Any) -> None:
        super().__init__(*given, **named)
        self.logger = logging.getLogger(_REQUESTS)

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._wait()

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        if self.cycle is not None and not self.cycle.response_complete:
            self._stop_waiting()
        elif self._waiting is None:
            self._wait()

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop_waiting()
        super().connection_lost(exc)

    def send_400_response(self, msg: str) -> None:  # noqa: ARG002 (uvicorn's)
        """Say in OpenAI's shape that what came is not HTTP."""
        if self.conn.our_state in {h11.IDLE, h11.SEND_RESPONSE}:
            response = error(400, "what came is not HTTP", headers={"Connection": "close"})
            parts = (
                h11.Response(status_code=400, headers=response.raw_headers, reason=b"Bad Request"),
                h11.Data(data=bytes(response.body)),
                h11.EndOfMessage(),
            )
            self.transport.write(b"".join(filter(None, map(self.conn.send, parts))))
        self.transport.close()

    def _wait(self) -> None:
        self._waiting = self.loop.call_later(_HEAD, self._too_slow)

    def _too_slow(self) -> None:
        self._waiting = None
        if self.cycle is None or self.cycle.response_complete:
            self.transport.abort()

    def _stop_waiting(self) -> None:
        if self._waiting is not None:
            self._waiting.cancel()
            self._waiting = None


class Server(uvicorn.Server):
    """Serves ``models`` under ``rules``; ``options`` as in ``app.Server``; ``say`` takes a line about what is wrong.

    ``verbose``: it is told also of requests that are no HTTP, which anybody can send without a token.
    """

    def __init__(
        self,
        models: Models,
        options: dict[str, Any],
        rules: Rules,
        say: Callable[[str], None] = lambda _: None,
        *,
        verbose: bool = False,
    ) -> None:
        self._application = Application(models, options)
        self.guard = Guard(self._application.app, rules, say)
        logs.tell(say)
        logging.getLogger(_REQUESTS).setLevel(logging.WARNING if verbose else logging.ERROR)
        config = uvicorn.Config(
            self.guard,
            http=_Patient,
            loop="asyncio",
            ws="none",
            lifespan="off",
            log_config=None,
            access_log=False,
            server_header=False,
            proxy_headers=False,
            timeout_keep_alive=_KEEP,
            timeout_graceful_shutdown=_GRACE,
        )
        super().__init__(config)

    def run_until(self, listening: socket.socket, stop: Callable[[], bool]) -> None:
        """Serve on ``listening`` until ``stop`` says so; then what runs comes to its end, and what comes gets a 503."""
        _allow_many_connections()
        gc.freeze()  # what was imported stays: collections need not look at it
        with contextlib.closing(self._application):
            asyncio.run(self._serve_until(listening, stop))

    async def _serve_until(self, listening: socket.socket, stop: Callable[[], bool]) -> None:
        watching = asyncio.create_task(self._watch(stop))
        try:
            await self.serve([listening])
        finally:
            watching.cancel()

    async def _watch(self, stop: Callable[[], bool]) -> None:
        loop = asyncio.get_running_loop()
        reaped = loop.time()
        while not stop():
            await asyncio.sleep(_LOOK)
            if loop.time() >= reaped + _REAP:
                self._application.reap()
                reaped = loop.time()
        self.guard.closing = True
        while self.guard.running:  # noqa: ASYNC110 (it ends once in the life of the process)
            await asyncio.sleep(_LOOK)
        self.should_exit = True

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Leave the signals alone: the command has set what happens at them."""
        yield


def _allow_many_connections() -> None:
    """Raise the limit on descriptors as far as the system lets everybody."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _DESCRIPTORS if hard == resource.RLIM_INFINITY else min(_DESCRIPTORS, hard)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        with contextlib.suppress(OSError, ValueError):  # then there are fewer
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
