"""The server of a worker: uvicorn on an inherited socket, for this user only, until it is idle.

It serves OpenAI's and Anthropic's endpoints, the streams of our own commands, status and stop.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from uvicorn.protocols.http.h11_impl import H11Protocol

from llmcli import __version__
from llmcli.config.engine_options import load_adapters
from llmcli.engine.llama import hardware
from llmcli.errors import OutputError
from llmcli.http_server import HttpServer
from llmcli.openai_api.http_errors import error_response
from llmcli.worker.protocol import STREAM_PATH
from llmcli.worker.runtime_dir import WorkerConfig, WorkerPaths, peer_credentials
from llmcli.worker.server.endpoints import MessagesEndpoints, OpenAIEndpoints
from llmcli.worker.server.engine_pool import EnginePool
from llmcli.worker.server.metrics import WorkerMetrics
from llmcli.worker.server.stream import StreamEndpoint

_POOL_THREADS = 16
"""Requests that are rendered and tokenized at once; the others wait."""


class WorkerApp:
    """What the endpoints share. ``shut_down`` ends the process; it returns False if that is not possible now."""

    def __init__(self, config: WorkerConfig, engines: EnginePool, shut_down: Callable[[], bool]) -> None:
        self.config = config
        self.metrics = WorkerMetrics()
        self._shut_down = shut_down
        pool = ThreadPoolExecutor(_POOL_THREADS, thread_name_prefix="requests")
        self.stream_endpoint = StreamEndpoint(engines, self.metrics, pool)
        names = tuple(dict.fromkeys(name for name in (config.name, config.model_id) if name))
        endpoints = OpenAIEndpoints(engines, self.metrics, pool, names)
        messages = MessagesEndpoints(engines, self.metrics, pool, names)
        self.app = Starlette(
            routes=[
                Route("/health", self.health),
                Route("/v1/models", endpoints.list_models),
                Route("/v1/chat/completions", endpoints.create_chat_completion, methods=["POST"]),
                Route("/v1/completions", endpoints.create_completion, methods=["POST"]),
                Route("/v1/responses", endpoints.create_response, methods=["POST"]),
                Route("/v1/responses/input_tokens", endpoints.count_input_tokens, methods=["POST"]),
                Route("/v1/messages", messages.create_message, methods=["POST"]),
                Route("/v1/messages/count_tokens", messages.count_message_tokens, methods=["POST"]),
                Route("/v1/embeddings", endpoints.create_embeddings, methods=["POST"]),
                Route("/v1/score", endpoints.score_candidates, methods=["POST"]),
                Route("/v1/count", endpoints.count_tokens, methods=["POST"]),
                Route("/v1/info", endpoints.describe_model, methods=["POST"]),
                Route("/llm/status", self.status),
                Route("/llm/stop", self.stop, methods=["POST"]),
                Route(STREAM_PATH, self.stream_endpoint, methods=["POST"]),
            ],
            exception_handlers={HTTPException: _http_exception_response},
        )
        self.app.router.redirect_slashes = False

    async def health(self, _request: Request) -> Response:
        """``GET /health``."""
        return JSONResponse({"status": "ok"})

    async def status(self, _request: Request) -> Response:
        """``GET /llm/status``: sizes in bytes, times in seconds."""
        metrics, config = self.metrics, self.config
        return JSONResponse(
            {
                "pid": os.getpid(),
                "model": config.name,
                "path": config.path,
                "adapters": [adapter.to_json() for adapter in load_adapters(config.adapters)],
                "memory": hardware.resident_memory(),
                "started": metrics.started_at,
                "requests": metrics.num_finished,
                "active": metrics.num_active,
                "prompt_tokens": metrics.prompt_tokens,
                "completion_tokens": metrics.completion_tokens,
                "tokens_per_second": metrics.tokens_per_second,
                "idle_seconds": metrics.idle_seconds,
                "idle_timeout": config.idle_timeout,
                "version": __version__,
                "log": config.log,
            }
        )

    async def stop(self, request: Request) -> Response:
        """``POST /llm/stop``: end; with ``{"only_idle": true}`` only if idle."""
        try:
            only_idle = bool((await request.json()).get("only_idle"))
        except (ValueError, AttributeError):
            return JSONResponse({"ends": False}, 400)
        return JSONResponse({"ends": not (only_idle and self.metrics.num_active) and self._shut_down()})


async def _http_exception_response(request: Request, problem: Exception) -> Response:
    """Reply in OpenAI's format that the path or its method does not exist."""
    assert isinstance(problem, HTTPException)
    return error_response(
        problem.status_code, f"{request.method} {request.url.path}: {problem.detail}", headers=problem.headers
    )


_GRACEFUL_SHUTDOWN_S = 5
"""Seconds that running answers have to finish when the process ends."""
_IDLE_POLL_S = 0.5
_MEASURE_AFTER_IDLE_S = 2.0
"""Idle seconds after which the model may be measured."""
_LOCK_TIMEOUT_S = 1.0


class _SameUserProtocol(H11Protocol):
    """HTTP for connections from processes of this user."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # asyncio calls it with a ``Transport``
        """Close a connection of another user before a byte of it is read."""
        connection = transport.get_extra_info("socket")
        super().connection_made(transport)
        if peer_credentials(connection)[1] != os.getuid():
            transport.abort()


class WorkerServer(HttpServer):
    """Serves ``engines`` on the socket ``listening``; ``write_log`` writes to the log."""

    def __init__(
        self,
        worker_config: WorkerConfig,
        engines: EnginePool,
        listening: socket.socket,
        write_log: Callable[[str], None],
    ) -> None:
        self._worker_config = worker_config
        self._engine_pool = engines
        self._listen_socket = listening
        self._write_log = write_log
        path = Path(listening.getsockname())
        self._paths = WorkerPaths(path.parent, path.stem)
        self._socket_inode = path.stat().st_ino
        self._worker_app = WorkerApp(worker_config, engines, self._stop_on_request)
        super().__init__(
            self._worker_app.app, _SameUserProtocol, write_log, timeout_graceful_shutdown=_GRACEFUL_SHUTDOWN_S
        )

    async def serve_worker(self) -> None:
        """Serve until the process has to end."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._on_signal, number)
        watching = asyncio.create_task(self._stop_when_idle())
        try:
            await self.serve([self._listen_socket])
        finally:
            watching.cancel()

    def _on_signal(self, number: int) -> None:
        self._write_log(f"ends: {signal.Signals(number).name}")
        if not self._unpublish_and_stop():
            self._begin_shutdown()

    def _stop_on_request(self) -> bool:
        """End at the user's request."""
        if not self._unpublish_and_stop():
            return False
        self._write_log("ends: asked to stop")
        return True

    def _unpublish_and_stop(self) -> bool:
        """Remove the socket, so that no client finds it any more, and end; False: another process holds the lock."""
        try:
            with self._paths.hold_lock(_LOCK_TIMEOUT_S) as ours:
                if not ours:
                    return False
                with contextlib.suppress(OSError):  # removed already, or another worker's
                    if self._paths.socket.stat().st_ino == self._socket_inode:
                        self._paths.remove_files()
        except OutputError as error:  # as after a logout, which removes the runtime directory
            self._write_log(f"leaves its socket: {error.subject}: {error.detail}")
        self._begin_shutdown()
        return True

    def _begin_shutdown(self) -> None:
        self.should_exit = True
        self._engine_pool.stop_loading()
        self._worker_app.stream_endpoint.close()

    async def _stop_when_idle(self) -> None:
        """End when the worker was idle for long enough; measure the model before that if it is due."""
        while True:
            await asyncio.sleep(min(_IDLE_POLL_S, self._worker_config.idle_timeout / 4))
            idle = self._worker_app.metrics.idle_seconds
            if idle >= _MEASURE_AFTER_IDLE_S:
                self._engine_pool.measure_if_due()
            if idle >= self._worker_config.idle_timeout and self._unpublish_and_stop():
                self._write_log(f"ends: idle for {idle:.0f} s")
                return
