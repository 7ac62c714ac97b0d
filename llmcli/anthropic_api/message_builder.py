"""Answers in Anthropic's format: one message, whole or as the events of a stream.

Source: the Claude API reference, "Messages" and "Streaming Messages".
"""

from __future__ import annotations

import json
import secrets
from collections.abc import Iterator
from typing import Any

from llmcli.anthropic_api.anthropic_http_errors import dump_error_event
from llmcli.openai_api.requests import ParsedRequest
from llmcli.openai_api.responses import ChoiceBuilder
from llmcli.types import (
    Event,
    Finished,
    FinishReason,
    Phase,
    ReasoningDelta,
    RequestProgress,
    TextDelta,
    ToolCall,
    Usage,
)

_DELTAS = {"text": ("text_delta", "text"), "thinking": ("thinking_delta", "thinking")}
"""The name of the delta of each kind of block, and its field in block and delta."""


class MessageBuilder:
    """Builds the message from the events of the engine (an ``EventBuilder``)."""

    def __init__(self, parsed: ParsedRequest, model: str) -> None:
        self._model = model
        self._choice = ChoiceBuilder(parsed, 0)
        self._id = f"msg_{secrets.token_hex(12)}"
        self._content: list[dict[str, Any]] = []
        self._has_open_block = False
        self._started = False
        self._usage = Usage()
        self._finished: Finished | None = None

    def feed(self, event: Event) -> Iterator[dict[str, Any]]:
        if isinstance(event, RequestProgress) and event.phase in {Phase.QUEUED, Phase.READING}:
            if self._started:
                yield {"type": "ping"}
            else:
                self._usage = Usage(event.total or 0, event.done)
        if not self._started:
            self._started = True
            yield {"type": "message_start", "message": self.dump()}
        if isinstance(event, ReasoningDelta):
            yield from self._add_piece("thinking", event.text)
        elif isinstance(event, TextDelta):
            yield from self._add_pieces(self._choice.add_text(event.text))
        elif isinstance(event, Finished):
            yield from self._add_pieces(self._choice.add_text("", last=True))
            yield from self._close_block()
            self._finished, self._usage = event, event.usage
            yield {"type": "message_delta", "delta": self._dump_stop(), "usage": self._dump_usage()}
            yield {"type": "message_stop"}

    def fail(self, error: Exception) -> Iterator[dict[str, Any]]:
        yield dump_error_event(error)

    def dump(self) -> dict[str, Any]:
        return {
            "id": self._id,
            "type": "message",
            "role": "assistant",
            "model": self._model,
            "content": list(self._content),
            **self._dump_stop(),
            "usage": self._dump_usage(),
        }

    def _add_pieces(self, pieces: list[str | ToolCall]) -> Iterator[dict[str, Any]]:
        for piece in pieces:
            if isinstance(piece, ToolCall):
                yield from self._add_tool_use(piece)
            else:
                yield from self._add_piece("text", piece)

    def _add_piece(self, kind: str, text: str) -> Iterator[dict[str, Any]]:
        """Add text to the open block, or to a new one when the open one is of another kind."""
        delta, field = _DELTAS[kind]
        if not (self._has_open_block and self._content[-1]["type"] == kind):
            yield from self._close_block()
            signature = {"signature": ""} if kind == "thinking" else {}
            yield from self._open_block({"type": kind, field: "", **signature})
        self._content[-1][field] += text
        yield self._dump_delta({"type": delta, field: text})

    def _add_tool_use(self, call: ToolCall) -> Iterator[dict[str, Any]]:
        yield from self._close_block()
        block = {"type": "tool_use", "id": f"toolu_{call.id.removeprefix('call_')}", "name": call.name, "input": {}}
        yield from self._open_block(block)
        self._content[-1]["input"] = call.arguments
        arguments = json.dumps(call.arguments, ensure_ascii=False)
        yield self._dump_delta({"type": "input_json_delta", "partial_json": arguments})
        yield from self._close_block()

    def _open_block(self, block: dict[str, Any]) -> Iterator[dict[str, Any]]:
        self._content.append(block)
        self._has_open_block = True
        yield {"type": "content_block_start", "index": len(self._content) - 1, "content_block": dict(block)}

    def _close_block(self) -> Iterator[dict[str, Any]]:
        if not self._has_open_block:
            return
        self._has_open_block = False
        if self._content[-1]["type"] == "thinking":  # which is not signed here; it comes back unread
            yield self._dump_delta({"type": "signature_delta", "signature": ""})
        yield {"type": "content_block_stop", "index": len(self._content) - 1}

    def _dump_delta(self, delta: dict[str, Any]) -> dict[str, Any]:
        return {"type": "content_block_delta", "index": len(self._content) - 1, "delta": delta}

    def _dump_stop(self) -> dict[str, Any]:
        end = self._finished
        if end is None:
            return {"stop_reason": None, "stop_sequence": None}
        reason = "model_context_window_exceeded" if end.limit == "context" else "max_tokens"
        if end.reason is FinishReason.STOP:
            reason = "end_turn" if end.stop_string is None else "stop_sequence"
            reason = "tool_use" if self._choice.tool_calls else reason
        return {"stop_reason": reason, "stop_sequence": end.stop_string}

    def _dump_usage(self) -> dict[str, Any]:
        """Return token counts: those of the prompt that were cached stand beside the others, not among them."""
        usage, reasoning = self._usage, self._finished.reasoning_tokens if self._finished else 0
        return {
            "input_tokens": usage.prompt_tokens - usage.cached_tokens,
            "cache_creation_input_tokens": 0,
            "cache_read_input_tokens": usage.cached_tokens,
            "output_tokens": usage.completion_tokens,
            **({"output_tokens_details": {"thinking_tokens": reasoning}} if reasoning else {}),
        }
