"""Responses of the Responses API: one object, whole or as the events of a stream.

Source: the OpenAI API reference, "The response object" and "Streaming events".
"""

from __future__ import annotations

import copy
import json
import secrets
import time
from collections.abc import Iterator
from typing import Any

from llmcli.openai_api.http_errors import dump_exception
from llmcli.openai_api.requests import ParsedRequest
from llmcli.openai_api.responses import ChoiceBuilder, dump_logprob
from llmcli.openai_api.responses_request import ParsedResponseRequest
from llmcli.types import Event, Finished, FinishReason, ReasoningDelta, TextDelta, TokenLogprobs, ToolCall

_NOT_OFFERED = {
    "background": False,
    "previous_response_id": None,
    "service_tier": "default",
    "store": False,
    "top_logprobs": 0,
    "truncation": "disabled",
}
"""Fields of every response, of what a request cannot change here."""
_NEW_TEXT_ITEMS: dict[str, dict[str, Any]] = {
    "message": {"role": "assistant", "content": []},
    "reasoning": {"summary": [], "content": []},
}
_NEW_TEXT_PARTS: dict[str, dict[str, Any]] = {
    "message": {"type": "output_text", "text": "", "annotations": [], "logprobs": []},
    "reasoning": {"type": "reasoning_text", "text": ""},
}
"""The only part of such an item. The events about its text are named after its type."""


class ResponseBuilder:
    """Builds the response from the events of the engine (an ``EventBuilder``)."""

    def __init__(self, parsed: ParsedRequest, model: str) -> None:
        self._model = model
        self._repeated = parsed.repeated_fields if isinstance(parsed, ParsedResponseRequest) else {}
        self._choice = ChoiceBuilder(parsed, 0)
        self._id = f"resp_{secrets.token_hex(24)}"
        self._created = int(time.time())
        self._output: list[dict[str, Any]] = []
        self._has_open_item = False
        self._new_logprobs: list[dict[str, Any]] = []  # of tokens whose text is no part of a message yet
        self._sequence_number = 0
        self._status = "in_progress"
        self._finished: Finished | None = None
        self._error: dict[str, Any] | None = None

    def feed(self, event: Event) -> Iterator[dict[str, Any]]:
        if not self._sequence_number:
            yield self._dump_event("response.created", response=self.dump())
            yield self._dump_event("response.in_progress", response=self.dump())
        if isinstance(event, ReasoningDelta):
            yield from self._add_piece("reasoning", event.text)
        elif isinstance(event, TextDelta):
            yield from self._add_pieces(self._choice.add_text(event.text))
        elif isinstance(event, TokenLogprobs):
            self._new_logprobs.append(dump_logprob(event))
        elif isinstance(event, Finished):
            yield from self._add_pieces([*self._choice.add_text("", last=True), *event.tool_calls])
            if self._has_open_item and self._output[-1]["type"] == "message":
                self._take_logprobs()
            self._finished = event
            self._status = "completed" if event.reason is FinishReason.STOP else "incomplete"
            yield from self._close_item(self._status)
            yield self._dump_event(f"response.{self._status}", response=self.dump())

    def fail(self, error: Exception) -> Iterator[dict[str, Any]]:
        self._status = "failed"
        message = dump_exception(error, "input")[1]["error"]["message"]
        self._error = {"code": "server_error", "message": message}
        yield self._dump_event("response.failed", response=self.dump())

    def dump(self) -> dict[str, Any]:
        cut = self._status == "incomplete"
        return {
            "id": self._id,
            "object": "response",
            "created_at": self._created,
            "completed_at": int(time.time()) if self._status == "completed" else None,
            "status": self._status,
            "error": self._error,
            "incomplete_details": {"reason": "max_output_tokens"} if cut else None,
            "model": self._model,
            "output": list(self._output),
            "usage": self._dump_usage(),
            **_NOT_OFFERED,
            **self._repeated,
        }

    def _add_pieces(self, pieces: list[str | ToolCall]) -> Iterator[dict[str, Any]]:
        for piece in pieces:
            if isinstance(piece, ToolCall):
                yield from self._add_call(piece)
            else:
                yield from self._add_piece("message", piece)

    def _add_piece(self, kind: str, text: str) -> Iterator[dict[str, Any]]:
        """Add text to the open item, or to a new one when the open one is of another kind."""
        if not (self._has_open_item and self._output[-1]["type"] == kind):
            yield from self._close_item("completed")
            yield from self._open_text_item(kind)
        self._output[-1]["content"][0]["text"] += text
        more = {"logprobs": self._take_logprobs()} if kind == "message" else {}
        yield self._dump_text_event("delta", delta=text, **more)

    def _take_logprobs(self) -> list[dict[str, Any]]:
        """Add the log-probabilities of new tokens to the open message, and return them."""
        taken, self._new_logprobs = self._new_logprobs, []
        self._output[-1]["content"][0]["logprobs"] += taken
        return taken

    def _open_text_item(self, kind: str) -> Iterator[dict[str, Any]]:
        new_item, new_part = _NEW_TEXT_ITEMS[kind], _NEW_TEXT_PARTS[kind]
        prefix = "rs" if kind == "reasoning" else "msg"
        yield from self._open_item({"id": _make_id(prefix), "type": kind, "status": "in_progress", **new_item})
        self._output[-1]["content"] = [copy.deepcopy(new_part)]
        yield self._dump_event("response.content_part.added", **self._place(), content_index=0, part=new_part)

    def _add_call(self, call: ToolCall) -> Iterator[dict[str, Any]]:
        self._new_logprobs.clear()  # those of the call
        yield from self._close_item("completed")
        item = {"id": _make_id("fc"), "type": "function_call", "status": "in_progress"}
        item |= {"call_id": call.id, "name": call.name, "arguments": ""}
        yield from self._open_item(item)
        arguments = item["arguments"] = json.dumps(call.arguments, ensure_ascii=False)
        yield self._dump_event("response.function_call_arguments.delta", **self._place(), delta=arguments)
        done = {"name": call.name, "arguments": arguments}
        yield self._dump_event("response.function_call_arguments.done", **self._place(), **done)
        yield from self._close_item("completed")

    def _open_item(self, item: dict[str, Any]) -> Iterator[dict[str, Any]]:
        self._output.append(item)
        self._has_open_item = True
        index = len(self._output) - 1
        yield self._dump_event("response.output_item.added", output_index=index, item=dict(item))

    def _close_item(self, status: str) -> Iterator[dict[str, Any]]:
        if not self._has_open_item:
            return
        self._has_open_item = False
        item = self._output[-1]
        item["status"] = status
        if item["type"] in _NEW_TEXT_PARTS:
            (part,) = item["content"]
            more = {"logprobs": part["logprobs"]} if item["type"] == "message" else {}
            yield self._dump_text_event("done", text=part["text"], **more)
            yield self._dump_event("response.content_part.done", **self._place(), content_index=0, part=part)
        yield self._dump_event("response.output_item.done", output_index=len(self._output) - 1, item=item)

    def _dump_text_event(self, what: str, **fields: Any) -> dict[str, Any]:
        name = f"response.{self._output[-1]['content'][0]['type']}.{what}"
        return self._dump_event(name, **self._place(), content_index=0, **fields)

    def _place(self) -> dict[str, Any]:
        return {"item_id": self._output[-1]["id"], "output_index": len(self._output) - 1}

    def _dump_event(self, kind: str, **fields: Any) -> dict[str, Any]:
        number, self._sequence_number = self._sequence_number, self._sequence_number + 1
        return {"type": kind, "sequence_number": number, **fields}

    def _dump_usage(self) -> dict[str, Any] | None:
        if self._finished is None or not self._finished.usage.is_known:
            return None
        usage = self._finished.usage
        return {
            "input_tokens": usage.prompt_tokens,
            "input_tokens_details": {"cached_tokens": usage.cached_tokens, "cache_write_tokens": 0},
            "output_tokens": usage.completion_tokens,
            "output_tokens_details": {"reasoning_tokens": self._finished.reasoning_tokens},
            "total_tokens": usage.prompt_tokens + usage.completion_tokens,
        }


def _make_id(prefix: str) -> str:
    return f"{prefix}_{secrets.token_hex(16)}"
