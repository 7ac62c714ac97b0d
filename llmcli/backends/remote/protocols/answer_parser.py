"""Events from the parts of an answer, and calls of tools, whose arguments arrive in pieces: for all protocols."""

from __future__ import annotations

import codecs
import json
import secrets
import time
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, NoReturn

from llmcli.backends.remote.transport.api_keys import ApiKey
from llmcli.backends.remote.transport.error_mapping import describe_json_error, shorten_message
from llmcli.config.backend_config import ServerConfig
from llmcli.errors import RemoteError, TemporaryFailure
from llmcli.errors.incomplete_results import AnswerRefused
from llmcli.fast_dataclass import slotted
from llmcli.text_stream import ReasoningParser, RepetitionGuard, partial_match_length
from llmcli.types import (
    CHARS_LIMIT,
    REPETITION_LIMIT,
    UNKNOWN_USAGE,
    Event,
    Finished,
    FinishReason,
    ReasoningDelta,
    Request,
    TextDelta,
    Timings,
    ToolCall,
    Usage,
)

_DONE_DATA = "[DONE]"
"""The data of the last event, of servers that send it."""


class AnswerParser(ABC):
    """Parses the parts of one answer; ``finish`` yields how the answer ended.

    ``tags`` enclose reasoning in the text. ``stops`` are stop strings that the server does not look for.
    """

    def __init__(
        self,
        request: Request,
        server: ServerConfig,
        key: ApiKey,
        *,
        tags: tuple[str, str] | None = None,
        stops: tuple[str, ...] = (),
    ) -> None:
        self._request = request
        self._server = server
        self._key = key
        self._reasoning_parser = ReasoningParser(tags, inside=False)
        self._stops = stops
        self._held_text = ""
        self._join_answer, self._join_reasoning = (
            codecs.getincrementaldecoder("utf-16-le")("replace") for _ in range(2)
        )
        self._answer_guard, self._reasoning_guard = (RepetitionGuard(request.repetition) for _ in range(2))
        self._started = time.monotonic()
        self._first_at: float | None = None
        self._last_at = self._started
        self._num_pieces = self._num_answer_chars = 0
        self._finish_reason: FinishReason | None = None
        self._limit: str | None = None
        self._refusal: str | None = None
        self._breakage: str | None = None
        self._usage = UNKNOWN_USAGE
        self._calls = _ToolCallAssembler(tool["function"]["name"] for tool in request.tools)
        self.model: Any = None
        """What the answer names as its model, as far as it came."""
        self.num_characters = 0
        """Characters received, of the answer, of the reasoning and of calls of tools."""
        self.is_done = False
        """Whether the answer is complete."""
        self.stopped_early = False
        """Whether it is complete though the server goes on: a stop string came, it repeats itself or is too long."""

    # ---- for the client -------------------------------------------------------------------------------------------

    def parse_data(self, data: str) -> Iterator[Event]:
        """Yield the events in the data of one event. Raises ``RemoteError``, and the error that it reports."""
        if data.strip() == _DONE_DATA:
            self.is_done = True
            return
        try:
            chunk = json.loads(data)
        except (ValueError, RecursionError) as error:
            self._fail(f"a part of its answer is not JSON: {describe_json_error(error)}", error)
        if not isinstance(chunk, dict):
            self._fail("a part of its answer is not a JSON object")
        yield from self.parse_chunk(chunk)

    @abstractmethod
    def parse_chunk(self, chunk: Mapping[str, Any]) -> Iterator[Event]:
        """Yield the events of a part of a streamed answer."""

    @abstractmethod
    def parse_response(self, answer: Mapping[str, Any]) -> Iterator[Event]:
        """Yield the events of an answer that came whole. Raises ``RemoteError`` for an empty one."""

    def finish(self) -> Iterator[Event]:
        """Yield the text held back, and the end of the answer with its calls of tools.

        Raises ``TemporaryFailure`` for one that broke off, ``AnswerRefused``, and ``RemoteError`` for an invalid call.
        """
        if self._refusal is not None:
            reason = shorten_message(self._key.redact(self._refusal))
            raise AnswerRefused(self._server.label, detail=reason)
        if self._breakage is not None:
            raise TemporaryFailure(self._server.label, detail=f"its answer broke off: {self._breakage}")
        if self._finish_reason is None:
            detail = "its answer broke off" if self.num_characters else "it sent no answer"
            raise TemporaryFailure(self._server.label, detail=detail)
        yield from self._pieces(self._join_reasoning.decode(b"", final=True), "")
        answer = self._join_answer.decode(b"", final=True)
        yield from self._pieces(*self._reasoning_parser.feed(answer, last=True), last=True)
        cut = self._finish_reason is FinishReason.LENGTH
        try:
            calls = self._calls.finish(cut=cut)
        except _InvalidToolCall as error:
            self._fail(str(error), error)
        limit = (self._limit or self._reached_limit()) if cut else None
        yield Finished(
            self._request.id,
            self._finish_reason,
            self.usage,
            self.measured_timings(),
            limit=limit,
            tool_calls=tuple(calls),
        )

    @property
    def usage(self) -> Usage:
        """The tokens that the server has counted; unknown without those of the answer."""
        counted = self._usage.completion_tokens if self.num_characters else self._usage.prompt_tokens
        return self._usage if counted else UNKNOWN_USAGE

    def measured_timings(self) -> Timings:
        """Return the times so far; where the server does not count tokens, pieces count instead."""
        total = time.monotonic() - self._started
        first = None if self._first_at is None else self._first_at - self._started
        tokens = self._usage.completion_tokens or self._num_pieces
        decode = 0.0 if self._first_at is None else self._last_at - self._first_at
        rate = (tokens - 1) / decode if tokens > 1 and decode > 0 else None
        return Timings(first, total, rate)

    # ---- for the protocols ----------------------------------------------------------------------------------------

    def _answer_events(self, text: Any) -> Iterator[Event]:
        """Yield the events of a piece of the answer."""
        if isinstance(text, str) and text:
            yield from self._pieces(*self._reasoning_parser.feed(_join_surrogates(self._join_answer, text)))

    def _reasoning_events(self, text: Any) -> Iterator[Event]:
        """Yield the events of a piece of reasoning."""
        if isinstance(text, str):
            yield from self._pieces(_join_surrogates(self._join_reasoning, text), "")

    def _add_call(self, key: object, **parts: Any) -> None:
        """Add parts of a call of a tool; see ``ToolCallAssembler.add``."""
        self._note_progress(self._calls.add(key, **parts))

    def _set_call_arguments(self, key: object, arguments: Any) -> None:
        """Take the complete arguments of a call; see ``ToolCallAssembler.set_arguments``."""
        self._note_progress(self._calls.set_arguments(key, arguments))

    def _end(self, reason: FinishReason, *, limit: str | None = None) -> None:
        """Record how the answer ended; ``limit`` as in ``Finished`` where the protocol says which."""
        if self._finish_reason is None:
            self._finish_reason, self._limit = reason, limit

    def _refuse(self, reason: str) -> None:
        """Record that the model, or a filter, refuses to answer, and why."""
        self._refusal = self._refusal or reason

    def _add_refusal_text(self, text: Any) -> None:
        """Add a piece of the words in which the model refuses."""
        if isinstance(text, str) and text:
            self._refusal = (self._refusal or "") + text

    def _break_off(self, reason: str) -> None:
        """Record that the server gave up the answer, and why."""
        self._breakage = reason

    def _fail(self, detail: str, cause: Exception | None = None) -> NoReturn:
        raise RemoteError(self._server.label, detail=detail) from cause

    # ---- internals ------------------------------------------------------------------------------------------------

    def _pieces(self, reasoning: str, answer: str, *, last: bool = False) -> Iterator[Event]:
        answer = self._cut_at_stop(answer, last=last)
        for text, kind, guard in (
            (reasoning, ReasoningDelta, self._reasoning_guard),
            (answer, TextDelta, self._answer_guard),
        ):
            self._note_progress(len(text))
            shown = guard.feed(text) + (guard.flush() if last else "")
            if shown:
                yield kind(self._request.id, shown)
            if guard.stopped:
                self._stop_early(REPETITION_LIMIT)
        self._num_answer_chars += len(answer)
        if self._request.max_chars is not None and self._num_answer_chars > self._request.max_chars:
            self._stop_early(CHARS_LIMIT)

    def _stop_early(self, limit: str) -> None:
        self._finish_reason, self._limit = FinishReason.LENGTH, limit
        self.is_done = self.stopped_early = True

    def _note_progress(self, characters: int) -> None:
        if characters:
            self._last_at = time.monotonic()
            self._first_at = self._first_at or self._last_at
            self._num_pieces += 1
            self.num_characters += characters

    def _cut_at_stop(self, text: str, *, last: bool) -> str:
        """Return the text before a stop string; what may be the beginning of one is held back."""
        if not self._stops:
            return text
        if self.is_done and not last:
            return ""
        text, self._held_text = self._held_text + text, ""
        start = min((at for at in map(text.find, self._stops) if at >= 0), default=-1)
        if start >= 0:
            self._end(FinishReason.STOP)
            self.is_done = self.stopped_early = True
            return text[:start]
        keep = 0 if last else partial_match_length(text, self._stops)
        self._held_text = text[len(text) - keep :]
        return text[: len(text) - keep]

    def _reached_limit(self) -> str:
        wanted, used = self._request.max_tokens, self._usage.completion_tokens
        return "max_tokens" if wanted is not None and (not used or used >= wanted) else "context"


def _join_surrogates(decoder: codecs.IncrementalDecoder, text: str) -> str:
    """Return a piece of text; half of a character waits for the other half, and becomes U+FFFD if none comes.

    JSON escapes a character beyond U+FFFF as two surrogates, which some servers send in two events.
    """
    return decoder.decode(text.encode("utf-16-le", "surrogatepass"))


class _InvalidToolCall(ValueError):
    """A call of an unknown tool, or with arguments that are not a JSON object."""


@slotted
class _PartialCall:
    id: str = ""
    name: str = ""
    arguments: str | Mapping[str, Any] = ""
    signature: str = ""


class _ToolCallAssembler:
    """Collects calls under keys that the protocol chooses. Without ``tool_names``, calls are ignored."""

    def __init__(self, tool_names: Iterable[str]) -> None:
        self._tool_names = frozenset(tool_names)
        self._calls: dict[str, _PartialCall] = {}

    @property
    def num_calls(self) -> int:
        """The number of calls so far."""
        return len(self._calls)

    def add(
        self, key: object, *, call_id: Any = None, name: Any = None, arguments: Any = None, signature: Any = None
    ) -> int:
        """Add to the call ``key`` what is a non-empty string; return the number of characters that are new.

        Id, name and signature are whole, and repeated by some servers; ``arguments`` is a piece of JSON.
        """
        if not self._tool_names:
            return 0
        call = self._calls.setdefault(str(key), _PartialCall())
        call.id = call.id or _text(call_id)
        call.name = call.name or _text(name)
        call.signature = call.signature or _text(signature)
        if isinstance(call.arguments, str):
            call.arguments += _text(arguments)
        return len(_text(arguments)) + len(_text(name))

    def set_arguments(self, key: object, arguments: Any) -> int:
        """Replace the arguments of the call ``key`` by the complete ones, as JSON or as an object.

        Return the number of characters that are new, 1 for an object.
        """
        call = self._calls.get(str(key))
        if call is None or arguments is None:
            return 0
        added = max(0, len(arguments) - len(call.arguments)) if isinstance(arguments, str) else 1
        call.arguments = arguments if isinstance(arguments, str | Mapping) else "[]"  # another type, which is refused
        return added

    def finish(self, *, cut: bool) -> list[ToolCall]:
        """Return the calls in the order in which they began; ``cut``: the last one may be incomplete.

        Raises ``_InvalidToolCall``.
        """
        calls: list[ToolCall] = []
        for number, partial in enumerate(self._calls.values(), 1):
            try:
                calls.append(self._complete(partial))
            except _InvalidToolCall:
                if not (cut and number == len(self._calls)):
                    raise
        return calls

    def _complete(self, partial: _PartialCall) -> ToolCall:
        if partial.name not in self._tool_names:
            raise _InvalidToolCall(f"its answer calls {partial.name!r}, which is not one of the tools")
        arguments = partial.arguments
        if isinstance(arguments, str):
            try:
                arguments = json.loads(arguments.strip() or "{}", parse_constant=_refuse_constant)
            except (ValueError, RecursionError) as error:
                raise _InvalidToolCall(f"the arguments of its call of {partial.name} are not JSON") from error
        if not isinstance(arguments, Mapping):
            raise _InvalidToolCall(f"the arguments of its call of {partial.name} are not an object")
        call_id = partial.id or f"call_{secrets.token_hex(12)}"  # some servers number no calls
        return ToolCall(call_id, partial.name, arguments, partial.signature)


def _text(value: Any) -> str:
    return value if isinstance(value, str) else ""


def _refuse_constant(name: str) -> NoReturn:
    """Refuse NaN and the infinities, which are not JSON."""
    raise ValueError(name)
