"""OpenAI's protocol on an engine: completions and chat, whole and streamed, embeddings, and two paths of our own.

Source: the OpenAI API reference, "Chat Completions", "Completions", "Embeddings", "Streaming" and "Models". ``POST
/v1/score`` takes ``messages`` and ``candidates`` and returns the log-probability of each as the next turn; ``POST
/v1/count`` takes ``messages`` and returns their number of tokens with the chat template, or takes a ``prompt``.
"""

from __future__ import annotations

import contextlib
import functools
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
from llmcli.types import CandidateScores, EngineOptions, Finished
from llmcli.worker import protocol
from llmcli.worker.server.disconnect import ClientGone, run_while_connected
from llmcli.worker.server.embedding_queue import EmbeddingVectors
from llmcli.worker.server.engine_pool import EnginePool
from llmcli.worker.server.metrics import WorkerMetrics
from llmcli.worker.server.request_events import RequestEvents
from llmcli.worker.server.thread_pool import run_counted, wait_counted

MAX_BODY_BYTES = 32 << 20
"""Bytes: more than the largest context of a model holds."""
_CLIENT_CLOSED_STATUS = 499  # never received


_Answer = Callable[[ParsedRequest, Engine, contextlib.AsyncExitStack], Coroutine[Any, Any, Response]]
"""Answers a request with an engine; the stack is closed when the response was sent, or the client left before."""


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
        return await self._handle_request(
            request, read, functools.partial(self._answer_generation, response_format), prompt
        )

    async def _answer_generation(
        self,
        response_format: responses.ResponseFormat,
        parsed: ParsedRequest,
        engine: Engine,
        stack: contextlib.AsyncExitStack,
    ) -> Response:
        events = self._open_events(parsed, engine, stack)
        try:
            await events.submit()
            if not parsed.stream:
                return JSONResponse(await responses.build_response(response_format, parsed, self._names[0], events))
            first = await anext(events)
            if isinstance(first, Finished) and first.error is not None:
                raise first.error
        except InputError as problem:
            if parsed.tool_choice.required_names and problem.subject in {"schema", "grammar"}:
                raise FieldError("tools", f"the schema of a tool: {problem.detail}") from problem
            raise
        return _SseResponse(responses.iter_stream_chunks(response_format, parsed, self._names[0], first, events))

    async def score_candidates(self, request: HttpRequest) -> Response:
        """``POST /v1/score``."""
        return await self._handle_request(request, requests.parse_score, self._answer_score)

    async def _answer_score(self, parsed: ParsedRequest, engine: Engine, stack: contextlib.AsyncExitStack) -> Response:
        events = self._open_events(parsed, engine, stack)
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

    async def count_tokens(self, request: HttpRequest) -> Response:
        """``POST /v1/count``."""
        return await self._handle_request(request, requests.parse_count, self._answer_count)

    async def _answer_count(self, parsed: ParsedRequest, engine: Engine, stack: contextlib.AsyncExitStack) -> Response:
        gone = threading.Event()
        stack.callback(gone.set)
        counts, _ = await run_counted(self._metrics, self._pool, engine.count, [parsed.base_request], gone.is_set)
        return JSONResponse({"model": self._names[0], "tokens": counts[0]})

    async def create_embeddings(self, request: HttpRequest) -> Response:
        """``POST /v1/embeddings``."""
        return await _catch_errors(self._answer_embeddings(request), "input")

    async def _answer_embeddings(self, request: HttpRequest) -> Response:
        parsed = parse_body(embeddings.parse_embedding_request, await _read_json_body(request))
        self._check_model_name(parsed.model)
        gone = threading.Event()
        try:
            vectors, tokens = await run_while_connected(request, self._compute_vectors(parsed.inputs, gone.is_set))
        finally:
            gone.set()
        self._metrics.record_prompt(tokens)
        return JSONResponse(embeddings.build_embedding_response(parsed, self._names[0], vectors, tokens))

    async def _compute_vectors(
        self, inputs: Sequence[embeddings.EmbeddingInput], gone: Callable[[], bool]
    ) -> EmbeddingVectors:
        return await wait_counted(self._metrics, self._engine_pool.submit_embedding(inputs, gone))

    def _open_events(self, parsed: ParsedRequest, engine: Engine, stack: contextlib.AsyncExitStack) -> RequestEvents:
        """Return the events of all choices; closing ``stack`` cancels what still runs."""
        events = RequestEvents(engine, parsed.expand_choices(), self._metrics, self._pool, streams=parsed.stream)
        stack.push_async_callback(events.close)
        return events

    def _check_model_name(self, model: str | None) -> None:
        if model not in (None, "", *self._names):
            words = f"there is no model {model!r} here"
            raise _ErrorResponse(error_response(404, words, param="model", code="model_not_found"))

    async def _handle_request(
        self,
        request: HttpRequest,
        read: Callable[[Fields], ParsedRequest],
        answer: _Answer,
        prompt: str = "messages",
    ) -> Response:
        """Read a body, answer it with an engine, and turn errors into responses."""
        async with contextlib.AsyncExitStack() as stack:
            response = await _catch_errors(self._answer_with_engine(request, read, answer, stack), prompt)
            if isinstance(response, _SseResponse):
                response.exit_stack = stack.pop_all()
            return response

    async def _answer_with_engine(
        self,
        request: HttpRequest,
        read: Callable[[Fields], ParsedRequest],
        answer: _Answer,
        stack: contextlib.AsyncExitStack,
    ) -> Response:
        parsed: ParsedRequest = parse_body(read, await _read_json_body(request))
        self._check_model_name(parsed.model)
        engine = stack.enter_context(self._engine_pool.hold_engine(_parse_engine_options(request)))
        response: Response = await run_while_connected(request, answer(parsed, engine, stack))
        return response


class _ErrorResponse(Exception):
    def __init__(self, response: Response) -> None:
        super().__init__()
        self.response = response


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
    except (ClientGone, ClientDisconnect):
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
        raise FieldError(OPTIONS_HEADER, f"the header {OPTIONS_HEADER} is invalid") from problem
