"""From the chunks of a streamed chat completion to events."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Mapping
from typing import Any

from llmcli.backend_config import ServerConfig
from llmcli.backends.remote.transport.api_keys import ApiKey
from llmcli.backends.remote.transport.error_mapping import map_stream_error
from llmcli.backends.remote.transport.server_message import describe_json_error
from llmcli.errors import RemoteError, RequestRejected, TemporaryFailure
from llmcli.text_stream import ReasoningParser
from llmcli.types import (
    Event,
    Finished,
    FinishReason,
    ReasoningDelta,
    Request,
    TextDelta,
    Timings,
    TokenLogprobs,
    Usage,
)

DONE_DATA = "[DONE]"
_THINK_TAGS = ("<think>", "</think>")


def parse_usage(answer: Mapping[str, Any]) -> Usage:
    """Return the token counts of an answer; 0 if it has none."""
    given = answer.get("usage")
    usage = given if isinstance(given, Mapping) else {}
    details = usage.get("prompt_tokens_details")
    cached = details.get("cached_tokens") if isinstance(details, Mapping) else 0
    return Usage(
        _parse_token_count(usage.get("prompt_tokens")),
        _parse_token_count(cached),
        _parse_token_count(usage.get("completion_tokens")),
    )


def _parse_token_count(value: Any) -> int:
    return value if isinstance(value, int) and not isinstance(value, bool) and value >= 0 else 0


class ChunkParser:
    """Parses the events of one answer; ``finish`` yields how the answer ended."""

    def __init__(self, request: Request, server: ServerConfig, key: ApiKey) -> None:
        self._request = request
        self._server = server
        self._key = key
        self._reasoning_parser = ReasoningParser(_THINK_TAGS, inside=False)
        self._started = time.monotonic()
        self._first_at: float | None = None
        self._last_at = self._started
        self._num_pieces = 0
        self._finish_reason = ""
        self._usage = Usage()
        self.num_characters = 0
        """Characters received, of the answer and of the reasoning."""

    def parse_data(self, data: str) -> Iterator[Event]:
        """Yield the events in the data of one event. Raises ``RemoteError``, and the error that it reports."""
        try:
            chunk = json.loads(data)
        except (ValueError, RecursionError) as error:
            raise RemoteError(
                self._server.label, detail=f"a part of its answer is not JSON: {describe_json_error(error)}"
            ) from error
        if not isinstance(chunk, dict):
            raise RemoteError(self._server.label, detail="a part of its answer is not a JSON object")
        yield from self.parse_chunk(chunk)

    def parse_response(self, answer: Mapping[str, Any]) -> Iterator[Event]:
        """Yield the events of an answer that came whole. Raises ``RemoteError`` for an empty one."""
        if not (isinstance(answer.get("choices"), list) and answer["choices"]) and not answer.get("error"):
            raise RemoteError(self._server.label, detail="its answer is empty")
        yield from self.parse_chunk(answer)

    def parse_chunk(self, chunk: Mapping[str, Any]) -> Iterator[Event]:
        """Yield the events of a chunk, or of a whole answer."""
        if chunk.get("error"):
            raise map_stream_error(self._server, self._key, chunk["error"])
        if isinstance(chunk.get("usage"), Mapping):
            self._usage = parse_usage(chunk)
        choices = chunk.get("choices")
        for choice in choices if isinstance(choices, list) else ():
            if not isinstance(choice, Mapping) or choice.get("index", 0) != 0:
                continue
            delta = choice.get("delta") or choice.get("message")
            yield from self._parse_delta(delta if isinstance(delta, Mapping) else {})
            yield from self._parse_logprobs(choice.get("logprobs"))
            if isinstance(choice.get("finish_reason"), str):
                self._finish_reason = choice["finish_reason"]

    def _parse_delta(self, delta: Mapping[str, Any]) -> Iterator[Event]:
        thought = delta.get("reasoning_content") or delta.get("reasoning")
        if isinstance(thought, str):
            yield from self._text_events(thought, "")
        content = delta.get("content")
        if isinstance(content, str) and content:
            yield from self._text_events(*self._reasoning_parser.feed(content))

    def _text_events(self, reasoning: str, answer: str) -> Iterator[Event]:
        for text, kind in ((reasoning, ReasoningDelta), (answer, TextDelta)):
            if text:
                self._last_at = time.monotonic()
                self._first_at = self._first_at or self._last_at
                self._num_pieces += 1
                self.num_characters += len(text)
                yield kind(self._request.id, text)

    def _parse_logprobs(self, given: Any) -> Iterator[Event]:
        content = given.get("content") if isinstance(given, Mapping) and self._request.logprobs is not None else None
        for token in content if isinstance(content, list) else ():
            top = tuple(
                (_parse_token_bytes(other), float(other["logprob"])) for other in token.get("top_logprobs") or ()
            )
            yield TokenLogprobs(self._request.id, _parse_token_bytes(token), float(token["logprob"]), top)

    def finish(self) -> Iterator[Event]:
        """Yield the text held back and the end of the answer. Raises ``TemporaryFailure`` for one that broke off."""
        if not self._finish_reason:
            detail = (
                f"its answer broke off after {self.num_characters:,} characters"
                if self.num_characters
                else "it sent no answer"
            )
            raise TemporaryFailure(self._server.label, detail=detail)
        yield from self._text_events(*self._reasoning_parser.feed("", last=True))
        if self._finish_reason == "content_filter":
            raise RequestRejected(self._server.label, detail="its content filter stopped the answer")
        if self._finish_reason in {"error", "abort", "network_error"}:
            raise TemporaryFailure(self._server.label, detail=f"its answer broke off: {self._finish_reason}")
        cut = self._finish_reason in {"length", "max_tokens"}
        reason = FinishReason.LENGTH if cut else FinishReason.STOP
        limit = self._reached_limit() if cut else None
        yield Finished(self._request.id, reason, self._usage, self.measured_timings(), limit=limit)

    def _reached_limit(self) -> str:
        wanted, used = self._request.max_tokens, self._usage.completion_tokens
        return "max_tokens" if wanted is not None and (not used or used >= wanted) else "context"

    def measured_timings(self) -> Timings:
        """Return the times so far; where the server does not count tokens, pieces count instead."""
        total = time.monotonic() - self._started
        first = None if self._first_at is None else self._first_at - self._started
        tokens = self._usage.completion_tokens or self._num_pieces
        decode = 0.0 if self._first_at is None else self._last_at - self._first_at
        rate = (tokens - 1) / decode if tokens > 1 and decode > 0 else None
        return Timings(first, total, rate)


def _parse_token_bytes(token: Mapping[str, Any]) -> bytes:
    given = token.get("bytes")
    return bytes(given) if isinstance(given, list) else str(token.get("token", "")).encode("utf-8", "replace")
