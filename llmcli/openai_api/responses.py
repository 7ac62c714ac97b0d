"""Responses in OpenAI's format: chat completions and completions, whole and in chunks."""

from __future__ import annotations

import json
import secrets
import time
from collections.abc import AsyncIterator, Iterator
from typing import Any, Protocol

from llmcli.openai_api.http_errors import dump_exception
from llmcli.openai_api.requests import ParsedRequest
from llmcli.openai_api.tool_calls import ToolCallParser
from llmcli.types import Event, Finished, ReasoningDelta, TextDelta, TokenLogprobs, ToolCall, Usage

_MIN_LOGPROB = -9999.0  # JSON has no infinity


class ResponseFormat(Protocol):
    """The response format of one endpoint; each method returns JSON."""

    id_prefix: str
    object_name: str
    chunk_object_name: str

    def dump_choice(self, answer: ChoiceBuilder) -> dict[str, Any]:
        """Return a whole answer."""

    def dump_opening(self) -> dict[str, Any] | None:
        """Return the first chunk of a choice, or None."""

    def dump_content(self, answer: ChoiceBuilder, said: str | ToolCall) -> dict[str, Any]:
        """Return the chunk for a piece of text, or a tool call."""

    def dump_reasoning(self, text: str) -> dict[str, Any] | None:
        """Return the chunk for a piece of reasoning, or None."""

    def dump_logprobs(self, answer: ChoiceBuilder, event: TokenLogprobs) -> dict[str, Any]:
        """Return the chunk for the log-probabilities of a token."""

    def dump_finish(self, answer: ChoiceBuilder) -> dict[str, Any]:
        """Return the last chunk of a choice."""


class ChoiceBuilder:
    """One choice, built from the events so far."""

    def __init__(self, parsed: ParsedRequest, index: int) -> None:
        self.index = index
        self.text = ""
        self.reasoning = ""
        self.tool_calls: list[ToolCall] = []
        self.logprobs: list[TokenLogprobs] | None = None if parsed.base_request.logprobs is None else []
        self.text_length = 0
        self.finished: Finished | None = None
        self.tool_required = bool(parsed.tool_choice.required_names)
        self._tool_call_parser = ToolCallParser(parsed.tool_choice)

    def add_text(self, text: str, *, last: bool = False) -> list[str | ToolCall]:
        """Add a piece of text; return the pieces and calls that are complete now."""
        said = self._tool_call_parser.feed(text) if text else []
        if last:
            said += self._tool_call_parser.flush()
        if self.tool_required:  # held-back text that is no call is the start of a truncated one
            said = [piece for piece in said if isinstance(piece, ToolCall)]
        for piece in said:
            if isinstance(piece, ToolCall):
                self.tool_calls.append(piece)
            else:
                self.text += piece
        return said

    @property
    def finish_reason(self) -> str:
        """The finish reason in OpenAI's terms, which have none for time-outs and cancellations."""
        if self.finished is None or self.finished.reason == "stop":
            return "tool_calls" if self.tool_calls else "stop"
        return "length"


class ChatFormat:
    """``/v1/chat/completions``."""

    id_prefix, object_name, chunk_object_name = "chatcmpl", "chat.completion", "chat.completion.chunk"

    def dump_choice(self, answer: ChoiceBuilder) -> dict[str, Any]:
        message: dict[str, Any] = {"role": "assistant", "content": answer.text, "refusal": None}
        if answer.reasoning:
            message["reasoning_content"] = answer.reasoning
        if answer.tool_calls or answer.tool_required:
            message["content"] = answer.text or None
        if answer.tool_calls:
            message["tool_calls"] = [_dump_tool_call(call) for call in answer.tool_calls]
        logprobs = None if answer.logprobs is None else {"content": [dump_logprob(e) for e in answer.logprobs]}
        return {"index": answer.index, "message": message, "logprobs": logprobs, "finish_reason": answer.finish_reason}

    def dump_opening(self) -> dict[str, Any] | None:
        return {"delta": {"role": "assistant", "content": ""}}

    def dump_content(self, answer: ChoiceBuilder, said: str | ToolCall) -> dict[str, Any]:
        if isinstance(said, ToolCall):
            return {"delta": {"tool_calls": [{"index": answer.tool_calls.index(said), **_dump_tool_call(said)}]}}
        return {"delta": {"content": said}}

    def dump_reasoning(self, text: str) -> dict[str, Any] | None:
        return {"delta": {"reasoning_content": text}}

    def dump_logprobs(self, answer: ChoiceBuilder, event: TokenLogprobs) -> dict[str, Any]:  # noqa: ARG002 (the protocol's)
        return {"delta": {}, "logprobs": {"content": [dump_logprob(event)]}}

    def dump_finish(self, answer: ChoiceBuilder) -> dict[str, Any]:
        return {"delta": {}, "finish_reason": answer.finish_reason}


class CompletionFormat:
    """``/v1/completions``, in the format that OpenAI calls legacy."""

    id_prefix, object_name, chunk_object_name = "cmpl", "text_completion", "text_completion"

    def dump_choice(self, answer: ChoiceBuilder) -> dict[str, Any]:
        logprobs = None if answer.logprobs is None else _dump_completion_logprobs(answer.logprobs, 0)
        return {"index": answer.index, "text": answer.text, "logprobs": logprobs, "finish_reason": answer.finish_reason}

    def dump_opening(self) -> dict[str, Any] | None:
        return None

    def dump_content(self, answer: ChoiceBuilder, said: str | ToolCall) -> dict[str, Any]:  # noqa: ARG002 (the protocol's)
        return {"text": said}

    def dump_reasoning(self, text: str) -> dict[str, Any] | None:  # noqa: ARG002 (the protocol's)
        return None

    def dump_logprobs(self, answer: ChoiceBuilder, event: TokenLogprobs) -> dict[str, Any]:
        told = _dump_completion_logprobs([event], answer.text_length)
        answer.text_length += len(told["tokens"][0])
        return {"text": "", "logprobs": told}

    def dump_finish(self, answer: ChoiceBuilder) -> dict[str, Any]:
        return {"text": "", "finish_reason": answer.finish_reason}


CHAT_FORMAT, COMPLETION_FORMAT = ChatFormat(), CompletionFormat()


def build_header(response_format: ResponseFormat, model: str) -> dict[str, Any]:
    """Return what all chunks of an answer begin with."""
    return {"id": f"{response_format.id_prefix}-{secrets.token_hex(12)}", "created": int(time.time()), "model": model}


async def build_response(
    response_format: ResponseFormat, parsed: ParsedRequest, model: str, events: AsyncIterator[Event]
) -> dict[str, Any]:
    """Return the complete answer. Raises the error that ended a request."""
    answers = [ChoiceBuilder(parsed, index) for index in range(len(parsed.base_requests) * parsed.num_choices)]
    async for event in events:
        answer = answers[int(event.id)]
        if isinstance(event, TextDelta):
            answer.add_text(event.text)
        elif isinstance(event, ReasoningDelta):
            answer.reasoning += event.text
        elif isinstance(event, TokenLogprobs) and answer.logprobs is not None:
            answer.logprobs.append(event)
        elif isinstance(event, Finished):
            if event.error is not None:
                raise event.error
            answer.finished = event
            answer.add_text("", last=True)
            answer.tool_calls.extend(event.tool_calls)
    ends = [answer.finished for answer in answers if answer.finished]
    choices = [response_format.dump_choice(answer) for answer in answers]
    return {
        **build_header(response_format, model),
        "object": response_format.object_name,
        "choices": choices,
        "usage": dump_usage(ends, parsed.num_choices),
    }


async def iter_stream_chunks(
    response_format: ResponseFormat, parsed: ParsedRequest, model: str, first: Event, events: AsyncIterator[Event]
) -> AsyncIterator[bytes]:
    """Yield the data of a stream's lines; an error is sent as the last of them."""
    answers = [ChoiceBuilder(parsed, index) for index in range(len(parsed.base_requests) * parsed.num_choices)]
    fixed = build_header(response_format, model) | {"object": response_format.chunk_object_name}

    def data(index: int, said: dict[str, Any]) -> bytes:
        return _encode_json({**fixed, "choices": [{"index": index, "logprobs": None, "finish_reason": None, **said}]})

    begins = response_format.dump_opening()
    for answer in answers if begins else ():
        yield data(answer.index, begins or {})
    event: Event | None = first
    while event is not None:
        if isinstance(event, Finished) and event.error is not None:
            yield _encode_json(dump_exception(event.error)[1])
            return
        answer = answers[int(event.id)]
        for said in _iter_deltas(response_format, answer, event):
            yield data(answer.index, said)
        event = await anext(events, None)
    if parsed.include_usage:
        ends = [answer.finished for answer in answers if answer.finished]
        yield _encode_json({**fixed, "choices": [], "usage": dump_usage(ends, parsed.num_choices)})
    yield b"[DONE]"


def _iter_deltas(response_format: ResponseFormat, answer: ChoiceBuilder, event: Event) -> Iterator[dict[str, Any]]:
    """Yield the chunks that an event adds to its choice."""
    if isinstance(event, TextDelta):
        yield from (response_format.dump_content(answer, said) for said in answer.add_text(event.text))
    elif isinstance(event, ReasoningDelta):
        thought = response_format.dump_reasoning(event.text)
        if thought is not None:
            yield thought
    elif isinstance(event, TokenLogprobs):
        yield response_format.dump_logprobs(answer, event)
    elif isinstance(event, Finished):
        yield from (response_format.dump_content(answer, said) for said in answer.add_text("", last=True))
        answer.finished = event
        yield response_format.dump_finish(answer)


def _encode_json(value: dict[str, Any]) -> bytes:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "replace")


def _dump_tool_call(call: ToolCall) -> dict[str, Any]:
    arguments = json.dumps(call.arguments, ensure_ascii=False)
    return {"id": call.id, "type": "function", "function": {"name": call.name, "arguments": arguments}}


def dump_logprob(event: TokenLogprobs) -> dict[str, Any]:
    """Return the log-probability of a token as chat completions and responses have it."""
    return _dump_token(event.token, event.logprob) | {"top_logprobs": [_dump_token(*other) for other in event.top]}


def _dump_token(token: bytes, logprob: float) -> dict[str, Any]:
    return {"token": token.decode("utf-8", "replace"), "logprob": max(logprob, _MIN_LOGPROB), "bytes": list(token)}


def _dump_completion_logprobs(events: list[TokenLogprobs], offset: int) -> dict[str, Any]:
    """Return tokens, their log-probabilities and their offsets in the text of the answer."""
    tokens = [event.token.decode("utf-8", "replace") for event in events]
    offsets = [offset + sum(map(len, tokens[:number])) for number in range(len(tokens))]
    tops = [{token.decode("utf-8", "replace"): max(lp, _MIN_LOGPROB) for token, lp in event.top} for event in events]
    logprobs = [max(event.logprob, _MIN_LOGPROB) for event in events]
    return {"tokens": tokens, "token_logprobs": logprobs, "top_logprobs": tops, "text_offset": offsets}


def dump_usage(ends: list[Finished], answers: int = 1) -> dict[str, Any] | None:
    """Return token counts, None if they are not known; the answers to one prompt share it."""
    total = sum((end.usage for end in ends), Usage())
    if not total.is_known:
        return None
    prompts = [end.usage for end in ends[::answers]]
    prompt = sum(each.prompt_tokens for each in prompts)
    return {
        "prompt_tokens": prompt,
        "completion_tokens": total.completion_tokens,
        "total_tokens": prompt + total.completion_tokens,
        "prompt_tokens_details": {"cached_tokens": sum(each.cached_tokens for each in prompts)},
    }


def dump_model(name: str, created: int, digest: str = "", weights: str = "") -> dict[str, Any]:
    """Return an entry of ``/v1/models``; ``created`` in seconds since the epoch.

    ``digest`` and type of the ``weights`` that answer are there once they are loaded, so that clients of several
    servers can compare them.
    """
    loaded = {"digest": digest, "weights": weights} if digest else {}
    return {"id": name, "object": "model", "created": created, "owned_by": "llmcli", **loaded}
