"""A backend that answers as a test defines, with the events of a real one."""

from __future__ import annotations

import math
import re
import threading
import time
from collections import deque
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Self

from llmcli.errors import ContextOverflow, WorkerCrashed
from llmcli.interrupt import Interrupt
from llmcli.text_stream import RepetitionGuard
from llmcli.types import (
    CHARS_LIMIT,
    REPETITION_LIMIT,
    AnswerRestarted,
    BackendInfo,
    BackendStats,
    CandidateScores,
    Event,
    Finished,
    FinishReason,
    HiddenStates,
    Phase,
    ReasoningDelta,
    RepetitionPolicy,
    Request,
    RequestProgress,
    Score,
    TextDelta,
    Timings,
    ToolCall,
    Usage,
)


@dataclass(frozen=True)
class Reply:
    """The answer to a request.

    ``reasoning`` comes before ``text``. ``error`` and ``reason`` end the answer after its text. ``stalls``: the text
    comes, then nothing more until the request is cancelled or its deadline passes. ``calls``: calls of tools.
    ``restarts_after``: so many pieces of the text come, then the worker ends, and the answer begins again.
    """

    text: str = ""
    reasoning: str = ""
    error: Exception | None = None
    reason: FinishReason = FinishReason.STOP
    stalls: bool = False
    calls: tuple[ToolCall, ...] = ()
    restarts_after: int | None = None


@dataclass(frozen=True)
class LayerStates:
    """An answer of hidden states: ``read`` returns those after a layer.

    ``scores`` go with them if they are asked for.
    """

    read: Callable[[int], bytes]
    scores: Mapping[str, float] = field(default_factory=dict)


ScriptedAnswer = str | LayerStates | bytes | Reply | Exception | Mapping[str, float] | tuple[Score, ...]
"""Text; hidden states; a ``Reply``; an error at once; the log-probability of each candidate; or whole scores."""


def count_words(text: str) -> int:
    """Count each word as a token."""
    return len(text.split())


def last_message(request: Request) -> str:
    """Return the user's message in a request, or the text that it continues."""
    return request.messages[-1].content if request.prompt is None else request.prompt


def all_messages(request: Request) -> str:
    """Return all text of a request."""
    return "\n".join(message.content for message in request.messages)


def score_words(candidate: str, bits_of: Callable[[str], float]) -> Score:
    """Return the score of a candidate whose tokens are its words, each with the white space before it, and its marks."""
    tokens = re.findall(r"\s*\w+|\s*\W", candidate)
    logprobs = tuple(-bits_of(token.strip()) * math.log(2) for token in tokens)
    return Score(candidate, sum(logprobs), len(tokens), logprobs, tuple(len(token.encode()) for token in tokens))


def split_words(text: str) -> list[str]:
    """Split a text into its words, each with the white space before it."""
    return re.findall(r"\s*\S+|\s+\Z", text)


def _cut_at_stop(request: Request, text: str) -> tuple[str, str | None]:
    """Return what comes before the first stop string of a request, and which it is."""
    at, stop = min(((text.find(stop), stop) for stop in request.stop if stop in text), default=(len(text), None))
    return text[:at], stop


class ScriptedBackend:
    """``answer`` maps a request to its answer; by default the user's last message is returned.

    ``requests`` lists all requests in the order of their submission, ``cancelled`` the ids of those that were
    cancelled, ``jobs`` counts the opened jobs. ``tokens`` counts a text. ``obeys_limits`` False: answers exceed
    ``max_tokens``. ``obeys_stops``: a stop string ends an answer. ``interrupt`` ends a job as for a real backend.
    Requests that ask for progress get it: queued, twice or more while their prompt is evaluated, and with each piece of
    text. ``stops_repetition``: answers that repeat themselves are stopped.
    """

    def __init__(
        self,
        answer: Callable[[Request], ScriptedAnswer] = last_message,
        *,
        context: int = 2048,
        exact: bool = True,
        scores: bool = True,
        token_scores: bool = False,
        is_engine: bool = True,
        model: str = "scripted",
        tokens: Callable[[str], int] = count_words,
        obeys_limits: bool = True,
        obeys_stops: bool = False,
        stops_repetition: bool = False,
        interrupt: Interrupt | None = None,
        parameters: int | None = None,
        layers: int | None = None,
    ) -> None:
        self.answer = answer
        self.exact = exact
        self.tokens = tokens
        self.obeys_limits = obeys_limits
        self.obeys_stops = obeys_stops
        self.stops_repetition = stops_repetition
        self.interrupt = interrupt or Interrupt()
        self.requests: list[Request] = []
        self.cancelled: list[str] = []
        self.jobs = 0
        self.closed = False
        self._info = BackendInfo(
            model=model,
            model_id=f"{model}-id",
            context=context,
            scores=scores,
            token_scores=token_scores,
            is_engine=is_engine,
            parameters=parameters,
            layers=layers,
        )

    def info(self) -> BackendInfo:
        return self._info

    def count(self, requests: Sequence[Request]) -> tuple[list[int], bool]:
        return [self.prompt_tokens(request) for request in requests], self.exact

    def prompt_tokens(self, request: Request) -> int:
        texts = [message.content for message in request.messages]
        return sum(self.tokens(text) for text in (texts if request.prompt is None else [*texts, request.prompt]))

    def open(self) -> ScriptedJob:
        self.jobs += 1
        return ScriptedJob(self)

    def stats(self) -> BackendStats:
        return BackendStats(
            decode_threads=2, prompt_threads=2, width=1, peak_memory=300 << 20, choices=("scripted: no choice",)
        )

    def close(self) -> None:
        self.closed = True


class ScriptedJob:
    """One job: its requests advance in turn, one piece each."""

    def __init__(self, backend: ScriptedBackend) -> None:
        self._backend = backend
        self._changed = threading.Condition()
        self._running: deque[tuple[Request, Iterator[Event | None]]] = deque()
        self._cancelled: set[str] = set()
        self._closed = False

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind, error, trace) -> None:
        with self._changed:
            self._backend.cancelled.extend(request.id for request, _ in self._running)
            self._running.clear()
            self._closed = True

    def submit(self, request: Request) -> None:
        with self._changed:
            assert not self._closed, "submitted after close_input"
            assert request.id not in {other.id for other, _ in self._running}, f"id {request.id} is in use"
            self._backend.requests.append(request)
            self._running.append((request, self._events(request)))
            self._changed.notify()

    def cancel(self, request_id: str) -> None:
        with self._changed:
            if request_id in {request.id for request, _ in self._running}:
                self._cancelled.add(request_id)
                self._backend.cancelled.append(request_id)
                self._changed.notify()

    def close_input(self) -> None:
        with self._changed:
            self._closed = True
            self._changed.notify()

    def __iter__(self) -> Iterator[Event]:
        idle = 0
        while True:
            self._backend.interrupt.check()
            with self._changed:
                if not self._running and self._closed:
                    return
                if not self._running or idle > len(self._running):
                    self._changed.wait(0.005)
                    idle = 0
                    continue
                request, events = self._running.popleft()
                event = self._ended_early(request) or next(events)
                if not isinstance(event, Finished):
                    self._running.append((request, events))
            idle = idle + 1 if event is None else 0
            if event is not None:
                yield event

    def _ended_early(self, request: Request) -> Finished | None:
        usage = Usage(prompt_tokens=self._backend.prompt_tokens(request))
        if request.id in self._cancelled:
            self._cancelled.discard(request.id)
            return Finished(request.id, FinishReason.CANCELLED, usage)
        if request.deadline is not None and time.monotonic() >= request.deadline:
            return Finished(request.id, FinishReason.TIMEOUT, usage)
        return None

    def _computed(
        self, request: Request, reply: Mapping[str, float] | LayerStates | bytes | tuple[Score, ...]
    ) -> Event:
        """Return what an engine reports without generating anything."""
        if isinstance(reply, LayerStates):
            states = b"".join(map(reply.read, request.state_layers))
            return HiddenStates(request.id, states, states, request.state_layers)
        if isinstance(reply, bytes):
            states = reply * max(1, len(request.state_layers))
            return HiddenStates(request.id, states, states, request.state_layers)
        if isinstance(reply, tuple):
            return CandidateScores(request.id, reply)
        scores = (Score(text, reply[text], self._backend.tokens(text)) for text in request.candidates)
        return CandidateScores(request.id, tuple(scores))

    def _events(self, request: Request) -> Iterator[Event | None]:
        backend = self._backend
        prompt, context = backend.prompt_tokens(request), backend.info().context
        reply: ScriptedAnswer = (
            ContextOverflow(tokens=prompt, context=context) if prompt >= context else backend.answer(request)
        )
        yield from self._progress(request, prompt)
        if isinstance(reply, Mapping | LayerStates | bytes | tuple):
            if isinstance(reply, LayerStates) and request.candidates:
                yield self._computed(request, reply.scores)
            yield self._computed(request, reply)
            yield Finished(request.id, FinishReason.STOP, Usage(prompt), Timings(0.1, 0.1))
            return
        if isinstance(reply, Exception):
            reply = Reply(error=reply)
        elif isinstance(reply, str):
            reply = Reply(reply)
        if request.reasoning:
            for piece in split_words(reply.reasoning):
                yield ReasoningDelta(request.id, piece)
        yield from self._restart(request, reply)
        text, stop_string = _cut_at_stop(request, reply.text) if backend.obeys_stops else (reply.text, None)
        done, which = yield from self._write(request, text, self._limit(request, context - prompt))
        if which is not None:
            yield self._finished(request, FinishReason.LENGTH, prompt, done, limit=which)
            return
        while reply.stalls and stop_string is None:
            yield None
        reason = FinishReason.ERROR if reply.error else reply.reason
        which = "max_tokens" if reason is FinishReason.LENGTH else None
        finished = self._finished(request, reason, prompt, done, error=reply.error, limit=which)
        yield replace(finished, tool_calls=reply.calls, stop_string=stop_string if backend.info().is_engine else None)

    def _write(self, request: Request, text: str, limit: int) -> Generator[Event, None, tuple[int, str | None]]:
        """Yield the pieces of an answer; return how many there are, and which limit ended it."""
        policy = request.repetition if self._backend.stops_repetition else RepetitionPolicy.OFF
        guard, done, which, chars = RepetitionGuard(policy), 0, None, 0
        for piece in split_words(text):
            if self._backend.obeys_limits and done == limit:
                which = "max_tokens" if limit == request.max_tokens else "context"
                break
            shown = guard.feed(piece)
            if shown:
                yield TextDelta(request.id, shown)
            done += 1
            if request.progress:
                yield RequestProgress(request.id, Phase.WRITING, done)
            chars += len(piece)
            if guard.stopped:
                return done, REPETITION_LIMIT
            if request.max_chars is not None and chars > request.max_chars:
                return done, CHARS_LIMIT
        rest = guard.flush()
        if rest:
            yield TextDelta(request.id, rest)
        return done, which

    @staticmethod
    def _restart(request: Request, reply: Reply) -> Iterator[Event]:
        """Yield the pieces that come before the worker ends, if it does."""
        if reply.restarts_after is not None:
            for piece in split_words(reply.text)[: reply.restarts_after]:
                yield TextDelta(request.id, piece)
            yield AnswerRestarted(request.id, WorkerCrashed("the worker", detail="it was killed"))

    def _progress(self, request: Request, prompt: int) -> Iterator[Event]:
        """Yield the progress of a request until its prompt is evaluated, if it asks for that."""
        if request.progress:
            yield RequestProgress(request.id, Phase.QUEUED, 0, prompt, ahead=len(self._running))
            for read in (0, prompt // 2, prompt):
                yield RequestProgress(request.id, Phase.READING, read, prompt)

    @staticmethod
    def _limit(request: Request, free: int) -> int:
        return free if request.max_tokens is None else min(request.max_tokens, free)

    @staticmethod
    def _finished(request, reason, prompt, done, *, error=None, limit=None) -> Finished:
        timings = Timings(first_token_s=0.1, total_s=0.1 + 0.01 * done, tokens_per_second=100.0 if done > 1 else None)
        return Finished(request.id, reason, Usage(prompt, 0, done), timings, error, limit)
