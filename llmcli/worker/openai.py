"""OpenAI's protocol on an engine: chat completions, whole and streamed, and two paths of ours for scores and counts.

Source: the OpenAI API reference, "Chat Completions", "Streaming" and "Models". ``POST /v1/score`` takes ``messages`` and
``candidates`` and returns the log-probability of each as the next turn; ``POST /v1/count`` takes ``messages`` and
returns how many tokens they are, chat template applied.
"""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import json
import secrets
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from starlette.requests import ClientDisconnect
from starlette.requests import Request as HttpRequest
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.types import Receive, Scope, Send

from llmcli.engine.engine import Engine
from llmcli.errors import ContextOverflow, InputError, LlmError, OutOfMemory, Unsupported, UsageError
from llmcli.types import EngineOptions, Event, Finished, Priority, Request, Scores, TextPiece, TokenLogprobs, Usage
from llmcli.worker.activity import Activity
from llmcli.worker.engines import Engines
from llmcli.worker.feed import Feed
from llmcli.worker.fields import MOST_ALTERNATIVES, MOST_ANSWERS, MOST_STOPS, BadField, Fields, parsed

_MOST_CANDIDATES = 1024
LONGEST_BODY = 32 << 20
"""Bytes: more than the largest context of a model holds."""
_GONE = 499  # nobody reads it
_STATUS = ((ContextOverflow, 400), (UsageError, 400), (InputError, 400), (OutOfMemory, 507), (Unsupported, 501))


@dataclasses.dataclass(frozen=True)
class _Wish:
    """What a request for chat completions asks for: ``base`` is sent ``answers`` times."""

    base: Request
    model: str | None
    answers: int
    stream: bool
    usage: bool


@dataclasses.dataclass
class _Answer:
    """One choice, as far as it has come."""

    text: str = ""
    logprobs: list[dict[str, Any]] = dataclasses.field(default_factory=list)
    finished: Finished | None = None


def error(
    status: int,
    message: str,
    *,
    param: str | None = None,
    code: str | None = None,
    headers: Mapping[str, str] | None = None,
) -> JSONResponse:
    """Return an error in OpenAI's shape."""
    kind = "invalid_request_error" if status < 500 else "server_error"  # noqa: PLR2004
    return JSONResponse({"error": {"message": message, "type": kind, "param": param, "code": code}}, status, headers)


def failed(problem: Exception) -> JSONResponse:
    """Return the response for an error of the engine."""
    status = next((status for kind, status in _STATUS if isinstance(problem, kind)), 500)
    if isinstance(problem, ContextOverflow):
        message = f"the prompt has {problem.tokens} tokens, the context {problem.context}"
        return error(status, message, param="messages", code="context_length_exceeded")
    words = [text for text in (getattr(problem, "subject", ""), getattr(problem, "detail", "")) if text]
    return error(status, ": ".join(words) or type(problem).__name__)


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

        async def answer(wish: _Wish, engine: Engine, stack: contextlib.AsyncExitStack) -> Response:
            events = _Events(self, engine, [_numbered(wish.base, number) for number in range(wish.answers)])
            stack.push_async_callback(events.close)
            await events.start()
            head = {"id": f"chatcmpl-{secrets.token_hex(12)}", "created": int(time.time()), "model": self._names[0]}
            if wish.stream:
                return await self._streamed(wish, head, events)
            return JSONResponse(await _whole(wish, head, events))

        return await self._serve(request, _wish, answer)

    async def score(self, request: HttpRequest) -> Response:
        """``POST /v1/score``."""

        async def answer(wish: _Wish, engine: Engine, stack: contextlib.AsyncExitStack) -> Response:
            events = _Events(self, engine, [wish.base])
            stack.push_async_callback(events.close)
            await events.start()
            scores: list[dict[str, Any]] = []
            async for event in events:
                if isinstance(event, Scores):
                    scores = [dataclasses.asdict(score) for score in event.scores]
                elif isinstance(event, Finished):
                    if event.error is not None:
                        raise event.error
                    return JSONResponse({"model": self._names[0], "scores": scores, "usage": _usage([event])})
            raise AssertionError("a request ends")

        return await self._serve(request, _score_wish, answer)

    async def count(self, request: HttpRequest) -> Response:
        """``POST /v1/count``."""

        async def answer(wish: _Wish, engine: Engine, _stack: contextlib.AsyncExitStack) -> Response:
            counts, _ = await self.in_thread(engine.count, [wish.base])
            return JSONResponse({"model": self._names[0], "tokens": counts[0]})

        return await self._serve(request, _count_wish, answer)

    async def in_thread(self, function: Callable[..., Any], *given: Any) -> Any:
        """Call what may take long in a thread."""
        return await asyncio.get_running_loop().run_in_executor(self._pool, function, *given)

    async def _serve(
        self, request: HttpRequest, read: Callable[[Fields], _Wish], answer: Callable[..., Any]
    ) -> Response:
        """Read a body, have it answered with an engine, and turn what is wrong into a response."""
        async with contextlib.AsyncExitStack() as stack:
            try:
                wish: _Wish = parsed(read, await _json(request))
                if wish.model not in (None, "", *self._names):
                    return error(404, f"there is no model {wish.model!r} here", param="model", code="model_not_found")
                options = EngineOptions()
                engine = self._engines.start(options)
                stack.callback(self._engines.release, options)
                response: Response = await _while_connected(request, answer(wish, engine, stack))
            except _TooLong:
                return error(413, f"the body is longer than {LONGEST_BODY} bytes", headers={"Connection": "close"})
            except ClientDisconnect:
                return Response(status_code=_GONE)
            except BadField as problem:
                return error(400, problem.message, param=problem.param)
            except LlmError as problem:
                return failed(problem)
            if isinstance(response, _Stream):
                response.closing = stack.pop_all()
            return response

    async def _streamed(self, wish: _Wish, head: dict[str, Any], events: _Events) -> Response:
        first = await anext(events)
        if isinstance(first, Finished) and first.error is not None:
            raise first.error
        return _Stream(_chunks(wish, head | {"object": "chat.completion.chunk"}, first, events))

    @property
    def activity(self) -> Activity:
        """What was done so far."""
        return self._activity


class _Stream(StreamingResponse):
    """Server-sent events; ``closing`` is closed when they were sent, and when the client goes before that."""

    def __init__(self, chunks: AsyncIterator[bytes]) -> None:
        lines = (b"data: " + chunk + b"\n\n" async for chunk in chunks)
        super().__init__(lines, media_type="text/event-stream", headers={"Cache-Control": "no-cache"})
        self.closing = contextlib.AsyncExitStack()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async with self.closing:
            await super().__call__(scope, receive, send)


async def _while_connected(request: HttpRequest, answer: Coroutine[Any, Any, Response]) -> Response:
    """Return the answer, which is given up when the client goes."""
    answering = asyncio.ensure_future(answer)
    going = asyncio.ensure_future(_disconnected(request))
    try:
        await asyncio.wait((answering, going), return_when=asyncio.FIRST_COMPLETED)
        return answering.result() if answering.done() else Response(status_code=_GONE)
    finally:
        for task in (answering, going):
            task.cancel()


async def _disconnected(request: HttpRequest) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass


class _Events:
    """The events of some requests, until all have ended; ``close`` cancels what has not."""

    def __init__(self, owner: OpenAI, engine: Engine, requests: list[Request]) -> None:
        self._owner = owner
        self._engine = engine
        self._requests = requests
        self._feed = Feed()
        self._waiting: list[Event] = []

    async def start(self) -> None:
        """Submit the requests. Raises what the model's loading raises."""
        self._owner.activity.begin(len(self._requests))
        self._feed.open.update(request.id for request in self._requests)
        await self._owner.in_thread(self._submit)

    def _submit(self) -> None:
        for request in self._requests:
            self._engine.submit(request, self._feed)

    def __aiter__(self) -> _Events:
        return self

    async def __anext__(self) -> Event:
        while not self._waiting:
            if not self._feed.open:
                raise StopAsyncIteration
            self._waiting = await self._feed.take()
            self._owner.activity.count(self._waiting)
        return self._waiting.pop(0)

    async def close(self) -> None:
        if self._feed.open:
            self._engine.cancel(lambda sequence: sequence.sink is self._feed)
            self._owner.activity.end(len(self._feed.open))
            self._feed.open.clear()


# ---- reading ----------------------------------------------------------------------------------------------------------


class _TooLong(Exception):
    """The body is longer than any that has a chance of being answered."""


async def _json(request: HttpRequest) -> Any:
    """Return the body. Raises ``BadField`` where it is not JSON, ``_TooLong``, and what Starlette raises of a client gone."""
    body = bytearray()
    async for piece in request.stream():
        body += piece
        if len(body) > LONGEST_BODY:
            raise _TooLong
    try:
        return json.loads(body)
    except RecursionError as problem:
        raise BadField(None, "the body is nested too deeply") from problem
    except ValueError as problem:
        raise BadField(None, f"the body is not JSON: {str(problem).partition(';')[0]}") from problem


def _wish(fields: Fields) -> _Wish:
    count = fields.whole("top_logprobs", 0, MOST_ALTERNATIVES)
    logprobs = fields.switch("logprobs")
    if count is not None and not logprobs:
        raise BadField("top_logprobs", "top_logprobs needs logprobs to be true")
    options = fields.mapping("stream_options") or {}
    base = Request(
        "0",
        fields.messages(),
        sampling=fields.sampling(),
        stop=fields.texts("stop", MOST_STOPS),
        max_tokens=fields.longest(),
        schema=fields.schema(),
        priority=Priority.INTERACTIVE,
        logprobs=(count or 0) if logprobs else None,
    )
    answers = fields.whole("n", 1, MOST_ANSWERS) or 1
    return _Wish(base, fields.text("model"), answers, fields.switch("stream"), bool(options.get("include_usage")))


def _score_wish(fields: Fields) -> _Wish:
    candidates = fields.texts("candidates", _MOST_CANDIDATES)
    if not candidates:
        raise BadField("candidates", "candidates is not a list of texts")
    base = Request("0", fields.messages(), candidates=candidates, priority=Priority.INTERACTIVE)
    return _Wish(base, fields.text("model"), 1, stream=False, usage=True)


def _count_wish(fields: Fields) -> _Wish:
    return _Wish(Request("0", fields.messages()), fields.text("model"), 1, stream=False, usage=False)


def _numbered(base: Request, number: int) -> Request:
    """Return the request for one of several answers: each draws other tokens."""
    seed = base.sampling.seed
    sampling = base.sampling if seed is None else dataclasses.replace(base.sampling, seed=(seed + number) % 2**32)
    return dataclasses.replace(base, id=str(number), sampling=sampling)


# ---- answering --------------------------------------------------------------------------------------------------------


async def _whole(wish: _Wish, head: dict[str, Any], events: _Events) -> dict[str, Any]:
    answers = [_Answer() for _ in range(wish.answers)]
    async for event in events:
        answer = answers[int(event.id)]
        if isinstance(event, TextPiece):
            answer.text += event.text
        elif isinstance(event, TokenLogprobs):
            answer.logprobs.append(_logprob(event))
        elif isinstance(event, Finished):
            if event.error is not None:
                raise event.error
            answer.finished = event
    choices = [
        {
            "index": number,
            "message": {"role": "assistant", "content": answer.text, "refusal": None},
            "logprobs": {"content": answer.logprobs} if wish.base.logprobs is not None else None,
            "finish_reason": _reason(answer.finished),
        }
        for number, answer in enumerate(answers)
    ]
    usage = _usage([answer.finished for answer in answers if answer.finished])
    return {**head, "object": "chat.completion", "choices": choices, "usage": usage}


async def _chunks(wish: _Wish, head: dict[str, Any], first: Event, events: _Events) -> AsyncIterator[bytes]:
    """Yield the data of a stream's lines; an error in the middle is one of them, and then the stream ends."""

    def chunk(number: int, delta: dict[str, Any], **more: Any) -> bytes:
        choice = {"index": number, "delta": delta, "logprobs": None, "finish_reason": None, **more}
        return json.dumps({**head, "choices": [choice]}, ensure_ascii=False).encode()

    for number in range(wish.answers):
        yield chunk(number, {"role": "assistant", "content": ""})
    ends: list[Finished] = []
    event: Event | None = first
    while event is not None:
        if isinstance(event, TextPiece):
            yield chunk(int(event.id), {"content": event.text})
        elif isinstance(event, TokenLogprobs):
            yield chunk(int(event.id), {}, logprobs={"content": [_logprob(event)]})
        elif isinstance(event, Finished):
            if event.error is not None:
                yield bytes(failed(event.error).body)
                return
            ends.append(event)
            yield chunk(int(event.id), {}, finish_reason=_reason(event))
        event = await anext(events, None)
    if wish.usage:
        yield json.dumps({**head, "choices": [], "usage": _usage(ends)}).encode()
    yield b"[DONE]"


def _reason(finished: Finished | None) -> str:
    """Return the finish reason in OpenAI's words, which know of no time-outs and cancellations."""
    return "stop" if finished is None or finished.reason == "stop" else "length"


def _logprob(event: TokenLogprobs) -> dict[str, Any]:
    return _token(event.token, event.logprob) | {"top_logprobs": [_token(*other) for other in event.top]}


def _token(token: bytes, logprob: float) -> dict[str, Any]:
    return {"token": token.decode("utf-8", "replace"), "logprob": max(logprob, -9999.0), "bytes": list(token)}


def _usage(ends: list[Finished]) -> dict[str, Any]:
    total = sum((end.usage for end in ends), Usage())
    prompt = ends[0].usage.prompt_tokens if ends else 0  # n answers share one prompt
    return {
        "prompt_tokens": prompt,
        "completion_tokens": total.completion_tokens,
        "total_tokens": prompt + total.completion_tokens,
        "prompt_tokens_details": {"cached_tokens": ends[0].usage.cached_tokens if ends else 0},
    }
