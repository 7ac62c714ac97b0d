"""Servers on loopback that speak the protocols of hosted models, as their public documentation describes them.

They are ``FakeServer``s, so scripts, refused fields and limits work as there; what differs are paths, keys, events and
errors. ``say`` answers a text, ``send_blocks`` the bytes that a test says.
"""

from __future__ import annotations

import json
import ssl
import time
from collections.abc import Iterable

from fake_server import Behaviour, FakeServer, split_tokens

PROMPT_TOKENS, CACHED_TOKENS = 7, 2


class HostedServer(FakeServer):
    """A server of a protocol; ``type`` is its name in the configuration."""

    type = "openai-responses"
    prefix = "/v1"

    def __init__(self, tls: ssl.SSLContext | None = None) -> None:
        super().__init__(tls)
        self.url = f"http://127.0.0.1:{self.port}{self.prefix}"
        self.usual = self.say()

    def last_message(self, body: dict) -> str:
        """Return what the user said last."""
        return body["input"][-1]["content"]

    def answers(self, path: str) -> bool:
        return path.endswith("/responses")

    def events(self, text: str, *, reasoning: str = "", end: str = "stop") -> list[bytes]:
        """Return the events of an answer; ``end`` is stop, length, refusal or empty."""
        events = [{"type": "response.created", "response": {"status": "in_progress"}}]
        events += [
            {"type": "response.reasoning_summary_text.delta", "output_index": 0, "delta": piece}
            for piece in split_tokens(reasoning)
        ]
        item = {"type": "message", "role": "assistant", "content": []}
        events += [{"type": "response.output_item.added", "output_index": 1, "item": item}]
        kind = "response.refusal.delta" if end == "refusal" else "response.output_text.delta"
        events += [{"type": kind, "output_index": 1, "delta": piece, "logprobs": []} for piece in split_tokens(text)]
        usage = {
            "input_tokens": PROMPT_TOKENS,
            "input_tokens_details": {"cached_tokens": CACHED_TOKENS},
            "output_tokens": len(split_tokens(text)),
            "output_tokens_details": {"reasoning_tokens": 0},
        }
        cut = end == "length"
        response = {
            "status": "incomplete" if cut else "completed",
            "incomplete_details": {"reason": "max_output_tokens"} if cut else None,
            "error": None,
            "usage": usage,
            "output": [],
        }
        events += [{"type": "response.incomplete" if cut else "response.completed", "response": response}]
        return [f"event: {event['type']}\ndata: {json.dumps(event)}\n\n".encode() for event in events]

    def call_events(self, *calls: tuple[str, str], end: str = "tools") -> list[bytes]:
        """Return the events of an answer that calls tools, each a name and the text of its arguments.

        ``end``: tools, or length for an answer that was cut.
        """
        events = [{"type": "response.created", "response": {"status": "in_progress"}}]
        for index, (name, arguments) in enumerate(calls):
            item = {"type": "function_call", "id": f"fc_{index}", "call_id": f"call_{index}", "name": name}
            events.append(
                {"type": "response.output_item.added", "output_index": index, "item": item | {"arguments": ""}}
            )
            kind = "response.function_call_arguments.delta"
            events += [{"type": kind, "output_index": index, "delta": piece} for piece in split_tokens(arguments)]
            if end == "tools":
                kind = "response.function_call_arguments.done"
                events.append({"type": kind, "output_index": index, "arguments": arguments})
                done = {"type": "response.output_item.done", "output_index": index}
                events.append(done | {"item": item | {"arguments": arguments}})
        last = self.events("x" * 25, end="stop" if end == "tools" else end)[-1]  # with five tokens
        return [*map(_named, events), last]

    def stream_error(self, message: str) -> bytes:
        """Return the event of an overload in a stream."""
        event = {"type": "error", "code": "rate_limit_exceeded", "message": message, "param": None}
        return f"event: error\ndata: {json.dumps(event)}\n\n".encode()

    def say(self, text=None, *, seconds: float = 0.0, **how) -> Behaviour:
        """Answer a text, what a function makes of the body, or what the user said."""

        def behave(handler, body: dict) -> None:
            time.sleep(seconds)
            said = self.last_message(body) if text is None else text if isinstance(text, str) else text(body)
            handler.stream_blocks(self.events(said, **how))

        return behave


def _named(event: dict) -> bytes:
    """Return the bytes of an event under its type."""
    return f"event: {event['type']}\ndata: {json.dumps(event, ensure_ascii=False)}\n\n".encode()


class AnthropicServer(HostedServer):
    """Anthropic's Messages."""

    type = "anthropic"

    def answers(self, path: str) -> bool:
        return path.endswith("/messages")

    def last_message(self, body: dict) -> str:
        return body["messages"][-1]["content"][-1]["text"]

    def knows_key(self, headers) -> bool:
        return not self.key or headers.get("x-api-key") == self.key

    def list_models(self) -> dict:
        models = [{"type": "model", "id": each["id"], "max_input_tokens": 4096} for each in self.models]
        return {"data": models, "has_more": False, "first_id": "big", "last_id": "big"}

    def error_body(self, message: str, *, param: str | None = None, code: str | None = None) -> dict:
        del param
        error = {"type": code or "invalid_request_error", "message": message}
        return {"type": "error", "error": error, "request_id": "req_1"}

    def events(self, text: str, *, reasoning: str = "", end: str = "stop", tool: bool = False) -> list[bytes]:
        usage = {
            "input_tokens": PROMPT_TOKENS - CACHED_TOKENS - 1,
            "cache_creation_input_tokens": 1,
            "cache_read_input_tokens": CACHED_TOKENS,
            "output_tokens": 1,
        }
        events = [{"type": "message_start", "message": {"type": "message", "content": [], "usage": usage}}]
        events += [{"type": "ping"}]
        if reasoning:
            block = {"type": "thinking", "thinking": "", "signature": ""}
            deltas = [{"type": "thinking_delta", "thinking": piece} for piece in split_tokens(reasoning)]
            events += self._block(0, block, [*deltas, {"type": "signature_delta", "signature": "c2lnbg=="}])
        if tool:
            block = {"type": "tool_use", "id": "toolu_1", "name": "answer", "input": {}}
            deltas = [{"type": "input_json_delta", "partial_json": piece} for piece in ["", *split_tokens(text)]]
        else:
            block = {"type": "text", "text": ""}
            deltas = [{"type": "text_delta", "text": piece} for piece in split_tokens(text)]
        events += self._block(int(bool(reasoning)), block, deltas) if text and end != "refusal" else []
        reasons = {"stop": "tool_use" if tool else "end_turn", "length": "max_tokens", "refusal": "refusal"}
        details = {"type": "refusal", "category": "cyber", "explanation": text} if end == "refusal" else None
        delta = {"stop_reason": reasons.get(end, end), "stop_sequence": None, "stop_details": details}
        events += [
            {"type": "message_delta", "delta": delta, "usage": {"output_tokens": len(split_tokens(text))}},
            {"type": "message_stop"},
        ]
        return [f"event: {event['type']}\ndata: {json.dumps(event)}\n\n".encode() for event in events]

    def call_events(self, *calls: tuple[str, str], end: str = "tools") -> list[bytes]:
        start = {"type": "message_start", "message": {"type": "message", "content": [], "usage": {"input_tokens": 7}}}
        events = [start]
        for index, (name, arguments) in enumerate(calls):
            block = {"type": "tool_use", "id": f"toolu_{index}", "name": name, "input": {}}
            pieces = ["", *split_tokens(arguments)]
            events += self._block(index, block, [{"type": "input_json_delta", "partial_json": each} for each in pieces])
        reason = {"stop_reason": "tool_use" if end == "tools" else "max_tokens"}
        events += [{"type": "message_delta", "delta": reason, "usage": {"output_tokens": 5}}, {"type": "message_stop"}]
        return [_named(event) for event in events]

    @staticmethod
    def _block(index: int, block: dict, deltas: list[dict]) -> list[dict]:
        return [
            {"type": "content_block_start", "index": index, "content_block": block},
            *({"type": "content_block_delta", "index": index, "delta": delta} for delta in deltas),
            {"type": "content_block_stop", "index": index},
        ]

    def stream_error(self, message: str) -> bytes:
        event = {"type": "error", "error": {"type": "overloaded_error", "message": message}}
        return f"event: error\ndata: {json.dumps(event)}\n\n".encode()


class GeminiServer(HostedServer):
    """Gemini's generateContent."""

    type = "gemini"
    prefix = "/v1beta"

    def answers(self, path: str) -> bool:
        return "generatecontent" in path.lower()

    def last_message(self, body: dict) -> str:
        return body["contents"][-1]["parts"][-1]["text"]

    def knows_key(self, headers) -> bool:
        return not self.key or headers.get("x-goog-api-key") == self.key

    def list_models(self) -> dict:
        methods = ["generateContent", "countTokens"]
        return {
            "models": [
                {"name": f"models/{each['id']}", "inputTokenLimit": 4096, "supportedGenerationMethods": methods}
                for each in self.models
            ]
        }

    def sent_fields(self, body: dict) -> set[str]:
        return set(body.get("generationConfig", {}))

    def error_body(self, message: str, *, param: str | None = None, code: str | None = None) -> dict:
        details = [{"@type": "type.googleapis.com/google.rpc.BadRequest", "fieldViolations": [{"field": param}]}]
        error = {"code": 0, "message": message, "status": code or "INVALID_ARGUMENT"}
        return {"error": error | ({"details": details} if param else {})}

    def events(self, text: str, *, reasoning: str = "", end: str = "stop") -> list[bytes]:
        pieces = [{"text": piece, "thought": True} for piece in split_tokens(reasoning)]
        pieces += [] if end == "refusal" else [{"text": piece} for piece in split_tokens(text)]
        candidates = [{"index": 0, "content": {"role": "model", "parts": [piece]}} for piece in pieces]
        reasons = {"stop": "STOP", "length": "MAX_TOKENS", "refusal": "SAFETY"}
        last = {"index": 0, "content": {"role": "model", "parts": []}, "finishReason": reasons.get(end, end)}
        if end == "refusal":
            ratings = [{"category": "HARM_CATEGORY_HARASSMENT", "probability": "HIGH", "blocked": True}]
            last = {"index": 0, "finishReason": "SAFETY", "finishMessage": text, "safetyRatings": ratings}
        usage = {
            "promptTokenCount": PROMPT_TOKENS,
            "cachedContentTokenCount": CACHED_TOKENS,
            "candidatesTokenCount": len(split_tokens(text)),
        }
        events = [{"candidates": [candidate]} for candidate in candidates]
        events += [{"candidates": [last], "usageMetadata": usage, "modelVersion": "big"}]
        return [f"data: {json.dumps(event)}\r\n\r\n".encode() for event in events]

    def call_events(self, *calls: tuple[str, str], end: str = "tools") -> list[bytes]:
        parts = [{"functionCall": {"name": name, "args": json.loads(arguments)}} for name, arguments in calls]
        parts[0]["thoughtSignature"] = "c2lnbg=="
        candidates = [{"index": 0, "content": {"role": "model", "parts": [part]}} for part in parts]
        candidates[-1]["finishReason"] = "STOP" if end == "tools" else "MAX_TOKENS"
        usage = {"promptTokenCount": PROMPT_TOKENS, "candidatesTokenCount": 5}
        events = [{"candidates": [candidate], "usageMetadata": usage} for candidate in candidates]
        return [f"data: {json.dumps(event, ensure_ascii=False)}\r\n\r\n".encode() for event in events]

    def stream_error(self, message: str) -> bytes:
        error = {"error": {"code": 503, "message": message, "status": "UNAVAILABLE"}}
        return f"data: {json.dumps(error)}\r\n\r\n".encode()


class ChatServer(HostedServer):
    """OpenAI's chat completions, so that what holds for the others is checked for them too."""

    type = "openai"
    answers = FakeServer.answers

    def last_message(self, body: dict) -> str:
        return body["messages"][-1]["content"]

    def events(self, text: str, *, reasoning: str = "", end: str = "stop") -> list[bytes]:
        field = "refusal" if end == "refusal" else "content"
        deltas = [{"reasoning_content": piece} for piece in split_tokens(reasoning)]
        deltas += [{field: piece} for piece in split_tokens(text)]
        chunks = [{"choices": [{"index": 0, "delta": delta, "finish_reason": None}]} for delta in deltas]
        reason = "length" if end == "length" else "stop"
        usage = {
            "prompt_tokens": PROMPT_TOKENS,
            "completion_tokens": len(split_tokens(text)),
            "prompt_tokens_details": {"cached_tokens": CACHED_TOKENS},
        }
        chunks += [{"choices": [{"index": 0, "delta": {}, "finish_reason": reason}]}, {"choices": [], "usage": usage}]
        return [*(f"data: {json.dumps(chunk)}\n\n".encode() for chunk in chunks), b"data: [DONE]\n\n"]

    def call_events(self, *calls: tuple[str, str], end: str = "tools") -> list[bytes]:
        deltas = []
        for index, (name, arguments) in enumerate(calls):
            first = {"index": index, "id": f"call_{index}", "type": "function"}
            deltas.append(first | {"function": {"name": name, "arguments": ""}})
            deltas += [{"index": index, "function": {"arguments": piece}} for piece in split_tokens(arguments)]
        chunks = [{"choices": [{"index": 0, "delta": {"tool_calls": [delta]}}]} for delta in deltas]
        reason = "tool_calls" if end == "tools" else "length"
        chunks.append({"choices": [{"index": 0, "delta": {}, "finish_reason": reason}]})
        chunks.append({"choices": [], "usage": {"prompt_tokens": PROMPT_TOKENS, "completion_tokens": 5}})
        return [
            *(f"data: {json.dumps(chunk, ensure_ascii=False)}\n\n".encode() for chunk in chunks),
            b"data: [DONE]\n\n",
        ]

    def stream_error(self, message: str) -> bytes:
        return f"data: {json.dumps({'error': {'message': message, 'type': 'server_error'}})}\n\n".encode()


SERVERS = {server.type: server for server in (ChatServer, HostedServer, AnthropicServer, GeminiServer)}


def send_blocks(blocks: Iterable[bytes], *, ends: bool = True) -> Behaviour:
    """Send these bytes, a chunk each; unless it ``ends`` the connection is cut after them."""
    return lambda handler, _body: handler.stream_blocks(blocks, ends=ends)


def stall_after(*blocks: bytes) -> Behaviour:
    """Send these bytes, then nothing more."""

    def behave(handler, _body: dict) -> None:
        def stall():
            yield from blocks
            handler.fake.over.wait(20)

        handler.stream_blocks(stall())

    return behave


def rechunk(blocks: Iterable[bytes], size: int) -> list[bytes]:
    """Return the same bytes in blocks of ``size``, whatever that tears apart."""
    whole = b"".join(blocks)
    return [whole[start : start + size] for start in range(0, len(whole), size)]
