"""From the chunks of a streamed chat completion to events."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Mapping
from typing import Any

from llmcli.backends.remote.keys import Key
from llmcli.backends.remote.refusals import in_stream, not_json
from llmcli.engine.output import ReasoningSplitter
from llmcli.errors import Refused, RemoteError, TryAgain
from llmcli.servers import Server
from llmcli.types import (
    Event,
    Finished,
    FinishReason,
    ReasoningPiece,
    Request,
    TextPiece,
    Timings,
    TokenLogprobs,
    Usage,
)

DONE = "[DONE]"
_TAGS = ("<think>", "</think>")


def usage_of(answer: Mapping[str, Any]) -> Usage:
    """Return the token counts of an answer; 0 where it does not say."""
    given = answer.get("usage")
    usage = given if isinstance(given, Mapping) else {}
    details = usage.get("prompt_tokens_details")
    cached = details.get("cached_tokens") if isinstance(details, Mapping) else 0
    return Usage(_count(usage.get("prompt_tokens")), _count(cached), _count(usage.get("completion_tokens")))


def _count(value: Any) -> int:
    return value if isinstance(value, int) and not isinstance(value, bool) and value >= 0 else 0


class Reader:
    """Takes the data of the events of one answer; its ``end`` says how the answer ended."""

    def __init__(self, request: Request, server: Server, key: Key) -> None:
        self._request = request
        self._server = server
        self._key = key
        self._splitter = ReasoningSplitter(_TAGS, inside=False)
        self._started = time.monotonic()
        self._first: float | None = None
        self._last = self._started
        self._pieces = 0
        self._reason = ""
        self._usage = Usage()
        self.characters = 0
        """Characters that came, of the answer and of the reasoning."""

    def take(self, data: str) -> Iterator[Event]:
        """Yield what the data of one event says. Raises ``RemoteError``, and the error that stands in it."""
        try:
            chunk = json.loads(data)
        except (ValueError, RecursionError) as error:
            raise RemoteError(
                self._server.label, detail=f"a part of its answer is not JSON: {not_json(error)}"
            ) from error
        if not isinstance(chunk, dict):
            raise RemoteError(self._server.label, detail="a part of its answer is no JSON object")
        yield from self.take_chunk(chunk)

    def take_whole(self, answer: Mapping[str, Any]) -> Iterator[Event]:
        """Yield what an answer says that came as a whole. Raises ``RemoteError`` for one that says nothing."""
        if not (isinstance(answer.get("choices"), list) and answer["choices"]) and not answer.get("error"):
            raise RemoteError(self._server.label, detail="there is nothing in its answer")
        yield from self.take_chunk(answer)

    def take_chunk(self, chunk: Mapping[str, Any]) -> Iterator[Event]:
        """Yield what a chunk says, or such an answer."""
        if chunk.get("error"):
            raise in_stream(self._server, self._key, chunk["error"])
        if isinstance(chunk.get("usage"), Mapping):
            self._usage = usage_of(chunk)
        choices = chunk.get("choices")
        for choice in choices if isinstance(choices, list) else ():
            if not isinstance(choice, Mapping) or choice.get("index", 0) != 0:
                continue
            delta = choice.get("delta") or choice.get("message")
            yield from self._delta(delta if isinstance(delta, Mapping) else {})
            yield from self._logprobs(choice.get("logprobs"))
            if isinstance(choice.get("finish_reason"), str):
                self._reason = choice["finish_reason"]

    def _delta(self, delta: Mapping[str, Any]) -> Iterator[Event]:
        thought = delta.get("reasoning_content") or delta.get("reasoning")
        if isinstance(thought, str):
            yield from self._pieces_of(thought, "")
        content = delta.get("content")
        if isinstance(content, str) and content:
            yield from self._pieces_of(*self._splitter.feed(content))

    def _pieces_of(self, reasoning: str, answer: str) -> Iterator[Event]:
        for text, kind in ((reasoning, ReasoningPiece), (answer, TextPiece)):
            if text:
                self._last = time.monotonic()
                self._first = self._first or self._last
                self._pieces += 1
                self.characters += len(text)
                yield kind(self._request.id, text)

    def _logprobs(self, given: Any) -> Iterator[Event]:
        content = given.get("content") if isinstance(given, Mapping) and self._request.logprobs is not None else None
        for token in content if isinstance(content, list) else ():
            top = tuple((_bytes(other), float(other["logprob"])) for other in token.get("top_logprobs") or ())
            yield TokenLogprobs(self._request.id, _bytes(token), float(token["logprob"]), top)

    def end(self) -> Iterator[Event]:
        """Yield what was held back and how the answer ended. Raises ``TryAgain`` for one that broke off."""
        if not self._reason:
            detail = (
                f"its answer broke off after {self.characters:,} characters" if self.characters else "no answer came"
            )
            raise TryAgain(self._server.label, detail=detail)
        yield from self._pieces_of(*self._splitter.feed("", last=True))
        if self._reason == "content_filter":
            raise Refused(self._server.label, detail="its filter stopped the answer")
        if self._reason in {"error", "abort", "network_error"}:
            raise TryAgain(self._server.label, detail=f"its answer broke off: {self._reason}")
        cut = self._reason in {"length", "max_tokens"}
        reason = FinishReason.LENGTH if cut else FinishReason.STOP
        limit = self._limit() if cut else None
        yield Finished(self._request.id, reason, self._usage, self.timings(), limit=limit)

    def _limit(self) -> str:
        wanted, used = self._request.max_tokens, self._usage.completion_tokens
        return "max_tokens" if wanted is not None and (not used or used >= wanted) else "context"

    def timings(self) -> Timings:
        """Return the times so far; of an answer whose server counts no tokens, pieces stand for them."""
        total = time.monotonic() - self._started
        first = None if self._first is None else self._first - self._started
        tokens = self._usage.completion_tokens or self._pieces
        decode = 0.0 if self._first is None else self._last - self._first
        rate = (tokens - 1) / decode if tokens > 1 and decode > 0 else None
        return Timings(first, total, rate)


def _bytes(token: Mapping[str, Any]) -> bytes:
    given = token.get("bytes")
    return bytes(given) if isinstance(given, list) else str(token.get("token", "")).encode("utf-8", "replace")
