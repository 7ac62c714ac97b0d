"""The server's application: it owns no model, and forwards each request to the worker of the requested model."""

from __future__ import annotations

import asyncio
import datetime as dt
import json
from collections.abc import Sequence
from typing import Any

from starlette.applications import Starlette
from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from llmcli.anthropic_api.anthropic_http_errors import MESSAGES_PATH, adapt_error, dump_error_event, speaks_anthropic
from llmcli.errors import LlmError, MissingError, ModelNotDownloaded, TemporaryFailure
from llmcli.openai_api.event_builder import encode_named_event
from llmcli.openai_api.http_errors import dump_exception, error_response
from llmcli.openai_api.responses import dump_model
from llmcli.openai_api.scoring import LABELS_FIELD
from llmcli.serve.batch_endpoints import BATCHES_PATH, FILES_PATH, BatchEndpoints
from llmcli.serve.batch_queue import BatchQueue
from llmcli.serve.connection_pool import ConnectionLost
from llmcli.serve.worker_router import ListedModel, ModelProvider, WorkerRouter

_RESPONSES_PATH = "/v1/responses"
FORWARDED_PATHS = (
    "/v1/chat/completions", "/v1/completions", _RESPONSES_PATH, f"{_RESPONSES_PATH}/input_tokens",
    MESSAGES_PATH, f"{MESSAGES_PATH}/count_tokens",
    "/v1/embeddings", "/v1/score", "/v1/count", "/v1/info",
)  # fmt: skip
_LABEL_PATHS = frozenset({"/v1/score", "/v1/count", "/v1/info"})
"""Paths whose requests may ask for the weights that label."""

_OWN_HEADERS = frozenset({b"connection", b"transfer-encoding", b"date"})
"""Headers of a worker's answer that this server writes itself."""


class Gateway:
    """What the endpoints share. ``options``: the engine options for the workers (``protocol.dump_options``).

    ``batches``: the queue of batches, None for a server without them.
    """

    def __init__(self, models: ModelProvider, options: dict[str, Any], batches: BatchQueue | None) -> None:
        self._router = WorkerRouter(models, options)
        self.app = Starlette(
            routes=[
                Route("/health", _health_endpoint),
                Route("/v1/models", self.list_models),
                Route("/v1/models/{name:path}", self.get_model),
                *(Route(path, _ForwardEndpoint(self._router, path), methods=["POST"]) for path in FORWARDED_PATHS),
                *([] if batches is None else BatchEndpoints(batches).routes()),
            ],
            exception_handlers={HTTPException: _http_exception_response},
        )

    async def list_models(self, request: Request) -> Response:
        """``GET /v1/models``."""
        listed = await self._router.list_models()
        if _is_anthropic(request.scope):
            return JSONResponse(_dump_model_page([(model.name, model.created) for model in listed]))
        return JSONResponse({"object": "list", "data": [_dump_listed(model) for model in listed]})

    async def get_model(self, request: Request) -> Response:
        """``GET /v1/models/NAME``."""
        name = request.path_params["name"]
        for model in await self._router.list_models():
            if model.name == name:
                is_anthropic = _is_anthropic(request.scope)
                return JSONResponse(_dump_model_info(name, model.created) if is_anthropic else _dump_listed(model))
        missing = error_response(404, f"there is no model {name!r} here", param="model", code="model_not_found")
        return adapt_error(missing, request.scope)

    def reap_workers(self) -> None:
        """Reap the child processes of workers that have ended."""
        self._router.reap_workers()

    def close(self) -> None:
        """End the connections to workers; the workers stay until they are idle."""
        self._router.close()


class _ForwardEndpoint:
    """The endpoint of one path: it returns the worker's bytes unchanged."""

    def __init__(self, router: WorkerRouter, path: str) -> None:
        self._router = router
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
        router = self._router
        try:
            name, fields = _parse_model_name(body)
            labels = self._path in _LABEL_PATHS and fields.get(LABELS_FIELD) is True
            route = await router.route_for(name, labels=labels)
            launcher = route.launcher
            if name not in (
                None,
                "",
                launcher.config.name,
                launcher.config.model_id,
            ):  # an alias, which workers do not know
                body = json.dumps({**fields, "model": launcher.config.name}).encode()
            connection, status, headers = await router.send_request(route, self._path, body)
        except ValueError as problem:
            refusal = error_response(400, f"the body is not JSON: {str(problem).partition(';')[0]}")
            await adapt_error(refusal, scope)(scope, receive, send)
            return
        except LlmError as problem:
            response = await self._error_response(problem)
            if isinstance(problem, TemporaryFailure):
                response.headers["retry-after"] = str(max(1, round(problem.retry_after or 1)))
            await adapt_error(response, scope)(scope, receive, send)
            return
        watch = router.monitor_connection(launcher, connection)
        num_lines = 0
        try:
            kept = [(name, value) for name, value in headers if name not in _OWN_HEADERS]
            await send({"type": "http.response.start", "status": status, "headers": kept})
            async for piece in connection.iter_body():
                num_lines += piece.count(b"\n")
                await send({"type": "http.response.body", "body": piece, "more_body": True})
        except ConnectionLost:
            if any(name == b"content-type" and b"event-stream" in value for name, value in headers):
                cause = await router.find_failure_reason(launcher, watch)
                data = _encode_stream_error(self._path, cause, num_lines)
                await send({"type": "http.response.body", "body": data, "more_body": True})
        finally:
            watch.stop()
            router.release_connection(launcher, connection)
        await send({"type": "http.response.body", "body": b"", "more_body": False})

    async def _error_response(self, problem: LlmError) -> Response:
        """Return the response for an error; one about a missing model names those that are served."""
        status, body = dump_exception(problem)
        if isinstance(problem, MissingError | ModelNotDownloaded):
            names = [model.name for model in await self._router.list_models()]
            body["error"]["message"] += f"; served: {', '.join(names)}" if names else ""
        return JSONResponse(body, status)


async def _cancel_on_disconnect(receive: Receive, task: asyncio.Task[Any] | None) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
    if task is not None:
        task.cancel()


def _parse_model_name(body: bytes) -> tuple[str | None, dict[str, Any]]:
    """Return a body's model and fields; the worker checks the rest. Raises ``ValueError`` for bad JSON."""
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


async def _http_exception_response(request: Request, problem: Exception) -> Response:
    status = getattr(problem, "status_code", 500)
    words = {
        404: f"no such path; there are /health, /v1/models, {', '.join(FORWARDED_PATHS)}",
        405: "this path does not support that method",
    }.get(status, "failed")
    if status == 404 and request.scope["path"].startswith((BATCHES_PATH, FILES_PATH)):  # noqa: PLR2004 (Not Found)
        words += "; for batches: llm serve --batches"
    return adapt_error(error_response(status, words), request.scope)


def _is_anthropic(scope: Scope) -> bool:
    return speaks_anthropic(scope["path"], Headers(scope=scope))


_LINES_PER_EVENT = 3


def _encode_stream_error(path: str, cause: LlmError, num_lines: int) -> bytes:
    """Return what a stream of ``path`` ends with when its worker ended; ``num_lines`` of it have been sent.

    The stream then lacks its last event and a finish reason too.
    """
    if path == MESSAGES_PATH:
        return encode_named_event(dump_error_event(cause))
    body = dump_exception(cause)[1]
    if path != _RESPONSES_PATH:
        return b"data: " + json.dumps(body).encode() + b"\n\n"
    error = {"type": "error", "code": "server_error", "message": body["error"]["message"], "param": None}
    return encode_named_event({**error, "sequence_number": num_lines // _LINES_PER_EVENT})


def _dump_listed(model: ListedModel) -> dict[str, Any]:
    return dump_model(model.name, model.created, model.digest, model.weights)


def _dump_model_info(name: str, created: int) -> dict[str, Any]:
    """Return one model; ``created`` in seconds since the epoch."""
    created_at = dt.datetime.fromtimestamp(created, dt.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    return {"type": "model", "id": name, "display_name": name, "created_at": created_at}


def _dump_model_page(models: Sequence[tuple[str, int]]) -> dict[str, Any]:
    """Return all models as the only page of a list."""
    names = [name for name, _ in models]
    return {
        "data": [_dump_model_info(*model) for model in models],
        "has_more": False,
        "first_id": names[0] if names else None,
        "last_id": names[-1] if names else None,
    }
