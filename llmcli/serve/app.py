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

from llmcli.errors import LlmError, TryAgain
from llmcli.serve import openapi
from llmcli.serve.link import Link, Links, Lost
from llmcli.serve.silence import QUIET, STARTING, Watch
from llmcli.worker.answers import error, failed
from llmcli.worker.fields import OPTIONS_HEADER
from llmcli.worker.start import Starter

FORWARDED = ("/v1/chat/completions", "/v1/completions", "/v1/embeddings", "/v1/score", "/v1/count")
_THREADS = 8
"""Models that are looked up, verified and started at once."""
_TRIES = 3


@dataclass(frozen=True, slots=True)
class Listed:
    """A model on this machine; ``created``: seconds since 1970."""

    name: str
    created: int


class Models(Protocol):
    """The models that are served. Its methods may take long and are called in threads."""

    def listed(self) -> Sequence[Listed]:
        """Return the models on this machine."""

    def starter(self, name: str | None) -> Starter:
        """Return what finds or starts the worker of a model (None: the default). Raises ``LlmError``."""


class Server:
    """What the endpoints share. ``options``: what the workers are told about their engines (``wire.dump_options``)."""

    def __init__(self, models: Models, options: dict[str, Any]) -> None:
        self._models = models
        self._header = f"Content-Type: application/json\r\n{OPTIONS_HEADER}: {json.dumps(options)}\r\n"
        self._pool = ThreadPoolExecutor(_THREADS, thread_name_prefix="models")
        self._links = Links()
        self._starters: dict[str, Starter] = {}
        self._starting: dict[str, asyncio.Lock] = {}
        self._heard: set[str] = set()
        self.app = Starlette(
            routes=[
                Route("/health", _health),
                Route("/openapi.json", _openapi),
                Route("/v1/models", self.models),
                Route("/v1/models/{name:path}", self.model),
                *(Route(path, _Forward(self, path), methods=["POST"]) for path in FORWARDED),
            ],
            exception_handlers={HTTPException: _http_error},
        )

    async def models(self, _request: Request) -> Response:
        """``GET /v1/models``."""
        listed = await self._in_thread(self._models.listed)
        return JSONResponse({"object": "list", "data": [_model(model) for model in listed]})

    async def model(self, request: Request) -> Response:
        """``GET /v1/models/NAME``."""
        name = request.path_params["name"]
        for model in await self._in_thread(self._models.listed):
            if model.name == name:
                return JSONResponse(_model(model))
        return error(404, f"there is no model {name!r} here", param="model", code="model_not_found")

    async def _in_thread(self, function: Callable[..., Any], *given: Any) -> Any:
        return await asyncio.get_running_loop().run_in_executor(self._pool, function, *given)

    async def starter(self, name: str | None) -> Starter:
        """Return the starter of the worker for a model: one for each worker. Raises ``LlmError``."""
        found: Starter = await self._in_thread(self._models.starter, name)
        return self._starters.setdefault(found.place.key, found)

    async def link(self, starter: Starter) -> Link:
        """Return a connection to a worker, one that is kept, or a new one, to a worker that is started if need be."""
        kept = self._links.take(starter.place.key)
        if kept is not None:
            return kept
        async with self._starting.setdefault(starter.place.key, asyncio.Lock()):  # a starter is no thread's but one
            connecting = asyncio.ensure_future(self._in_thread(starter.connect))
            try:
                connected = await asyncio.shield(connecting)
            except asyncio.CancelledError:  # the client went, but the starter is the thread's until it is done
                with contextlib.suppress(LlmError):
                    (await connecting).close()
                raise
            if starter.started:
                self._heard.discard(starter.place.key)
            return await Link.on(connected)

    async def ask(self, starter: Starter, path: str, body: bytes) -> tuple[Link, int, list[tuple[bytes, bytes]]]:
        """Send a request to a worker; return the connection with the answer's body, its status and its headers.

        A kept connection that has just ended is replaced. Raises the cause where the worker ends instead of answering,
        and ``TryAgain`` where it stands still.
        """
        for _ in range(_TRIES):
            link = await self.link(starter)
            watch = self.watch(starter, link)
            try:
                status, headers = await link.ask(path, self._header, body)
            except Lost:
                link.close()
                if not link.kept or watch.silent:
                    raise await self.cause(starter, watch) from None
            except BaseException:
                link.close()
                raise
            else:
                self._heard.add(starter.place.key)
                return link, status, headers
            finally:
                watch.stop()
        raise TryAgain("the worker", detail="it ends whenever it is asked")

    def watch(self, starter: Starter, link: Link) -> Watch:
        """Watch whether a worker stands still; one that has never answered may still be starting."""
        return Watch(link, starter.place.socket, QUIET if starter.place.key in self._heard else STARTING)

    async def cause(self, starter: Starter, watch: Watch) -> LlmError:
        """Return why a connection to a worker ended."""
        if watch.silent:
            return TryAgain("the worker", detail=f"it stands still; try: llm worker stop {starter.pid}")
        cause: LlmError = await self._in_thread(starter.cause)
        return cause

    def give(self, starter: Starter, link: Link) -> None:
        """Keep a connection, or end one whose answer was not read to its end."""
        self._links.give(starter.place.key, link)

    def reap(self) -> None:
        """Bury the workers that were started here and have ended."""
        for starter in self._starters.values():
            starter.reap()

    def close(self) -> None:
        """End the connections to workers; the workers stay until they are idle."""
        self._links.close()
        self._pool.shutdown(wait=False, cancel_futures=True)


class _Forward:
    """The endpoint of one path: the worker's bytes go back as they are."""

    def __init__(self, server: Server, path: str) -> None:
        self._server = server
        self._path = path

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        body = (await receive()).get("body", b"")
        answering = asyncio.current_task()
        watching = asyncio.create_task(_cancel_when_gone(receive, answering))
        try:
            await self._answer(body, scope, receive, send)
        except asyncio.CancelledError:
            if not watching.done():  # it is not the client that went
                raise
        finally:
            watching.cancel()

    async def _answer(self, body: bytes, scope: Scope, receive: Receive, send: Send) -> None:
        server = self._server
        try:
            name, fields = _model_name(body)
            starter = await server.starter(name)
            if name not in (None, "", starter.plan.name, starter.plan.model_id):  # an alias, which no worker knows
                body = json.dumps({**fields, "model": starter.plan.name}).encode()
            link, status, headers = await server.ask(starter, self._path, body)
        except ValueError as problem:
            await error(400, f"the body is not JSON: {str(problem).partition(';')[0]}")(scope, receive, send)
            return
        except LlmError as problem:
            response = failed(problem)
            if isinstance(problem, TryAgain):
                response.headers["retry-after"] = str(max(1, round(problem.retry_after or 1)))
            await response(scope, receive, send)
            return
        watch = server.watch(starter, link)
        try:
            kept = [(name, value) for name, value in headers if name not in {b"connection", b"transfer-encoding"}]
            await send({"type": "http.response.start", "status": status, "headers": kept})
            async for piece in link.body():
                await send({"type": "http.response.body", "body": piece, "more_body": True})
        except Lost:
            await _tell(await server.cause(starter, watch), headers, send)
        finally:
            watch.stop()
            server.give(starter, link)
        await send({"type": "http.response.body", "body": b"", "more_body": False})


async def _tell(cause: LlmError, headers: list[tuple[bytes, bytes]], send: Send) -> None:
    """Say in the middle of a stream why it ends; whoever reads it misses [DONE] and a finish_reason too."""
    if any(name == b"content-type" and b"event-stream" in value for name, value in headers):
        data = b"data: " + bytes(failed(cause).body) + b"\n\n"
        await send({"type": "http.response.body", "body": data, "more_body": True})


async def _cancel_when_gone(receive: Receive, task: asyncio.Task[Any] | None) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
    if task is not None:
        task.cancel()


def _model_name(body: bytes) -> tuple[str | None, dict[str, Any]]:
    """Return the model that a body names, and its fields; what else is wrong with it the worker says.

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


async def _health(_request: Request) -> Response:
    return JSONResponse({"status": "ok"})


async def _openapi(_request: Request) -> Response:
    return JSONResponse(openapi.document())


async def _http_error(_request: Request, problem: Exception) -> Response:
    status = getattr(problem, "status_code", 500)
    return error(status, {404: "there is no such path", 405: "this path is asked in another way"}.get(status, "failed"))


def _model(model: Listed) -> dict[str, Any]:
    return {"id": model.name, "object": "model", "created": model.created, "owned_by": "llmcli"}
