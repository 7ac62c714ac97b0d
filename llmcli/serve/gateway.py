"""The server's application: it owns no model, and hands each request on to the worker of the model that it names."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Protocol

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from llmcli.errors import LlmError, TemporaryFailure
from llmcli.openai_api.fields import OPTIONS_HEADER
from llmcli.openai_api.http_errors import error_response, exception_response
from llmcli.openai_api.responses import dump_model
from llmcli.serve import openapi
from llmcli.serve.connection_pool import ConnectionLost, WorkerConnection, WorkerConnectionPool
from llmcli.serve.liveness import SILENCE_S, STARTUP_SILENCE_S, LivenessMonitor
from llmcli.worker.client.launcher import WorkerLauncher

FORWARDED_PATHS = ("/v1/chat/completions", "/v1/completions", "/v1/embeddings", "/v1/score", "/v1/count")
_POOL_THREADS = 8
"""Models that are looked up, verified and started at once."""
_MAX_TRIES = 3


@dataclass(frozen=True, slots=True)
class ListedModel:
    """A model on this machine; ``created``: seconds since 1970."""

    name: str
    created: int


class ModelProvider(Protocol):
    """The models that are served. Its methods may take long and are called in threads."""

    def list_models(self) -> Sequence[ListedModel]:
        """Return the models on this machine."""

    def launcher_for(self, name: str | None) -> WorkerLauncher:
        """Return what finds or starts the worker of a model (None: the default). Raises ``LlmError``."""


class Gateway:
    """What the endpoints share. ``options``: the engine options for the workers (``protocol.dump_options``)."""

    def __init__(self, models: ModelProvider, options: dict[str, Any]) -> None:
        self._model_provider = models
        self._request_headers = f"Content-Type: application/json\r\n{OPTIONS_HEADER}: {json.dumps(options)}\r\n"
        self._pool = ThreadPoolExecutor(_POOL_THREADS, thread_name_prefix="models")
        self._connections = WorkerConnectionPool()
        self._launchers: dict[str, WorkerLauncher] = {}
        self._start_locks: dict[str, asyncio.Lock] = {}
        self._responsive_keys: set[str] = set()
        self.app = Starlette(
            routes=[
                Route("/health", _health_endpoint),
                Route("/openapi.json", _openapi_endpoint),
                Route("/v1/models", self.list_models),
                Route("/v1/models/{name:path}", self.get_model),
                *(Route(path, _ForwardEndpoint(self, path), methods=["POST"]) for path in FORWARDED_PATHS),
            ],
            exception_handlers={HTTPException: _http_exception_response},
        )

    async def list_models(self, _request: Request) -> Response:
        """``GET /v1/models``."""
        listed = await self._run_in_pool(self._model_provider.list_models)
        return JSONResponse({"object": "list", "data": [dump_model(model.name, model.created) for model in listed]})

    async def get_model(self, request: Request) -> Response:
        """``GET /v1/models/NAME``."""
        name = request.path_params["name"]
        for model in await self._run_in_pool(self._model_provider.list_models):
            if model.name == name:
                return JSONResponse(dump_model(model.name, model.created))
        return error_response(404, f"there is no model {name!r} here", param="model", code="model_not_found")

    async def _run_in_pool(self, function: Callable[..., Any], *given: Any) -> Any:
        return await asyncio.get_running_loop().run_in_executor(self._pool, function, *given)

    async def launcher_for(self, name: str | None) -> WorkerLauncher:
        """Return the launcher of the worker for a model: one for each worker. Raises ``LlmError``."""
        found: WorkerLauncher = await self._run_in_pool(self._model_provider.launcher_for, name)
        return self._launchers.setdefault(found.paths.key, found)

    async def connect_worker(self, launcher: WorkerLauncher) -> WorkerConnection:
        """Return a connection to a worker, one that is kept, or a new one, to a worker that is started if need be."""
        kept = self._connections.acquire(launcher.paths.key)
        if kept is not None:
            return kept
        async with self._start_locks.setdefault(
            launcher.paths.key, asyncio.Lock()
        ):  # one thread at a time uses a launcher
            connecting = asyncio.ensure_future(self._run_in_pool(launcher.connect))
            try:
                connected = await asyncio.shield(connecting)
            except asyncio.CancelledError:  # the client left, but the thread still uses the launcher
                with contextlib.suppress(LlmError):
                    (await connecting).close()
                raise
            if launcher.spawned:
                self._responsive_keys.discard(launcher.paths.key)
            return await WorkerConnection.from_socket(connected)

    async def send_request(
        self, launcher: WorkerLauncher, path: str, body: bytes
    ) -> tuple[WorkerConnection, int, list[tuple[bytes, bytes]]]:
        """Send a request to a worker; return the connection with the answer's body, its status and its headers.

        A kept connection that has just ended is replaced. Raises the cause where the worker ends instead of answering,
        and ``TemporaryFailure`` where it does not respond.
        """
        for _ in range(_MAX_TRIES):
            connection = await self.connect_worker(launcher)
            watch = self.monitor_connection(launcher, connection)
            try:
                status, headers = await connection.send_request(path, self._request_headers, body)
            except ConnectionLost:
                connection.close()
                if not connection.reused or watch.unresponsive:
                    raise await self.find_failure_reason(launcher, watch) from None
            except BaseException:
                connection.close()
                raise
            else:
                self._responsive_keys.add(launcher.paths.key)
                return connection, status, headers
            finally:
                watch.stop()
        raise TemporaryFailure("the worker", detail="it ends whenever it is asked")

    def monitor_connection(self, launcher: WorkerLauncher, connection: WorkerConnection) -> LivenessMonitor:
        """Watch whether a worker responds; one that has never answered may still be starting."""
        return LivenessMonitor(
            connection,
            launcher.paths.socket,
            SILENCE_S if launcher.paths.key in self._responsive_keys else STARTUP_SILENCE_S,
        )

    async def find_failure_reason(self, launcher: WorkerLauncher, watch: LivenessMonitor) -> LlmError:
        """Return why a connection to a worker ended."""
        if watch.unresponsive:
            return TemporaryFailure("the worker", detail=f"it stands still; try: llm worker stop {launcher.pid}")
        cause: LlmError = await self._run_in_pool(launcher.find_crash_reason)
        return cause

    def release_connection(self, launcher: WorkerLauncher, connection: WorkerConnection) -> None:
        """Keep a connection, or end one whose answer was not read to its end."""
        self._connections.release(launcher.paths.key, connection)

    def reap_workers(self) -> None:
        """Reap the child processes of workers that have ended."""
        for launcher in self._launchers.values():
            launcher.reap_child()

    def close(self) -> None:
        """End the connections to workers; the workers stay until they are idle."""
        self._connections.close()
        self._pool.shutdown(wait=False, cancel_futures=True)


class _ForwardEndpoint:
    """The endpoint of one path: the worker's bytes go back as they are."""

    def __init__(self, server: Gateway, path: str) -> None:
        self._gateway = server
        self._path = path

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        body = (await receive()).get("body", b"")
        answering = asyncio.current_task()
        watching = asyncio.create_task(_cancel_on_disconnect(receive, answering))
        try:
            await self._forward_request(body, scope, receive, send)
        except asyncio.CancelledError:
            if not watching.done():  # the client is still there
                raise
        finally:
            watching.cancel()

    async def _forward_request(self, body: bytes, scope: Scope, receive: Receive, send: Send) -> None:
        server = self._gateway
        try:
            name, fields = _parse_model_name(body)
            launcher = await server.launcher_for(name)
            if name not in (
                None,
                "",
                launcher.config.name,
                launcher.config.model_id,
            ):  # an alias, which workers do not know
                body = json.dumps({**fields, "model": launcher.config.name}).encode()
            connection, status, headers = await server.send_request(launcher, self._path, body)
        except ValueError as problem:
            await error_response(400, f"the body is not JSON: {str(problem).partition(';')[0]}")(scope, receive, send)
            return
        except LlmError as problem:
            response = exception_response(problem)
            if isinstance(problem, TemporaryFailure):
                response.headers["retry-after"] = str(max(1, round(problem.retry_after or 1)))
            await response(scope, receive, send)
            return
        watch = server.monitor_connection(launcher, connection)
        try:
            kept = [(name, value) for name, value in headers if name not in {b"connection", b"transfer-encoding"}]
            await send({"type": "http.response.start", "status": status, "headers": kept})
            async for piece in connection.iter_body():
                await send({"type": "http.response.body", "body": piece, "more_body": True})
        except ConnectionLost:
            await _send_stream_error(await server.find_failure_reason(launcher, watch), headers, send)
        finally:
            watch.stop()
            server.release_connection(launcher, connection)
        await send({"type": "http.response.body", "body": b"", "more_body": False})


async def _send_stream_error(cause: LlmError, headers: list[tuple[bytes, bytes]], send: Send) -> None:
    """Send an error in the middle of a stream; the stream then lacks [DONE] and a finish_reason too."""
    if any(name == b"content-type" and b"event-stream" in value for name, value in headers):
        data = b"data: " + bytes(exception_response(cause).body) + b"\n\n"
        await send({"type": "http.response.body", "body": data, "more_body": True})


async def _cancel_on_disconnect(receive: Receive, task: asyncio.Task[Any] | None) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
    if task is not None:
        task.cancel()


def _parse_model_name(body: bytes) -> tuple[str | None, dict[str, Any]]:
    """Return the model that a body names, and its fields; the worker checks everything else.

    Raises ``ValueError`` for what is no JSON.
    """
    try:
        fields = json.loads(body)
    except RecursionError:
        raise ValueError("it nests too deeply") from None
    if not isinstance(fields, dict):
        return None, {}
    name = fields.get("model")
    return (name or None) if isinstance(name, str) else None, fields


async def _health_endpoint(_request: Request) -> Response:
    return JSONResponse({"status": "ok"})


async def _openapi_endpoint(_request: Request) -> Response:
    return JSONResponse(openapi.build_document())


async def _http_exception_response(_request: Request, problem: Exception) -> Response:
    status = getattr(problem, "status_code", 500)
    return error_response(
        status, {404: "there is no such path", 405: "this path is asked in another way"}.get(status, "failed")
    )
