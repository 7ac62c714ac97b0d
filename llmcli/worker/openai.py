"""OpenAI's protocol on an engine: completions and chat, whole and streamed, embeddings, and two paths of ours.

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
from llmcli.types import EngineOptions, Event, Finished, Request, Scores, TextPiece
from llmcli.worker import embeddings, shapes, wire, wishes
from llmcli.worker.activity import Activity
from llmcli.worker.answers import error, failed
from llmcli.worker.embedding_queue import Vectors
from llmcli.worker.engines import Engines
from llmcli.worker.feed import Feed
from llmcli.worker.fields import OPTIONS_HEADER, BadField, Fields, parsed
from llmcli.worker.threads import run_counted, wait_counted
from llmcli.worker.wishes import Wish

LONGEST_BODY = 32 << 20
"""Bytes: more than the largest context of a model holds."""
_GONE = 499  # nobody reads it
_MANY = 8
"""Requests at once beyond which each piece that is sent costs more of the processor than it is worth to its reader."""
_GATHERING = 0.25
"""Seconds for which the pieces of a stream are gathered then, the first one aside."""
_WHOLE = 0.5
"""Seconds for which those of an answer that is sent in one are."""


class OpenAI:
    """The endpoints. ``names`` are what a request may call the model; the first is what answers call it."""

    def __init__(self, engines: Engines, activity: Activity, pool: ThreadPoolExecutor, names: tuple[str, ...]) -> None:
        self._engines = engines
        self._activity = activity
        self._pool = pool
        self._names = names
        self._created = int(time.time())

    async def models(self, _request: HttpRequest) -> Response:
        """``GET /v1/models``."""
        model = {"id": self._names[0], "object": "model", "created": self._created, "owned_by": "llmcli"}
        return JSONResponse({"object": "list", "data": [model]})

    async def chat(self, request: HttpRequest) -> Response:
        """``POST /v1/chat/completions``."""
        return await self._generate(request, wishes.chat, shapes.CHAT)

    async def completion(self, request: HttpRequest) -> Response:
        """``POST /v1/completions``."""
        return await self._generate(request, wishes.completion, shapes.COMPLETION, "prompt")

    async def _generate(
        self, request: HttpRequest, read: Callable[[Fields], Wish], shape: shapes.Shape, prompt: str = "messages"
    ) -> Response:
        async def answer(wish: Wish, engine: Engine, stack: contextlib.AsyncExitStack) -> Response:
            try:
                return await answered(wish, engine, stack)
            except InputError as problem:
                if wish.toolbox.forced and problem.subject in {"schema", "grammar"}:
                    raise BadField("tools", f"the schema of a tool: {problem.detail}") from problem
                raise

        async def answered(wish: Wish, engine: Engine, stack: contextlib.AsyncExitStack) -> Response:
            events = _Events(self, engine, wish.requests(), streams=wish.stream)
            stack.push_async_callback(events.close)
            await events.start()
            if not wish.stream:
                return JSONResponse(await shapes.whole(shape, wish, self._names[0], events))
            first = await anext(events)
            if isinstance(first, Finished) and first.error is not None:
                raise first.error
            return _Stream(shapes.chunks(shape, wish, self._names[0], first, events))

        return await self._serve(request, read, answer, prompt)

    async def score(self, request: HttpRequest) -> Response:
        """``POST /v1/score``."""

        async def answer(wish: Wish, engine: Engine, stack: contextlib.AsyncExitStack) -> Response:
            events = _Events(self, engine, wish.requests())
            stack.push_async_callback(events.close)
            await events.start()
            scores: Scores | None = None
            async for event in events:
                if isinstance(event, Scores):
                    scores = event
                elif isinstance(event, Finished):
                    if event.error is not None:
                        raise event.error
                    return JSONResponse(shapes.scores(self._names[0], scores, event))
            raise AssertionError("a request ends")

        return await self._serve(request, wishes.score, answer)

    async def count(self, request: HttpRequest) -> Response:
        """``POST /v1/count``."""

        async def answer(wish: Wish, engine: Engine, stack: contextlib.AsyncExitStack) -> Response:
            gone = threading.Event()
            stack.callback(gone.set)
            counts, _ = await self.in_thread(engine.count, [wish.base], gone.is_set)
            return JSONResponse({"model": self._names[0], "tokens": counts[0]})

        return await self._serve(request, wishes.count, answer)

    async def embed(self, request: HttpRequest) -> Response:
        """``POST /v1/embeddings``."""
        return await _told(self._embed(request), "input")

    async def _embed(self, request: HttpRequest) -> Response:
        wish = parsed(embeddings.read, await _json(request))
        self._check_name(wish.model)
        gone = threading.Event()
        try:
            vectors, tokens = await _while_connected(request, self._vectors(wish.inputs, gone.is_set))
        finally:
            gone.set()
        self._activity.count_prompt(tokens)
        return JSONResponse(embeddings.answer(wish, self._names[0], vectors, tokens))

    async def _vectors(self, inputs: Sequence[embeddings.Input], gone: Callable[[], bool]) -> Vectors:
        return await wait_counted(self._activity, self._engines.embed(inputs, gone))

    async def in_thread(self, function: Callable[..., Any], *given: Any) -> Any:
        """Call what may take long in a thread."""
        return await run_counted(self._activity, self._pool, function, *given)

    def _check_name(self, model: str | None) -> None:
        if model not in (None, "", *self._names):
            words = f"there is no model {model!r} here"
            raise _Refusal(error(404, words, param="model", code="model_not_found"))

    async def _serve(
        self, request: HttpRequest, read: Callable[[Fields], Wish], answer: Callable[..., Any], prompt: str = "messages"
    ) -> Response:
        """Read a body, have it answered with an engine, and turn what is wrong into a response."""

        async def answering(stack: contextlib.AsyncExitStack) -> Response:
            wish: Wish = parsed(read, await _json(request))
            self._check_name(wish.model)
            options = _options(request)
            engine = self._engines.start(options)
            stack.callback(self._engines.release, options)
            response: Response = await _while_connected(request, answer(wish, engine, stack))
            return response

        async with contextlib.AsyncExitStack() as stack:
            response = await _told(answering(stack), prompt)
            if isinstance(response, _Stream):
                response.closing = stack.pop_all()
            return response

    @property
    def activity(self) -> Activity:
        """What was done so far."""
        return self._activity

    @property
    def pool(self) -> ThreadPoolExecutor:
        """The threads that render and tokenize."""
        return self._pool


class _Refusal(Exception):
    def __init__(self, response: Response) -> None:
        super().__init__()
        self.response = response


class _GoneError(Exception):
    """The client went."""


async def _told(answering: Awaitable[Response], prompt: str) -> Response:
    """Return the answer, or what is wrong with the request in OpenAI's shape."""
    try:
        return await answering
    except _Refusal as refusal:
        return refusal.response
    except BadField as problem:
        return error(400, problem.message, param=problem.param)
    except LlmError as problem:
        return failed(problem, prompt)
    except (_GoneError, ClientDisconnect):
        return Response(status_code=_GONE)


class _Stream(StreamingResponse):
    """Server-sent events; ``closing`` is closed when they were sent, and when the client goes before that."""

    def __init__(self, chunks: AsyncIterator[bytes]) -> None:
        lines = (b"data: " + chunk + b"\n\n" async for chunk in chunks)
        super().__init__(lines, media_type="text/event-stream", headers={"Cache-Control": "no-cache"})
        self.closing = contextlib.AsyncExitStack()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async with self.closing:
            await super().__call__(scope, receive, send)


async def _while_connected(request: HttpRequest, answer: Coroutine[Any, Any, Any]) -> Any:
    """Return the answer, which is given up when the client goes, and not begun when it has. Raises ``_GoneError`` then."""
    going = asyncio.ensure_future(_disconnected(request))
    await asyncio.sleep(0)  # of a client that has gone already it is known now
    if going.done():
        answer.close()
        raise _GoneError
    answering = asyncio.ensure_future(answer)
    try:
        await asyncio.wait((answering, going), return_when=asyncio.FIRST_COMPLETED)
        if not answering.done():
            raise _GoneError
        return answering.result()
    finally:
        for task in (answering, going):
            task.cancel()


async def _disconnected(request: HttpRequest) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass


class _Events:
    """The events of some requests, until all have ended; ``close`` cancels what has not."""

    def __init__(self, owner: OpenAI, engine: Engine, requests: list[Request], *, streams: bool = False) -> None:
        self._streams = streams
        self._begun = False
        self._owner = owner
        self._engine = engine
        self._requests = requests
        self._feed = Feed(owner.activity)
        self._waiting: list[Event] = []

    async def start(self) -> None:
        """Submit the requests. Raises what the model's loading raises."""
        await self._feed.submit(self._engine, self._requests, self._owner.pool)

    def __aiter__(self) -> _Events:
        return self

    async def __anext__(self) -> Event:
        while not self._waiting:
            if not self._feed.open:
                raise StopAsyncIteration
            if not self._streams:
                await self._feed.pause(_WHOLE)
            elif self._begun and self._owner.activity.active > _MANY:
                await self._feed.pause(_GATHERING)
            self._begun = True
            self._waiting = _joined(await self._feed.take())
        return self._waiting.pop(0)

    async def close(self) -> None:
        if self._feed.open:
            self._feed.leave()
            self._engine.cancel(lambda sequence: sequence.sink is self._feed)


def _joined(events: list[Event]) -> list[Event]:
    """Return the events with neighbouring pieces of one text as one."""
    joined: list[Event] = []
    for event in events:
        before = joined[-1] if joined else None
        if isinstance(event, TextPiece) and isinstance(before, TextPiece) and before.id == event.id:
            joined[-1] = TextPiece(event.id, before.text + event.text)
        else:
            joined.append(event)
    return joined


async def _json(request: HttpRequest) -> Any:
    """Return the body. Raises ``BadField`` where it is not JSON, ``_Refusal``, and what Starlette raises of a client gone."""
    body = bytearray()
    async for piece in request.stream():
        body += piece
        if len(body) > LONGEST_BODY:
            words = f"the body is longer than {LONGEST_BODY} bytes"
            raise _Refusal(error(413, words, headers={"Connection": "close"}))
    try:
        return json.loads(body)
    except RecursionError as problem:
        raise BadField(None, "the body is nested too deeply") from problem
    except ValueError as problem:
        raise BadField(None, f"the body is not JSON: {str(problem).partition(';')[0]}") from problem


def _options(request: HttpRequest) -> EngineOptions:
    """Return how our own server wants the engine to be; the usual options for other clients."""
    given = request.headers.get(OPTIONS_HEADER)
    try:
        return wire.load_options(json.loads(given)) if given else EngineOptions()
    except (ValueError, TypeError) as problem:
        raise BadField(OPTIONS_HEADER, f"the header {OPTIONS_HEADER} is not understood") from problem
