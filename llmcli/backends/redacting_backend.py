"""A backend that replaces private values before requests reach another backend, and restores them in the answers."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Iterable, Iterator, Sequence

from llmcli.backends.base import Backend, DelegatingJob, Job
from llmcli.errors.incomplete_results import CostLimitReached
from llmcli.fast_dataclass import field, replace, slotted
from llmcli.redaction.redactor import Redactor
from llmcli.redaction.request_redaction import RedactedRequest, Restorer, StopFilter, redact_request, restore_error
from llmcli.types import (
    AnswerRestarted,
    BackendInfo,
    BackendStats,
    CandidateScores,
    Event,
    Finished,
    FinishReason,
    ReasoningDelta,
    Request,
    TextDelta,
    TokenLogprobs,
    ToolCall,
    Usage,
)


class RedactingBackend:
    """Wraps ``backend``, which sees no private value that ``redactor`` finds; all jobs share the placeholders."""

    def __init__(self, backend: Backend, redactor: Redactor, owned: Sequence[Backend] = ()) -> None:
        """``owned``: backends that ``redactor`` uses, which are closed too."""
        self._backend = backend
        self._redactor = redactor
        self._owned = owned

    def info(self) -> BackendInfo:
        """What the backend can do."""
        return self._backend.info()

    def count(self, requests: Sequence[Request]) -> tuple[list[int], bool]:
        """Return the prompt length of each request in tokens, as it would be sent, and whether they are exact."""
        return self._backend.count([redact_request(self._redactor, request).request for request in requests])

    def open(self) -> RedactingJob:
        """Open a job."""
        return RedactingJob(self._backend.open(), self._redactor)

    def stats(self) -> BackendStats:
        """Statistics of the backend, and how many values were replaced."""
        stats = self._backend.stats()
        counts = self._redactor.table.counts
        said = ", ".join(f"{count} {kind}" for kind, count in sorted(counts.items())) or "none"
        choices = (*stats.choices, f"private values replaced before sending: {said}")
        return replace(stats, choices=choices, redacted=dict(counts))

    def close(self) -> None:
        """Close the backend, and those that the redactor uses."""
        for backend in (self._backend, *self._owned):
            backend.close()


_RETRY_TEMPERATURE = 0.3
"""Temperature of the second attempt, since greedy sampling would repeat the answer."""


@slotted
class _OpenRequest:
    """A running request. ``held``: its answer so far if it may be requested again; None if it is streamed."""

    original: Request
    sent: RedactedRequest
    restorer: Restorer
    reasoning: Restorer
    calls: Restorer
    stop: StopFilter
    held: list[Event] | None
    attempt: int = 1
    usage: Usage = field(default_factory=Usage)


class RedactingJob(DelegatingJob):
    """A job (see ``backends.base``) on ``job``.

    The answer to a request with placeholders is not streamed: it is delivered when it is complete, and requested once
    more if placeholders in it are damaged. What is damaged or missing then is listed in ``Finished.unrestored``.
    Reasoning and progress arrive as they are. A request whose answer must carry placeholders (``Request.carries``) is
    streamed and not repeated here, since its task does that and tells the model why.
    """

    def __init__(self, job: Job, redactor: Redactor) -> None:
        super().__init__(job)
        self._redactor = redactor
        self._lock = threading.Lock()
        self._open: dict[str, _OpenRequest] = {}
        self._outer_ids: dict[str, str] = {}
        self._closed = False

    def submit(self, request: Request) -> None:
        """Add a request, without its private values."""
        sent = redact_request(self._redactor, request)
        opened = _open_request(request, sent)
        with self._lock:
            self._open[request.id] = opened
        try:
            self._job.submit(sent.request)
        except BaseException:  # no event will remove it; the error goes on to the caller
            with self._lock:
                del self._open[request.id]
            raise

    def cancel(self, request_id: str) -> None:
        """End a request."""
        with self._lock:
            opened = self._open.get(request_id)
        if opened is not None:
            self._job.cancel(opened.sent.request.id)

    def close_input(self) -> None:
        """No more requests will come."""
        with self._lock:
            self._closed = True
        self._close_when_done()

    def __iter__(self) -> Iterator[Event]:
        for event in self._job:
            request_id = self._outer_ids.get(event.id, event.id)
            opened = self._open[request_id]
            if isinstance(event, AnswerRestarted):
                again = _open_request(opened.original, opened.sent)
                again.attempt, again.usage = opened.attempt, opened.usage
                with self._lock:
                    self._open[request_id] = again
                yield replace(event, id=request_id)
            elif isinstance(event, Finished):
                yield from self._finish(opened, event)
                self._close_when_done()
            else:
                yield from self._restore(opened, event)

    def _restore(self, opened: _OpenRequest, event: Event) -> Iterator[Event]:
        """Yield an event with the private values restored."""
        request = opened.original
        if isinstance(event, TextDelta):
            restored = opened.restorer.feed(event.text) if opened.sent.used else event.text
            yield from self._deliver(opened, self._until_stop(opened, restored))
        elif isinstance(event, ReasoningDelta):
            text = opened.reasoning.feed(event.text)
            if text:
                yield ReasoningDelta(request.id, text)
        elif isinstance(event, CandidateScores):
            pairs = zip(request.candidates, event.scores, strict=True)
            scores = tuple(replace(score, candidate=candidate) for candidate, score in pairs)
            yield CandidateScores(request.id, scores, event.method)
        elif isinstance(event, TokenLogprobs):
            yield from self._deliver(opened, replace(event, id=request.id))
        else:
            yield replace(event, id=request.id)

    def _until_stop(self, opened: _OpenRequest, text: str) -> str:
        """Return restored text up to a stop string."""
        if opened.sent.stop and not opened.stop.stopped:
            text = opened.stop.feed(text)
            if opened.stop.stopped:
                self._job.cancel(opened.sent.request.id)
            return text
        return "" if opened.stop.stopped else text

    def _deliver(self, opened: _OpenRequest, piece: str | Event) -> Iterator[Event]:
        """Yield a piece of the answer, or keep it if the answer may be requested again."""
        if piece == "":
            return
        event = TextDelta(opened.original.id, piece) if isinstance(piece, str) else piece
        if opened.held is None:
            yield event
        else:
            opened.held.append(event)

    def _finish(self, opened: _OpenRequest, finished: Finished) -> Iterator[Event]:
        """Yield the rest of the answer and its end, or request it again."""
        request, was_stopped = opened.original, opened.stop.stopped
        rest = opened.restorer.finish(cut=finished.reason is not FinishReason.STOP)
        delivered = list(self._deliver(opened, self._until_stop(opened, rest)))
        if not opened.stop.stopped:
            delivered += self._deliver(opened, opened.stop.finish())
        calls = tuple(_restore_call(opened.calls, call) for call in finished.tool_calls)
        opened.usage += finished.usage
        unrestored = _unrestored(opened, finished)
        ended = finished.reason in {FinishReason.STOP, FinishReason.LENGTH} or opened.stop.stopped
        if unrestored and ended and opened.held is not None and opened.attempt == 1 and self._ask_again(opened):
            return
        with self._lock:
            del self._open[request.id]
        reasoning = opened.reasoning.finish()
        if reasoning:
            yield ReasoningDelta(request.id, reasoning)
        yield from delivered
        yield from _join_text(opened.held or ())
        reason = finished.reason
        if opened.stop.stopped and (was_stopped or reason is FinishReason.LENGTH) and reason is not FinishReason.ERROR:
            reason = FinishReason.STOP
        limit = finished.limit if reason is FinishReason.LENGTH else None
        yield replace(
            finished,
            id=request.id,
            reason=reason,
            usage=opened.usage,
            limit=limit,
            stop_string=opened.stop.stop_string or finished.stop_string,
            unrestored=tuple(unrestored),
            tool_calls=calls,
            error=None if finished.error is None else restore_error(opened.sent.used, finished.error),
        )

    def _ask_again(self, opened: _OpenRequest) -> bool:
        """Send a request a second time, unless it could cost too much; return whether it was sent."""
        request = opened.sent.request
        sampling = replace(
            request.sampling,
            temperature=request.sampling.temperature or _RETRY_TEMPERATURE,
            seed=None if request.sampling.seed is None else (request.sampling.seed + 1) % 2**32,
        )
        sent = replace(opened.sent, request=replace(request, id=f"{request.id}.repeat", sampling=sampling))
        again = _open_request(opened.original, sent)
        again.attempt, again.usage = opened.attempt + 1, opened.usage
        with self._lock:
            self._open[opened.original.id] = again
            self._outer_ids[sent.request.id] = opened.original.id
        try:
            self._job.submit(sent.request)
        except CostLimitReached:
            return False
        return True

    def _close_when_done(self) -> None:
        """Close the input of the inner job once no request can be repeated."""
        with self._lock:
            waiting = any(opened.held is not None and opened.attempt == 1 for opened in self._open.values())
            done = self._closed and not waiting
        if done:
            self._job.close_input()


def _open_request(request: Request, sent: RedactedRequest) -> _OpenRequest:
    may_repeat = bool(sent.used) and request.writes_text and not request.carries
    return _OpenRequest(
        request,
        sent,
        Restorer(sent.used, in_json=request.schema is not None),
        Restorer(sent.used),
        Restorer(sent.used),
        StopFilter(sent.stop),
        [] if may_repeat else None,
    )


def _restore_call(restorer: Restorer, call: ToolCall) -> ToolCall:
    return replace(call, name=restorer.restore_json(call.name), arguments=restorer.restore_json(call.arguments))


def _join_text(events: Iterable[Event]) -> Iterator[Event]:
    """Yield events, adjacent pieces of text as one."""
    for is_text, group in itertools.groupby(events, key=lambda event: isinstance(event, TextDelta)):
        if is_text:
            pieces = [event for event in group if isinstance(event, TextDelta)]
            yield TextDelta(pieces[0].id, "".join(piece.text for piece in pieces))
        else:
            yield from group


def _unrestored(opened: _OpenRequest, finished: Finished) -> Sequence[str]:
    """Return the damaged placeholders, and those that the answer must carry but lacks."""
    damaged = [*opened.restorer.damaged, *opened.calls.damaged]
    missing = opened.sent.carried - opened.restorer.restored
    lost = [opened.sent.used.by_number[number].text for number in missing]
    return list(dict.fromkeys([*damaged, *(lost if finished.reason is FinishReason.STOP else ())]))
