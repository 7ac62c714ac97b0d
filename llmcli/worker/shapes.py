"""Answers in OpenAI's shapes: chat completions and completions, whole and in chunks."""

from __future__ import annotations

import dataclasses
import json
import secrets
import time
from collections.abc import AsyncIterator, Iterator
from typing import Any, Protocol

from llmcli.types import Event, Finished, ReasoningPiece, TextPiece, TokenLogprobs, ToolCall, Usage
from llmcli.worker.answers import failed
from llmcli.worker.tools import CallReader
from llmcli.worker.wishes import Wish

_LEAST = -9999.0  # JSON has no infinity


class Shape(Protocol):
    """How one path says it; each method returns JSON."""

    prefix: str
    whole: str
    chunk: str

    def choice(self, answer: Answer) -> dict[str, Any]:
        """Return a whole answer."""

    def begins(self) -> dict[str, Any] | None:
        """Return what a stream says of a choice before anything was said, None for nothing."""

    def piece(self, answer: Answer, said: str | ToolCall) -> dict[str, Any]:
        """Return what a chunk says of a piece of text, or a call."""

    def reasoning(self, text: str) -> dict[str, Any] | None:
        """Return what a chunk says of a piece of reasoning, None for nothing."""

    def logprobs(self, answer: Answer, event: TokenLogprobs) -> dict[str, Any]:
        """Return what a chunk says of a token."""

    def ends(self, answer: Answer) -> dict[str, Any]:
        """Return what the last chunk of a choice says."""


class Answer:
    """One choice, as far as it has come."""

    def __init__(self, wish: Wish, index: int) -> None:
        self.index = index
        self.text = ""
        self.reasoning = ""
        self.calls: list[ToolCall] = []
        self.logprobs: list[TokenLogprobs] | None = None if wish.base.logprobs is None else []
        self.length = 0
        self.finished: Finished | None = None
        self.forced = bool(wish.toolbox.forced)
        self._reader = CallReader(wish.toolbox)

    def take(self, text: str, *, last: bool = False) -> list[str | ToolCall]:
        """Take a piece of text; return the pieces and calls that are certain now."""
        said = self._reader.feed(text) if text else []
        if last:
            said += self._reader.flush()
        if self.forced:  # what is no call is the beginning of one that was cut
            said = [piece for piece in said if isinstance(piece, ToolCall)]
        for piece in said:
            if isinstance(piece, ToolCall):
                self.calls.append(piece)
            else:
                self.text += piece
        return said

    @property
    def reason(self) -> str:
        """The finish reason in OpenAI's words, which know of no time-outs and cancellations."""
        if self.finished is None or self.finished.reason == "stop":
            return "tool_calls" if self.calls else "stop"
        return "length"


class Chat:
    """``/v1/chat/completions``."""

    prefix, whole, chunk = "chatcmpl", "chat.completion", "chat.completion.chunk"

    def choice(self, answer: Answer) -> dict[str, Any]:
        message: dict[str, Any] = {"role": "assistant", "content": answer.text, "refusal": None}
        if answer.reasoning:
            message["reasoning_content"] = answer.reasoning
        if answer.calls or answer.forced:
            message["content"] = answer.text or None
        if answer.calls:
            message["tool_calls"] = [_call(call) for call in answer.calls]
        logprobs = None if answer.logprobs is None else {"content": [_chat_logprob(e) for e in answer.logprobs]}
        return {"index": answer.index, "message": message, "logprobs": logprobs, "finish_reason": answer.reason}

    def begins(self) -> dict[str, Any] | None:
        return {"delta": {"role": "assistant", "content": ""}}

    def piece(self, answer: Answer, said: str | ToolCall) -> dict[str, Any]:
        if isinstance(said, ToolCall):
            return {"delta": {"tool_calls": [{"index": answer.calls.index(said), **_call(said)}]}}
        return {"delta": {"content": said}}

    def reasoning(self, text: str) -> dict[str, Any] | None:
        return {"delta": {"reasoning_content": text}}

    def logprobs(self, answer: Answer, event: TokenLogprobs) -> dict[str, Any]:  # noqa: ARG002 (the protocol's)
        return {"delta": {}, "logprobs": {"content": [_chat_logprob(event)]}}

    def ends(self, answer: Answer) -> dict[str, Any]:
        return {"delta": {}, "finish_reason": answer.reason}


class Completion:
    """``/v1/completions``, in the shape that OpenAI calls legacy."""

    prefix, whole, chunk = "cmpl", "text_completion", "text_completion"

    def choice(self, answer: Answer) -> dict[str, Any]:
        logprobs = None if answer.logprobs is None else _legacy_logprobs(answer.logprobs, 0)
        return {"index": answer.index, "text": answer.text, "logprobs": logprobs, "finish_reason": answer.reason}

    def begins(self) -> dict[str, Any] | None:
        return None

    def piece(self, answer: Answer, said: str | ToolCall) -> dict[str, Any]:  # noqa: ARG002 (the protocol's)
        return {"text": said}

    def reasoning(self, text: str) -> dict[str, Any] | None:  # noqa: ARG002 (the protocol's)
        return None

    def logprobs(self, answer: Answer, event: TokenLogprobs) -> dict[str, Any]:
        told = _legacy_logprobs([event], answer.length)
        answer.length += len(told["tokens"][0])
        return {"text": "", "logprobs": told}

    def ends(self, answer: Answer) -> dict[str, Any]:
        return {"text": "", "finish_reason": answer.reason}


CHAT, COMPLETION = Chat(), Completion()


def head(shape: Shape, model: str) -> dict[str, Any]:
    """Return what all chunks of an answer begin with."""
    return {"id": f"{shape.prefix}-{secrets.token_hex(12)}", "created": int(time.time()), "model": model}


async def whole(shape: Shape, wish: Wish, model: str, events: AsyncIterator[Event]) -> dict[str, Any]:
    """Return the answer when all of it is there. Raises the error with which a request ended."""
    answers = [Answer(wish, index) for index in range(len(wish.bases) * wish.answers)]
    async for event in events:
        answer = answers[int(event.id)]
        if isinstance(event, TextPiece):
            answer.take(event.text)
        elif isinstance(event, ReasoningPiece):
            answer.reasoning += event.text
        elif isinstance(event, TokenLogprobs) and answer.logprobs is not None:
            answer.logprobs.append(event)
        elif isinstance(event, Finished):
            if event.error is not None:
                raise event.error
            answer.finished = event
            answer.take("", last=True)
    ends = [answer.finished for answer in answers if answer.finished]
    choices = [shape.choice(answer) for answer in answers]
    return {**head(shape, model), "object": shape.whole, "choices": choices, "usage": usage(ends, wish.answers)}


async def chunks(
    shape: Shape, wish: Wish, model: str, first: Event, events: AsyncIterator[Event]
) -> AsyncIterator[bytes]:
    """Yield the data of a stream's lines; an error in the middle is one of them, and then the stream ends."""
    answers = [Answer(wish, index) for index in range(len(wish.bases) * wish.answers)]
    fixed = head(shape, model) | {"object": shape.chunk}

    def data(index: int, said: dict[str, Any]) -> bytes:
        return _json({**fixed, "choices": [{"index": index, "logprobs": None, "finish_reason": None, **said}]})

    begins = shape.begins()
    for answer in answers if begins else ():
        yield data(answer.index, begins or {})
    event: Event | None = first
    while event is not None:
        if isinstance(event, Finished) and event.error is not None:
            yield bytes(failed(event.error).body)
            return
        answer = answers[int(event.id)]
        for said in _said(shape, answer, event):
            yield data(answer.index, said)
        event = await anext(events, None)
    if wish.usage:
        ends = [answer.finished for answer in answers if answer.finished]
        yield _json({**fixed, "choices": [], "usage": usage(ends, wish.answers)})
    yield b"[DONE]"


def _said(shape: Shape, answer: Answer, event: Event) -> Iterator[dict[str, Any]]:
    """Yield what an event makes the chunks of its choice say."""
    if isinstance(event, TextPiece):
        yield from (shape.piece(answer, said) for said in answer.take(event.text))
    elif isinstance(event, ReasoningPiece):
        thought = shape.reasoning(event.text)
        if thought is not None:
            yield thought
    elif isinstance(event, TokenLogprobs):
        yield shape.logprobs(answer, event)
    elif isinstance(event, Finished):
        yield from (shape.piece(answer, said) for said in answer.take("", last=True))
        answer.finished = event
        yield shape.ends(answer)


def _json(value: dict[str, Any]) -> bytes:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "replace")


def _call(call: ToolCall) -> dict[str, Any]:
    arguments = json.dumps(call.arguments, ensure_ascii=False)
    return {"id": call.id, "type": "function", "function": {"name": call.name, "arguments": arguments}}


def _chat_logprob(event: TokenLogprobs) -> dict[str, Any]:
    return _token(event.token, event.logprob) | {"top_logprobs": [_token(*other) for other in event.top]}


def _token(token: bytes, logprob: float) -> dict[str, Any]:
    return {"token": token.decode("utf-8", "replace"), "logprob": max(logprob, _LEAST), "bytes": list(token)}


def _legacy_logprobs(events: list[TokenLogprobs], offset: int) -> dict[str, Any]:
    """Return tokens, their log-probabilities and where each begins in the text of the answer."""
    tokens = [event.token.decode("utf-8", "replace") for event in events]
    offsets = [offset + sum(map(len, tokens[:number])) for number in range(len(tokens))]
    tops = [{token.decode("utf-8", "replace"): max(lp, _LEAST) for token, lp in event.top} for event in events]
    logprobs = [max(event.logprob, _LEAST) for event in events]
    return {"tokens": tokens, "token_logprobs": logprobs, "top_logprobs": tops, "text_offset": offsets}


def usage(ends: list[Finished], answers: int = 1) -> dict[str, Any]:
    """Return token counts; the answers to one prompt share it."""
    total = sum((end.usage for end in ends), Usage())
    prompts = [end.usage for end in ends[::answers]]
    prompt = sum(each.prompt_tokens for each in prompts)
    return {
        "prompt_tokens": prompt,
        "completion_tokens": total.completion_tokens,
        "total_tokens": prompt + total.completion_tokens,
        "prompt_tokens_details": {"cached_tokens": sum(each.cached_tokens for each in prompts)},
    }


def scores(model: str, event: Any, end: Finished) -> dict[str, Any]:
    """Return the answer of ``/v1/score``."""
    return {
        "model": model,
        "scores": [dataclasses.asdict(score) for score in event.scores] if event is not None else [],
        "usage": usage([end]),
    }
