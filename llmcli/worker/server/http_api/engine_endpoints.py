"""What the endpoints of all protocols share: a body is read, an engine answers it, and errors become responses."""

from __future__ import annotations

import contextlib
import json
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from starlette.requests import ClientDisconnect
from starlette.requests import Request as HttpRequest
from starlette.responses import Response, StreamingResponse
from starlette.types import Receive, Scope, Send

from llmcli.configuration.engine_options import EngineOptions
from llmcli.engine.engine import Engine
from llmcli.errors import InputError, LlmError
from llmcli.frozen_dataclass import replace
from llmcli.openai_api.fields import MODEL_HEADER, OPTIONS_HEADER, FieldError, load_json
from llmcli.openai_api.http_errors import error_response, exception_response
from llmcli.openai_api.requests import ParsedRequest
from llmcli.types import Event, Finished
from llmcli.worker import protocol
from llmcli.worker.server.disconnect import ClientGone, run_while_connected
from llmcli.worker.server.engine_pool import EnginePool
from llmcli.worker.server.metrics import WorkerMetrics
from llmcli.worker.server.request_events import RequestEvents
from llmcli.worker.server.thread_pool import run_counted

MAX_BODY_BYTES = 32 << 20
"""Bytes: more than the largest context of a model holds."""
_CLIENT_CLOSED_STATUS = 499  # never received

Answer = Callable[[ParsedRequest, Engine, contextlib.AsyncExitStack], Coroutine[Any, Any, Response]]
"""Answers a request with an engine; the stack is closed when the response was sent, or the client left before."""


class EngineEndpoints:
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
        self, request: HttpRequest, parse: Callable[[Any], ParsedRequest], answer: Answer, prompt: str = "messages"
    ) -> Response:
        """Read a body, answer it with an engine, and turn errors into responses in OpenAI's format."""
        async with contextlib.AsyncExitStack() as stack:
            response = await catch_errors(self._answer_with_engine(request, parse, answer, stack), prompt)
            if isinstance(response, SseResponse):
                response.exit_stack = stack.pop_all()
            return response

    async def _answer_with_engine(
        self,
        request: HttpRequest,
        parse: Callable[[Any], ParsedRequest],
        answer: Answer,
        stack: contextlib.AsyncExitStack,
    ) -> Response:
        parsed = parse(await read_json_body(request))
        parsed = replace(parsed, shown_model=self._shown_model_name(request, parsed.model))
        engine = stack.enter_context(self._engine_pool.hold_engine(parse_engine_options(request)))
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


async def catch_errors(answering: Awaitable[Response], prompt: str) -> Response:
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


class SseResponse(StreamingResponse):
    """Server-sent events; ``exit_stack`` is closed when they were sent, or the client left before that."""

    def __init__(self, chunks: AsyncIterator[bytes]) -> None:
        super().__init__(chunks, media_type="text/event-stream", headers={"Cache-Control": "no-cache"})
        self.exit_stack = contextlib.AsyncExitStack()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async with self.exit_stack:
            await super().__call__(scope, receive, send)


async def read_json_body(request: HttpRequest) -> Any:
    """Return the body. Raises ``FieldError`` (not JSON), ``_ErrorResponse`` and ``ClientDisconnect``."""
    body = bytearray()
    async for piece in request.stream():
        body += piece
        if len(body) > MAX_BODY_BYTES:
            words = f"the body is longer than {MAX_BODY_BYTES} bytes"
            raise _ErrorResponse(error_response(413, words, headers={"Connection": "close"}))
    return load_json(body)


def parse_engine_options(request: HttpRequest) -> EngineOptions:
    """Return the engine options that our own server sent; the defaults for other clients."""
    given = request.headers.get(OPTIONS_HEADER)
    try:
        return protocol.load_options(json.loads(given)) if given else EngineOptions()
    except (ValueError, TypeError) as problem:
        raise FieldError(OPTIONS_HEADER, f"the header {OPTIONS_HEADER} is invalid") from problem
