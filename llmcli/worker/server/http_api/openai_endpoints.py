"""OpenAI's protocol on an engine: completions, chat and Responses, whole and streamed, embeddings, two paths of our own.

Source: the OpenAI API reference, "Chat Completions", "Completions", "Responses", "Embeddings", "Streaming" and "Models".
``POST /v1/score`` takes ``messages`` and ``candidates`` and returns the log-probability of each as the next turn; ``POST
/v1/count`` takes ``messages`` and returns their number of tokens with the chat template, or takes a ``prompt``.
"""

from __future__ import annotations

import contextlib
import functools
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

from starlette.requests import Request as HttpRequest
from starlette.responses import JSONResponse, Response

from llmcli.configuration.engine_options import EngineOptions
from llmcli.engine.engine import Engine
from llmcli.errors import InputError
from llmcli.openai_api import embeddings, requests, responses, responses_request
from llmcli.openai_api.event_builder import build_whole, iter_named_events
from llmcli.openai_api.fields import FieldError, Fields, parse_body
from llmcli.openai_api.requests import ParsedRequest
from llmcli.openai_api.response_builder import ResponseBuilder
from llmcli.types import CandidateScores, Finished
from llmcli.worker.server.disconnect import run_while_connected
from llmcli.worker.server.embedding_queue import EmbeddingVectors
from llmcli.worker.server.engine_pool import EnginePool
from llmcli.worker.server.http_api.engine_endpoints import (
    EngineEndpoints,
    SseResponse,
    catch_errors,
    parse_engine_options,
    read_json_body,
)
from llmcli.worker.server.metrics import WorkerMetrics
from llmcli.worker.server.thread_pool import wait_counted


class OpenAIEndpoints(EngineEndpoints):
    """The endpoints of OpenAI's protocol."""

    def __init__(
        self, engines: EnginePool, metrics: WorkerMetrics, pool: ThreadPoolExecutor, names: tuple[str, ...]
    ) -> None:
        super().__init__(engines, metrics, pool, names)
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
        return SseResponse(b"data: " + chunk + b"\n\n" async for chunk in chunks)

    async def create_response(self, request: HttpRequest) -> Response:
        """``POST /v1/responses``."""
        parse = functools.partial(parse_body, responses_request.parse_response_request)
        return await self._handle_request(request, parse, self._answer_response, "input")

    async def _answer_response(
        self, parsed: ParsedRequest, engine: Engine, stack: contextlib.AsyncExitStack
    ) -> Response:
        first, events = await self._start_generation(parsed, engine, stack, "text.format")
        builder = ResponseBuilder(parsed, parsed.shown_model)
        if parsed.stream:
            return SseResponse(iter_named_events(builder, first, events))
        return JSONResponse(await build_whole(builder, first, events))

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
        parse = functools.partial(parse_body, requests.parse_score)
        return await self._handle_request(request, parse, self._answer_score)

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
                return JSONResponse(responses.dump_scores(parsed.shown_model, scores, event))
        raise AssertionError("a request ends")

    async def count_tokens(self, request: HttpRequest) -> Response:
        """``POST /v1/count``."""
        parse = functools.partial(parse_body, requests.parse_count)
        return await self._handle_request(request, parse, self._answer_count)

    async def _answer_count(self, parsed: ParsedRequest, engine: Engine, stack: contextlib.AsyncExitStack) -> Response:
        tokens = await self._count_prompt(parsed, engine, stack)
        return JSONResponse({"model": parsed.shown_model, "tokens": tokens})

    async def create_embeddings(self, request: HttpRequest) -> Response:
        """``POST /v1/embeddings``."""
        return await catch_errors(self._answer_embeddings(request), "input")

    async def _answer_embeddings(self, request: HttpRequest) -> Response:
        parsed = parse_body(embeddings.parse_embedding_request, await read_json_body(request))
        shown = self._shown_model_name(request, parsed.model)
        gone = threading.Event()
        try:
            options = parse_engine_options(request)
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
