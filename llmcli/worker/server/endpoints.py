"""The endpoints of a worker's protocols: a body is read, an engine answers it, and errors become responses.

OpenAI's protocol: completions, chat and Responses, whole and streamed, embeddings. Source: the OpenAI API reference,
"Chat Completions", "Completions", "Responses", "Embeddings", "Streaming" and "Models". Three paths are our own: ``POST
/v1/score`` takes ``messages`` and ``candidates`` and returns the log-probability of each as the next turn, and hidden
states; ``POST /v1/count`` takes ``messages`` and returns their number of tokens with the chat template, or takes a
``prompt``; ``POST /v1/info`` describes the model.

Anthropic's Messages API, whole and streamed, and its counting of tokens. Source: the Claude API reference, "Messages",
"Streaming Messages", "Count tokens in a Message" and "Errors".
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import json
import threading
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from starlette.requests import ClientDisconnect, Request
from starlette.requests import Request as HttpRequest
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.types import Receive, Scope, Send

from llmcli.anthropic_api import messages_request
from llmcli.anthropic_api.anthropic_http_errors import to_anthropic_error
from llmcli.anthropic_api.message_builder import MessageBuilder
from llmcli.config.engine_options import EngineOptions
from llmcli.engine.engine import Engine
from llmcli.errors import InputError, LlmError
from llmcli.fast_dataclass import replace
from llmcli.openai_api import embeddings, requests, responses, responses_request, scoring
from llmcli.openai_api.event_builder import EventBuilder, build_whole, iter_named_events
from llmcli.openai_api.fields import MODEL_HEADER, OPTIONS_HEADER, FieldError, Fields, load_json, parse_body
from llmcli.openai_api.http_errors import error_response, exception_response
from llmcli.openai_api.requests import ParsedRequest
from llmcli.openai_api.response_builder import ResponseBuilder
from llmcli.types import BackendInfo, Event, Finished
from llmcli.types import Request as LlmRequest
from llmcli.worker import protocol
from llmcli.worker.server.embedding_queue import EmbeddingVectors
from llmcli.worker.server.engine_pool import EnginePool
from llmcli.worker.server.event_queue import RequestEvents
from llmcli.worker.server.metrics import WorkerMetrics, run_counted, wait_counted

MAX_BODY_BYTES = 32 << 20
"""Bytes: more than the largest context of a model holds."""
_CLIENT_CLOSED_STATUS = 499  # never received
_MAX_LAYER_SETS = 16
"""Sets of layers whose hidden states clients may ask for: each has a context of its own."""

_Answer = Callable[[ParsedRequest, Engine, contextlib.AsyncExitStack], Coroutine[Any, Any, Response]]
"""Answers a request with an engine; the stack is closed when the response was sent, or the client left before."""


class _EngineEndpoints:
    """Endpoints on engines. ``names`` are accepted as the model of a request.

    The first is the model of responses, unless our own server names another.
    """

    def __init__(
        self, engines: EnginePool, metrics: WorkerMetrics, pool: ThreadPoolExecutor, names: tuple[str, ...]
    ) -> None:
        self._engine_pool = engines
        self._metrics = metrics
        self._pool = pool
        self._names = names

    async def _handle_request(
        self, request: HttpRequest, parse: Callable[[Any], ParsedRequest], answer: _Answer, prompt: str = "messages"
    ) -> Response:
        """Read a body, answer it with an engine, and turn errors into responses in OpenAI's format."""
        async with contextlib.AsyncExitStack() as stack:
            response = await _catch_errors(self._answer_with_engine(request, parse, answer, stack), prompt)
            if isinstance(response, _SseResponse):
                response.exit_stack = stack.pop_all()
            return response

    async def _answer_with_engine(
        self,
        request: HttpRequest,
        parse: Callable[[Any], ParsedRequest],
        answer: _Answer,
        stack: contextlib.AsyncExitStack,
    ) -> Response:
        parsed = parse(await _read_json_body(request))
        parsed = replace(parsed, shown_model=self._shown_model_name(request, parsed.model))
        engine = stack.enter_context(self._engine_pool.hold_engine(_parse_engine_options(request)))
        response: Response = await run_while_connected(request, answer(parsed, engine, stack))
        return response

    async def _start_generation(
        self, parsed: ParsedRequest, engine: Engine, stack: contextlib.AsyncExitStack, schema_field: str
    ) -> tuple[Event, RequestEvents]:
        """Submit a request; return its first event and the events after it.

        Raises ``FieldError`` for a schema that cannot be enforced, which came in ``schema_field`` or in a tool, and any
        other error with which the request ends before it has said anything.
        """
        events = self._open_events(parsed, engine, stack)
        try:
            await events.submit()
            first = await anext(events)
            if isinstance(first, Finished) and first.error is not None:
                raise first.error
        except InputError as problem:
            if problem.subject not in {"schema", "grammar"}:
                raise
            if parsed.tool_choice.required_names:
                raise FieldError("tools", f"the schema of a tool: {problem.detail}") from problem
            raise FieldError(schema_field, f"{schema_field}: {problem.detail}") from problem
        return first, events

    def _open_events(self, parsed: ParsedRequest, engine: Engine, stack: contextlib.AsyncExitStack) -> RequestEvents:
        """Return the events of all choices; closing ``stack`` cancels what still runs."""
        events = RequestEvents(engine, parsed.expand_choices(), self._metrics, self._pool, streams=parsed.stream)
        stack.push_async_callback(events.close)
        return events

    async def _count_prompt(self, parsed: ParsedRequest, engine: Engine, stack: contextlib.AsyncExitStack) -> int:
        """Return the number of tokens of a prompt."""
        gone = threading.Event()
        stack.callback(gone.set)
        counts, _ = await run_counted(self._metrics, self._pool, engine.count, [parsed.base_request], gone.is_set)
        return int(counts[0])

    async def _describe_engine(self, engine: Engine, stack: contextlib.AsyncExitStack) -> BackendInfo:
        """Return what a loaded engine can do."""
        gone = threading.Event()
        stack.callback(gone.set)
        info: BackendInfo = await run_counted(self._metrics, self._pool, engine.info, gone.is_set)
        return info

    def _shown_model_name(self, request: HttpRequest, model: str | None) -> str:
        """Return the name of the model for the answer to a request for ``model``. Raises ``_ErrorResponse``."""
        if model not in (None, "", *self._names):
            words = f"there is no model {model!r} here"
            raise _ErrorResponse(error_response(404, words, param="model", code="model_not_found"))
        shown = request.headers.get(MODEL_HEADER)
        return str(json.loads(shown)) if shown else self._names[0]


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
        super().__init__(chunks, media_type="text/event-stream", headers={"Cache-Control": "no-cache"})
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


class ClientGone(Exception):  # never reaches the user, who has left
    """The client has left."""


async def run_while_connected(request: Request, answer: Coroutine[Any, Any, Any]) -> Any:
    """Run and return the answer; cancel it when the client leaves, and do not start it if the client has left.

    Raises ``ClientGone`` in both cases.
    """
    going = asyncio.ensure_future(_wait_for_disconnect(request))
    await asyncio.sleep(0)  # now a client that has already left is noticed
    if going.done():
        answer.close()
        raise ClientGone
    answering = asyncio.ensure_future(answer)
    try:
        await asyncio.wait((answering, going), return_when=asyncio.FIRST_COMPLETED)
        if not answering.done():
            raise ClientGone
        return answering.result()
    finally:
        for task in (answering, going):
            task.cancel()


async def _wait_for_disconnect(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass


async def _respond(
    builder: EventBuilder, parsed: ParsedRequest, first: Event, events: AsyncIterator[Event]
) -> Response:
    """Return the answer that a builder makes from events: as a stream of named events, or when all of it is there."""
    if parsed.stream:
        return _SseResponse(iter_named_events(builder, first, events))
    return JSONResponse(await build_whole(builder, first, events))


class OpenAIEndpoints(_EngineEndpoints):
    """The endpoints of OpenAI's protocol."""

    def __init__(
        self, engines: EnginePool, metrics: WorkerMetrics, pool: ThreadPoolExecutor, names: tuple[str, ...]
    ) -> None:
        super().__init__(engines, metrics, pool, names)
        self._created = int(time.time())
        self._layer_sets: set[tuple[int, ...]] = set()

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
        answer = functools.partial(self._answer_generation, response_format)
        return await self._handle_request(request, functools.partial(parse_body, read), answer, prompt)

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
                return JSONResponse(await responses.build_response(response_format, parsed, parsed.shown_model, events))
            first = await anext(events)
            if isinstance(first, Finished) and first.error is not None:
                raise first.error
        except InputError as problem:
            if parsed.tool_choice.required_names and problem.subject in {"schema", "grammar"}:
                raise FieldError("tools", f"the schema of a tool: {problem.detail}") from problem
            raise
        chunks = responses.iter_stream_chunks(response_format, parsed, parsed.shown_model, first, events)
        return _SseResponse(b"data: " + chunk + b"\n\n" async for chunk in chunks)

    async def create_response(self, request: HttpRequest) -> Response:
        """``POST /v1/responses``."""
        parse = functools.partial(parse_body, responses_request.parse_response_request)
        return await self._handle_request(request, parse, self._answer_response, "input")

    async def _answer_response(
        self, parsed: ParsedRequest, engine: Engine, stack: contextlib.AsyncExitStack
    ) -> Response:
        first, events = await self._start_generation(parsed, engine, stack, "text.format")
        builder = ResponseBuilder(parsed, parsed.shown_model)
        return await _respond(builder, parsed, first, events)

    async def count_input_tokens(self, request: HttpRequest) -> Response:
        """``POST /v1/responses/input_tokens``."""
        parse = functools.partial(parse_body, responses_request.parse_input_count)
        return await self._handle_request(request, parse, self._answer_input_count, "input")

    async def _answer_input_count(
        self, parsed: ParsedRequest, engine: Engine, stack: contextlib.AsyncExitStack
    ) -> Response:
        tokens = await self._count_prompt(parsed, engine, stack)
        return JSONResponse({"object": "response.input_tokens", "input_tokens": tokens})

    async def score_candidates(self, request: HttpRequest) -> Response:
        """``POST /v1/score``."""
        parse = functools.partial(parse_body, scoring.parse_score)
        return await self._handle_request(request, parse, self._answer_score)

    async def _answer_score(self, parsed: ParsedRequest, engine: Engine, stack: contextlib.AsyncExitStack) -> Response:
        info = await self._describe_engine(engine, stack)
        self._check_layers(parsed.base_request, info)
        events = self._open_events(parsed, engine, stack)
        await events.submit()
        answered = [event async for event in events]
        end = answered[-1]
        assert isinstance(end, Finished)
        if end.error is not None:
            raise end.error
        return JSONResponse(scoring.dump_scores(parsed.shown_model, info, answered, responses.dump_usage([end])))

    def _check_layers(self, request: LlmRequest, info: BackendInfo) -> None:
        """Raise ``FieldError`` for layers that the model lacks, and for more sets of layers than have a context."""
        layers = request.state_layers
        if layers and layers[-1] >= (info.layers or 0):
            readable = f"of layers 1 to {info.layers - 1}" if info.layers else "of the last layer alone"
            raise FieldError("state_layers", f"state_layers: this model gives states {readable}")
        if layers not in self._layer_sets and len(self._layer_sets) >= _MAX_LAYER_SETS:
            raise FieldError("state_layers", f"state_layers: more than {_MAX_LAYER_SETS} sets of layers were asked for")
        self._layer_sets.add(layers)

    async def describe_model(self, request: HttpRequest) -> Response:
        """``POST /v1/info``."""
        parse = functools.partial(parse_body, scoring.parse_info)
        return await self._handle_request(request, parse, self._answer_info)

    async def _answer_info(self, parsed: ParsedRequest, engine: Engine, stack: contextlib.AsyncExitStack) -> Response:
        return JSONResponse(scoring.dump_info(parsed.shown_model, await self._describe_engine(engine, stack)))

    async def count_tokens(self, request: HttpRequest) -> Response:
        """``POST /v1/count``."""
        parse = functools.partial(parse_body, requests.parse_count)
        return await self._handle_request(request, parse, self._answer_count)

    async def _answer_count(self, parsed: ParsedRequest, engine: Engine, stack: contextlib.AsyncExitStack) -> Response:
        tokens = await self._count_prompt(parsed, engine, stack)
        return JSONResponse({"model": parsed.shown_model, "tokens": tokens})

    async def create_embeddings(self, request: HttpRequest) -> Response:
        """``POST /v1/embeddings``."""
        return await _catch_errors(self._answer_embeddings(request), "input")

    async def _answer_embeddings(self, request: HttpRequest) -> Response:
        parsed = parse_body(embeddings.parse_embedding_request, await _read_json_body(request))
        shown = self._shown_model_name(request, parsed.model)
        gone = threading.Event()
        try:
            options = _parse_engine_options(request)
            computing = self._compute_vectors(parsed, gone.is_set, options)
            vectors, tokens = await run_while_connected(request, computing)
        finally:
            gone.set()
        self._metrics.record_prompt(tokens)
        return JSONResponse(embeddings.build_embedding_response(parsed, shown, vectors, tokens))

    async def _compute_vectors(
        self, parsed: embeddings.EmbeddingRequest, gone: Callable[[], bool], options: EngineOptions
    ) -> EmbeddingVectors:
        submitted = self._engine_pool.submit_embedding(parsed.inputs, gone, parsed.pooling, options)
        try:
            return await wait_counted(self._metrics, submitted)
        except InputError as problem:
            if problem.subject != "pooling":
                raise
            raise FieldError("pooling", f"pooling: {problem.detail}") from problem


class MessagesEndpoints(_EngineEndpoints):
    """The endpoints of Anthropic's protocol."""

    async def create_message(self, request: HttpRequest) -> Response:
        """``POST /v1/messages``."""
        return to_anthropic_error(
            await self._handle_request(request, messages_request.parse_message_request, self._answer_message)
        )

    async def _answer_message(
        self, parsed: ParsedRequest, engine: Engine, stack: contextlib.AsyncExitStack
    ) -> Response:
        first, events = await self._start_generation(parsed, engine, stack, "output_config.format")
        builder = MessageBuilder(parsed, parsed.shown_model)
        return await _respond(builder, parsed, first, events)

    async def count_message_tokens(self, request: HttpRequest) -> Response:
        """``POST /v1/messages/count_tokens``."""
        return to_anthropic_error(
            await self._handle_request(request, messages_request.parse_count_request, self._answer_token_count)
        )

    async def _answer_token_count(
        self, parsed: ParsedRequest, engine: Engine, stack: contextlib.AsyncExitStack
    ) -> Response:
        return JSONResponse({"input_tokens": await self._count_prompt(parsed, engine, stack)})
