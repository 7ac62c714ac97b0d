"""OpenAI's protocol on an engine: completions and chat, whole and streamed, embeddings, and two paths of our own.

Source: the OpenAI API reference, "Chat Completions", "Completions", "Embeddings", "Streaming" and "Models". ``POST
/v1/score`` takes ``messages`` and ``candidates`` and returns the log-probability of each as the next turn; ``POST
/v1/count`` takes ``messages`` and returns how many tokens they are, chat template applied; or a ``prompt``.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import threading
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from starlette.requests import ClientDisconnect
from starlette.requests import Request as HttpRequest
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.types import Receive, Scope, Send

from llmcli.engine.engine import Engine
from llmcli.errors import InputError, LlmError
from llmcli.openai_api import embeddings, requests, responses
from llmcli.openai_api.fields import OPTIONS_HEADER, FieldError, Fields, load_json, parse_body
from llmcli.openai_api.http_errors import error_response, exception_response
from llmcli.openai_api.requests import ParsedRequest
from llmcli.types import CandidateScores, EngineOptions, Event, Finished, Request, TextDelta
from llmcli.worker import protocol
from llmcli.worker.server.embedding_queue import EmbeddingVectors
from llmcli.worker.server.engine_pool import EnginePool
from llmcli.worker.server.event_queue import AsyncEventQueue
from llmcli.worker.server.metrics import WorkerMetrics
from llmcli.worker.server.thread_pool import run_counted, wait_counted

MAX_BODY_BYTES = 32 << 20
"""Bytes: more than the largest context of a model holds."""
_CLIENT_CLOSED_STATUS = 499  # never received
_COALESCE_ABOVE_REQUESTS = 8
"""Concurrent requests above which text is sent in larger pieces, to save processor time."""
_STREAM_COALESCE_S = 0.25
"""Seconds for which the pieces of a stream are coalesced then, except the first one."""
_RESPONSE_COALESCE_S = 0.5
"""The same for an answer that is sent whole."""


class OpenAIEndpoints:
    """The endpoints. ``names`` are accepted as the model of a request; the first is the model of responses."""

    def __init__(
        self, engines: EnginePool, metrics: WorkerMetrics, pool: ThreadPoolExecutor, names: tuple[str, ...]
    ) -> None:
        self._engine_pool = engines
        self._metrics = metrics
        self._pool = pool
        self._names = names
        self._created = int(time.time())

    async def list_models(self, _request: HttpRequest) -> Response:
        """``GET /v1/models``."""
        return JSONResponse({"object": "list", "data": [responses.dump_model(self._names[0], self._created)]})

    async def create_chat_completion(self, request: HttpRequest) -> Response:
        """``POST /v1/chat/completions``."""
        return await self._generate(request, requests.parse_chat, responses.CHAT_FORMAT)

    async def create_completion(self, request: HttpRequest) -> Response:
        """``POST /v1/completions``."""
        return await self._generate(request, requests.parse_completion, responses.COMPLETION_FORMAT, "prompt")

    async def _generate(
        self,
        request: HttpRequest,
        read: Callable[[Fields], ParsedRequest],
        response_format: responses.ResponseFormat,
        prompt: str = "messages",
    ) -> Response:
        async def answer(parsed: ParsedRequest, engine: Engine, stack: contextlib.AsyncExitStack) -> Response:
            try:
                return await answered(parsed, engine, stack)
            except InputError as problem:
                if parsed.tool_choice.required_names and problem.subject in {"schema", "grammar"}:
                    raise FieldError("tools", f"the schema of a tool: {problem.detail}") from problem
                raise

        async def answered(parsed: ParsedRequest, engine: Engine, stack: contextlib.AsyncExitStack) -> Response:
            events = _RequestEvents(self, engine, parsed.expand_choices(), streams=parsed.stream)
            stack.push_async_callback(events.close)
            await events.submit()
            if not parsed.stream:
                return JSONResponse(await responses.build_response(response_format, parsed, self._names[0], events))
            first = await anext(events)
            if isinstance(first, Finished) and first.error is not None:
                raise first.error
            return _SseResponse(responses.iter_stream_chunks(response_format, parsed, self._names[0], first, events))

        return await self._handle_request(request, read, answer, prompt)

    async def score_candidates(self, request: HttpRequest) -> Response:
        """``POST /v1/score``."""

        async def answer(parsed: ParsedRequest, engine: Engine, stack: contextlib.AsyncExitStack) -> Response:
            events = _RequestEvents(self, engine, parsed.expand_choices())
            stack.push_async_callback(events.close)
            await events.submit()
            scores: CandidateScores | None = None
            async for event in events:
                if isinstance(event, CandidateScores):
                    scores = event
                elif isinstance(event, Finished):
                    if event.error is not None:
                        raise event.error
                    return JSONResponse(responses.dump_scores(self._names[0], scores, event))
            raise AssertionError("a request ends")

        return await self._handle_request(request, requests.parse_score, answer)

    async def count_tokens(self, request: HttpRequest) -> Response:
        """``POST /v1/count``."""

        async def answer(parsed: ParsedRequest, engine: Engine, stack: contextlib.AsyncExitStack) -> Response:
            gone = threading.Event()
            stack.callback(gone.set)
            counts, _ = await self.run_in_pool(engine.count, [parsed.base_request], gone.is_set)
            return JSONResponse({"model": self._names[0], "tokens": counts[0]})

        return await self._handle_request(request, requests.parse_count, answer)

    async def create_embeddings(self, request: HttpRequest) -> Response:
        """``POST /v1/embeddings``."""
        return await _catch_errors(self._answer_embeddings(request), "input")

    async def _answer_embeddings(self, request: HttpRequest) -> Response:
        parsed = parse_body(embeddings.parse_embedding_request, await _read_json_body(request))
        self._check_model_name(parsed.model)
        gone = threading.Event()
        try:
            vectors, tokens = await _run_while_connected(request, self._compute_vectors(parsed.inputs, gone.is_set))
        finally:
            gone.set()
        self._metrics.record_prompt(tokens)
        return JSONResponse(embeddings.build_embedding_response(parsed, self._names[0], vectors, tokens))

    async def _compute_vectors(
        self, inputs: Sequence[embeddings.EmbeddingInput], gone: Callable[[], bool]
    ) -> EmbeddingVectors:
        return await wait_counted(self._metrics, self._engine_pool.submit_embedding(inputs, gone))

    async def run_in_pool(self, function: Callable[..., Any], *given: Any) -> Any:
        """Call a slow function in a thread."""
        return await run_counted(self._metrics, self._pool, function, *given)

    def _check_model_name(self, model: str | None) -> None:
        if model not in (None, "", *self._names):
            words = f"there is no model {model!r} here"
            raise _ErrorResponse(error_response(404, words, param="model", code="model_not_found"))

    async def _handle_request(
        self,
        request: HttpRequest,
        read: Callable[[Fields], ParsedRequest],
        answer: Callable[..., Any],
        prompt: str = "messages",
    ) -> Response:
        """Read a body, have it answered with an engine, and turn errors into responses."""

        async def answering(stack: contextlib.AsyncExitStack) -> Response:
            parsed: ParsedRequest = parse_body(read, await _read_json_body(request))
            self._check_model_name(parsed.model)
            options = _parse_engine_options(request)
            engine = self._engine_pool.acquire(options)
            stack.callback(self._engine_pool.release, options)
            response: Response = await _run_while_connected(request, answer(parsed, engine, stack))
            return response

        async with contextlib.AsyncExitStack() as stack:
            response = await _catch_errors(answering(stack), prompt)
            if isinstance(response, _SseResponse):
                response.exit_stack = stack.pop_all()
            return response

    @property
    def metrics(self) -> WorkerMetrics:
        """What was done so far."""
        return self._metrics

    @property
    def pool(self) -> ThreadPoolExecutor:
        """The threads that render and tokenize."""
        return self._pool


class _ErrorResponse(Exception):
    def __init__(self, response: Response) -> None:
        super().__init__()
        self.response = response


class _ClientDisconnected(Exception):
    """The client has left."""


async def _catch_errors(answering: Awaitable[Response], prompt: str) -> Response:
    """Return the answer, or the error response in OpenAI's format."""
    try:
        return await answering
    except _ErrorResponse as refusal:
        return refusal.response
    except FieldError as problem:
        return error_response(400, problem.message, param=problem.param)
    except LlmError as problem:
        return exception_response(problem, prompt)
    except (_ClientDisconnected, ClientDisconnect):
        return Response(status_code=_CLIENT_CLOSED_STATUS)


class _SseResponse(StreamingResponse):
    """Server-sent events; ``exit_stack`` is closed when they were sent, or the client left before that."""

    def __init__(self, chunks: AsyncIterator[bytes]) -> None:
        lines = (b"data: " + chunk + b"\n\n" async for chunk in chunks)
        super().__init__(lines, media_type="text/event-stream", headers={"Cache-Control": "no-cache"})
        self.exit_stack = contextlib.AsyncExitStack()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async with self.exit_stack:
            await super().__call__(scope, receive, send)


async def _run_while_connected(request: HttpRequest, answer: Coroutine[Any, Any, Any]) -> Any:
    """Return the answer; cancel it when the client leaves, and do not begin it for a client that has left.

    Raises ``_ClientDisconnected`` in both cases.
    """
    going = asyncio.ensure_future(_wait_for_disconnect(request))
    await asyncio.sleep(0)  # now it is known whether the client has left already
    if going.done():
        answer.close()
        raise _ClientDisconnected
    answering = asyncio.ensure_future(answer)
    try:
        await asyncio.wait((answering, going), return_when=asyncio.FIRST_COMPLETED)
        if not answering.done():
            raise _ClientDisconnected
        return answering.result()
    finally:
        for task in (answering, going):
            task.cancel()


async def _wait_for_disconnect(request: HttpRequest) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass


class _RequestEvents:
    """The events of some requests, until all have ended; ``close`` cancels what has not."""

    def __init__(
        self, owner: OpenAIEndpoints, engine: Engine, requests: list[Request], *, streams: bool = False
    ) -> None:
        self._streaming = streams
        self._delivering = False
        self._endpoints = owner
        self._engine = engine
        self._requests = requests
        self._queue = AsyncEventQueue(owner.metrics)
        self._buffered: list[Event] = []

    async def submit(self) -> None:
        """Submit the requests. Raises what the model's loading raises."""
        await self._queue.submit(self._engine, self._requests, self._endpoints.pool)

    def __aiter__(self) -> _RequestEvents:
        return self

    async def __anext__(self) -> Event:
        while not self._buffered:
            if not self._queue.open_ids:
                raise StopAsyncIteration
            if not self._streaming:
                await self._queue.coalesce(_RESPONSE_COALESCE_S)
            elif self._delivering and self._endpoints.metrics.num_active > _COALESCE_ABOVE_REQUESTS:
                await self._queue.coalesce(_STREAM_COALESCE_S)
            self._delivering = True
            self._buffered = _merge_text_events(await self._queue.drain())
        return self._buffered.pop(0)

    async def close(self) -> None:
        if self._queue.open_ids:
            self._queue.disconnect()
            self._engine.cancel(lambda sequence: sequence.sink is self._queue)


def _merge_text_events(events: list[Event]) -> list[Event]:
    """Return the events with neighbouring pieces of one text as one."""
    joined: list[Event] = []
    for event in events:
        before = joined[-1] if joined else None
        if isinstance(event, TextDelta) and isinstance(before, TextDelta) and before.id == event.id:
            joined[-1] = TextDelta(event.id, before.text + event.text)
        else:
            joined.append(event)
    return joined


async def _read_json_body(request: HttpRequest) -> Any:
    """Return the body. Raises ``FieldError`` (not JSON), ``_ErrorResponse`` and ``ClientDisconnect``."""
    body = bytearray()
    async for piece in request.stream():
        body += piece
        if len(body) > MAX_BODY_BYTES:
            words = f"the body is longer than {MAX_BODY_BYTES} bytes"
            raise _ErrorResponse(error_response(413, words, headers={"Connection": "close"}))
    return load_json(body)


def _parse_engine_options(request: HttpRequest) -> EngineOptions:
    """Return the engine options that our own server sent; the defaults for other clients."""
    given = request.headers.get(OPTIONS_HEADER)
    try:
        return protocol.load_options(json.loads(given)) if given else EngineOptions()
    except (ValueError, TypeError) as problem:
        raise FieldError(OPTIONS_HEADER, f"the header {OPTIONS_HEADER} is not understood") from problem
