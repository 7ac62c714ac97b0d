"""The server's process: uvicorn on a socket, which listens at a TCP address or a path, until it is asked to stop."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import ipaddress
import logging
import os
import socket
import stat
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

from llmcli.child_processes import raise_descriptor_limit
from llmcli.errors import CannotListen
from llmcli.http_server import HttpServer
from llmcli.openai_api.http_errors import error_response
from llmcli.serve.batch_queue import BatchQueue
from llmcli.serve.gateway import Gateway
from llmcli.serve.middleware import AccessMiddleware, AccessPolicy
from llmcli.serve.worker_router import ModelProvider

_HEAD_TIMEOUT_S = 10.0
"""Seconds within which the head of a request must arrive."""
_KEEP_ALIVE_S = 30
"""Seconds for which an idle connection is kept."""
_POLL_S = 0.05
_BATCH_POLL_S = 0.2
_REAP_INTERVAL_S = 2.0
_GRACEFUL_SHUTDOWN_S = 2
"""Seconds for connections to close once their answers were written."""
_REQUEST_LOGGER = "uvicorn.requests"


class _HeadTimeoutProtocol(H11Protocol):
    """HTTP that waits at most ``_HEAD_TIMEOUT_S`` for the head of a request, however slowly its bytes arrive."""

    _head_timer: asyncio.TimerHandle | None = None

    def __init__(self, *given: Any, **named: Any) -> None:
        super().__init__(*given, **named)
        self.logger = logging.getLogger(_REQUEST_LOGGER)

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # asyncio calls it with a ``Transport``
        super().connection_made(transport)
        self._start_head_timer()

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        if self.cycle is not None and not self.cycle.response_complete:
            self._cancel_head_timer()
        elif self._head_timer is None:
            self._start_head_timer()

    def connection_lost(self, exc: Exception | None) -> None:
        self._cancel_head_timer()
        super().connection_lost(exc)

    def send_400_response(self, msg: str) -> None:  # noqa: ARG002 (uvicorn's)
        """Reply in OpenAI's format that the data received is not HTTP."""
        if self.conn.our_state in {h11.IDLE, h11.SEND_RESPONSE}:
            response = error_response(400, "the request is not HTTP", headers={"Connection": "close"})
            parts = (
                h11.Response(status_code=400, headers=response.raw_headers, reason=b"Bad Request"),
                h11.Data(data=bytes(response.body)),
                h11.EndOfMessage(),
            )
            self.transport.write(b"".join(filter(None, map(self.conn.send, parts))))
        self.transport.close()

    def _start_head_timer(self) -> None:
        self._head_timer = self.loop.call_later(_HEAD_TIMEOUT_S, self._on_head_timeout)

    def _on_head_timeout(self) -> None:
        self._head_timer = None
        if self.cycle is None or self.cycle.response_complete:
            self.transport.abort()

    def _cancel_head_timer(self) -> None:
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None


class ApiServer(HttpServer):
    """Serves ``models`` under ``policy``; ``options`` as in ``Gateway``; ``write_line`` takes a line about a problem.

    ``verbose``: lines about data that is not HTTP are written too, which clients can send without a token. ``batches``:
    the queue of batches, which this server advances while it runs.
    """

    def __init__(
        self,
        models: ModelProvider,
        options: dict[str, Any],
        policy: AccessPolicy,
        write_line: Callable[[str], None],
        *,
        verbose: bool,
        batches: BatchQueue | None,
    ) -> None:
        self._gateway = Gateway(models, options, batches)
        self._batches = batches
        self._write_line = write_line
        self.middleware = AccessMiddleware(self._gateway.app, policy, write_line)
        super().__init__(
            self.middleware,
            _HeadTimeoutProtocol,
            write_line,
            proxy_headers=False,
            timeout_keep_alive=_KEEP_ALIVE_S,
            timeout_graceful_shutdown=_GRACEFUL_SHUTDOWN_S,
        )
        logging.getLogger(_REQUEST_LOGGER).setLevel(logging.WARNING if verbose else logging.ERROR)

    def run_until(self, listening: socket.socket, stop: Callable[[], bool]) -> None:
        """Serve on ``listening`` until ``stop`` is true; then finish running requests and refuse new ones (503)."""
        raise_descriptor_limit()
        gc.freeze()  # imported modules stay: garbage collection can skip them
        with contextlib.closing(self._gateway):
            asyncio.run(self._serve_until(listening, stop))

    async def _serve_until(self, listening: socket.socket, stop: Callable[[], bool]) -> None:
        tasks = [asyncio.create_task(self._wait_for_stop(stop)), asyncio.create_task(self._run_batches(stop))]
        try:
            await self.serve([listening])
        finally:
            for task in tasks:
                task.cancel()

    async def _run_batches(self, stop: Callable[[], bool]) -> None:
        """Advance the batches until the server stops, then end the one that runs: it goes on at the next start."""
        if self._batches is None:
            return
        try:
            while not stop():
                await asyncio.to_thread(self._batches.advance)
                await asyncio.sleep(_BATCH_POLL_S)
        except Exception as problem:  # noqa: BLE001 (a bug ends the batches, with a line for who runs the server)
            self._write_line(f"internal error, no more batches: {type(problem).__name__}: {problem}")
        finally:
            await asyncio.to_thread(self._batches.close)

    async def _wait_for_stop(self, stop: Callable[[], bool]) -> None:
        loop = asyncio.get_running_loop()
        reaped = loop.time()
        while not stop():
            await asyncio.sleep(_POLL_S)
            if loop.time() >= reaped + _REAP_INTERVAL_S:
                self._gateway.reap_workers()
                reaped = loop.time()
        self.middleware.closing = True
        while self.middleware.num_running:  # noqa: ASYNC110 (it ends once in the life of the process)
            await asyncio.sleep(_POLL_S)
        self.should_exit = True


_LISTEN_BACKLOG = 1024


@contextlib.contextmanager
def listen_tcp(host: str, port: int) -> Iterator[socket.socket]:
    """Yield a socket that listens on ``host`` (an address or a name of this machine). Raises ``CannotListen``."""
    where = f"{host}:{port}"
    with contextlib.ExitStack() as stack:
        try:
            found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
            family, address = min((item[0], item[4]) for item in found)  # IPv4 where a name means both
            listening = stack.enter_context(socket.create_server(address[:2], family=family, backlog=_LISTEN_BACKLOG))
        except (OSError, UnicodeError) as error:
            reason = _os_error_text(error)
            raise CannotListen(where, detail=reason[:1].lower() + reason[1:]) from error
        yield listening


@contextlib.contextmanager
def listen_unix(path: Path) -> Iterator[socket.socket]:
    """Yield a socket that listens at ``path`` for this user only; remove it afterwards. Raises ``CannotListen``.

    A socket that a server left behind when it was killed is replaced.
    """
    listening = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    with listening:
        before = os.umask(0o177)  # the file is private from its creation on
        try:
            _remove_stale_socket(path)
            listening.bind(os.fspath(path))
            listening.listen(_LISTEN_BACKLOG)
        except OSError as error:
            raise CannotListen(str(path), detail=(error.strerror or str(error)).lower()) from error
        finally:
            os.umask(before)
        try:
            yield listening
        finally:
            path.unlink(missing_ok=True)


def _os_error_text(error: OSError | UnicodeError) -> str:
    """Return the system's message without Python's additions; name resolution has its own error numbers."""
    if isinstance(error, OSError) and error.errno and not isinstance(error, socket.gaierror):
        return os.strerror(error.errno)
    return (isinstance(error, OSError) and error.strerror) or str(error)


def _remove_stale_socket(path: Path) -> None:
    with contextlib.suppress(FileNotFoundError):
        if not stat.S_ISSOCK(path.lstat().st_mode):
            raise CannotListen(str(path), detail="a file of that name exists")
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as trial:
            try:
                trial.connect(os.fspath(path))
            except ConnectionRefusedError:
                path.unlink()
                return
        raise CannotListen(str(path), detail="another process listens there")


def is_loopback(listening: socket.socket) -> bool:
    """Return whether the socket can be reached from this machine alone."""
    return listening.family == socket.AF_UNIX or ipaddress.ip_address(listening.getsockname()[0]).is_loopback


def is_wildcard(listening: socket.socket) -> bool:
    """Return whether it listens on all addresses of the machine."""
    return listening.family != socket.AF_UNIX and ipaddress.ip_address(listening.getsockname()[0]).is_unspecified


def socket_url(listening: socket.socket) -> str:
    """Return where to reach it: ``http://ADDRESS:PORT``, or ``unix:PATH``."""
    if listening.family == socket.AF_UNIX:
        return f"unix:{listening.getsockname()}"
    host, port = listening.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
