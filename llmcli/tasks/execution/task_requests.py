"""Shared by the verbs: options become requests, events become answers and results."""

from __future__ import annotations

import time
from collections.abc import Generator, Mapping
from dataclasses import fields, replace
from typing import Any

from llmcli.backends.base import Backend
from llmcli.errors import ContextOverflow, InternalError, Interrupted, LlmError, TimedOut
from llmcli.frozen_dataclass import frozen
from llmcli.incomplete_results import AnswerTruncated, EmptyAnswer
from llmcli.prompts import Prompt
from llmcli.tasks.execution.step_progress import progress_of_request
from llmcli.types import (
    CandidateScores,
    Delta,
    Event,
    Finished,
    FinishReason,
    ItemFailed,
    Message,
    Phase,
    Priority,
    Progress,
    ReasoningDelta,
    Request,
    RequestProgress,
    Result,
    Sampling,
    Score,
    TaskEvent,
    TextDelta,
    Timings,
    Usage,
)

EMPTY_ANSWER_MESSAGE = "the model gave an empty answer"
RETRY_TEMPERATURE_STEP = 0.3
"""Added to the temperature of a later try, since greedy sampling would answer the same."""
_SEED_MODULUS = 2**32


@frozen
class GenerationOptions:
    """What the user asked for; None leaves the choice to the prompt file, then to the verb.

    ``max_tokens`` is the user's own limit: an answer that it ends is not a cut one. ``deadline`` is a
    ``time.monotonic()`` value. ``reasoning`` lets a thinking model think. ``progress``: the requests report
    their progress.
    """

    temperature: float | None = None
    top_k: int | None = None
    top_p: float | None = None
    min_p: float | None = None
    repeat_penalty: float | None = None
    seed: int | None = None
    max_tokens: int | None = None
    stop: tuple[str, ...] = ()
    priority: Priority | None = None
    deadline: float | None = None
    reasoning: bool = False
    progress: bool = False


def choose_sampling(prompt: Prompt, options: GenerationOptions) -> Sampling:
    """Return how to sample: the user's options before the prompt file's before the defaults."""
    chosen: dict[str, Any] = {}
    for source in (prompt.options, options):
        for name in (f.name for f in fields(Sampling)):
            value = getattr(source, name, None)
            if value is not None:
                chosen[name] = value
    return Sampling(**chosen)


def make_request(
    request_id: str,
    messages: tuple[Message, ...],
    prompt: Prompt,
    options: GenerationOptions,
    *,
    max_tokens: int | None = None,
    candidates: tuple[str, ...] = (),
    priority: Priority = Priority.BULK,
    conversation: bool = False,
    session: str | None = None,
    gathered: bool = True,
) -> Request:
    """Return a request that may answer ``max_tokens`` tokens (None: until the context is full).

    ``conversation``: earlier ``messages`` are turns of a chat, not the prompt file's own. ``session`` is its id where it
    is saved. ``gathered``: the text of a bulk request is delivered in one piece.
    """
    priority = options.priority or priority
    return Request(
        id=request_id,
        messages=messages,
        candidates=candidates,
        sampling=choose_sampling(prompt, options),
        stop=options.stop or prompt.options.stop,
        max_tokens=max_tokens,
        priority=priority,
        deadline=options.deadline,
        reasoning=options.reasoning,
        public_prefix=prompt.public_prefix and not conversation,
        session=session,
        gathered=gathered and priority is Priority.BULK,
        progress=options.progress,
    )


def make_retry(request: Request, options: GenerationOptions) -> Request | None:
    """Return the request that asks again; None where the user wants greedy sampling, which would answer the same.

    A seed goes up by one, so that the same command line asks for the same two answers.
    """
    sampling = request.sampling
    if sampling.temperature == 0:
        if options.temperature == 0:
            return None
        sampling = replace(sampling, temperature=RETRY_TEMPERATURE_STEP)
    if sampling.seed is not None:
        sampling = replace(sampling, seed=(sampling.seed + 1) % _SEED_MODULUS)
    return replace(request, id=f"{request.id}.again", sampling=sampling)


def max_answer_tokens(prompt: Prompt, options: GenerationOptions, default: int | None) -> int | None:
    """Return the longest answer in tokens: the user's before the prompt file's before the verb's ``default``."""
    return options.max_tokens or prompt.options.max_tokens or default


def is_truncated(finished: Finished, options: GenerationOptions) -> bool:
    """Tell whether a limit that the user did not set ended an answer."""
    by_user = finished.limit == "max_tokens" and options.max_tokens is not None
    return finished.reason is FinishReason.LENGTH and not by_user


def request_error(finished: Finished) -> LlmError | None:
    """Return the error of a failed request, None when it succeeded (or ended at a limit)."""
    if finished.reason is FinishReason.ERROR:
        if isinstance(finished.error, LlmError):
            return finished.error
        error = InternalError(detail=repr(finished.error))
        error.__cause__ = finished.error
        return error
    if finished.reason is FinishReason.TIMEOUT:
        return TimedOut()
    return Interrupted() if finished.reason is FinishReason.CANCELLED else None


def raise_request_error(finished: Finished) -> None:
    """Raise the error of a failed request; return when it succeeded."""
    error = request_error(finished)
    if error is not None:
        raise error


def aggregate_tokens_per_s(tokens: int, seconds: float) -> float | None:
    """Return the tokens per second of calls that ran side by side; None below two tokens."""
    return tokens / seconds if tokens > 1 and seconds > 0 else None


class ResponseBuffer:
    """The events of one request so far; ``size`` counts the characters of its text."""

    def __init__(self) -> None:
        self.parts: list[str] = []
        self.scores: tuple[Score, ...] = ()
        self.method = ""
        self.finished: Finished | None = None
        self.size = 0

    def add_event(self, event: Event) -> None:
        """Add an event of this request."""
        if isinstance(event, TextDelta):
            self.parts.append(event.text)
            self.size += len(event.text)
        elif isinstance(event, CandidateScores):
            self.scores, self.method = event.scores, event.method
        elif isinstance(event, Finished):
            self.finished = event

    @property
    def text(self) -> str:
        """The text so far."""
        return "".join(self.parts)


class UsageTally:
    """Usage and timings of all calls made for one item.

    One call's timings are its own. Of many, ``total_s`` runs on the clock from the first submission (the creation of
    the tally), and the rate is all tokens over that time, since the calls ran side by side.
    """

    def __init__(self) -> None:
        self._started_at = time.monotonic()
        self._calls: list[Finished] = []

    def add(self, finished: Finished) -> None:
        """Count a call."""
        self._calls.append(finished)

    @property
    def usage(self) -> Usage:
        """The sum of all calls."""
        return sum((call.usage for call in self._calls), Usage())

    @property
    def timings(self) -> Timings:
        """The timings of the whole."""
        if len(self._calls) == 1:
            return self._calls[0].timings
        total = time.monotonic() - self._started_at
        firsts = [call.timings.first_token_s for call in self._calls if call.timings.first_token_s is not None]
        return Timings(min(firsts, default=None), total, aggregate_tokens_per_s(self.usage.completion_tokens, total))


def run_single_request(
    backend: Backend,
    request: Request,
    options: GenerationOptions,
    *,
    prompt: str,
    item: int = 0,
    name: str = "",
    fields: Mapping[str, Any] | None = None,
) -> Generator[TaskEvent]:
    """Run one request as one item: its Progress and Deltas as they come, then its Result, or ItemFailed.

    A prompt that leaves no room for an answer in the context is refused (``ContextOverflow``), before it is sent where
    the backend does not do so itself. An empty answer is asked for once more where it may come out otherwise, then the
    item fails (``EmptyAnswer``). What was delivered before a failure or a time-out stands.
    """
    info = backend.info()
    if not info.rejects_overflow:
        (tokens,), _ = backend.count([request])
        if tokens >= info.context:
            yield ItemFailed(item, name, ContextOverflow(name, tokens=tokens, context=info.context))
            return
    tally = UsageTally()
    answer = yield from _stream_response(backend, request, item, tally)
    if is_empty(answer) and require_finished(answer).reason is FinishReason.STOP:
        again = make_retry(request, options)
        answer = answer if again is None else (yield from _stream_response(backend, again, item, tally))
    finished = require_finished(answer)
    error = request_error(finished) or (EmptyAnswer(name, limit=finished.limit) if is_empty(answer) else None)
    if error is not None:
        yield ItemFailed(item, name, error)
        return
    cut = is_truncated(finished, options)
    yield Result(
        item,
        name,
        answer.text,
        fields=fields or {},
        model=info.model,
        prompt=prompt,
        finish_reason=finished.reason,
        usage=tally.usage,
        timings=tally.timings,
        cut=cut,
        incomplete=AnswerTruncated(limit=finished.limit) if cut else None,
    )


def _stream_response(
    backend: Backend, request: Request, item: int, tally: UsageTally
) -> Generator[Delta | Progress, None, ResponseBuffer]:
    """Yield progress, and the answer's pieces from the first one with a visible character on; return the answer."""
    answer, held, visible, thinking = ResponseBuffer(), "", False, False
    with backend.open() as job:
        job.submit(request)
        job.close_input()
        for event in job:
            answer.add_event(event)
            if isinstance(event, TextDelta):
                thinking = False
                held += event.text
                if visible or held.strip():
                    yield Delta(held, item)
                    held, visible = "", True
            elif isinstance(event, ReasoningDelta):
                thinking = True
                yield Delta(event.text, item, reasoning=True)
            elif isinstance(event, RequestProgress):
                progress = progress_of_request(event)
                yield replace(progress, phase=Phase.THINKING) if thinking else progress
    tally.add(require_finished(answer))
    return answer


def require_finished(answer: ResponseBuffer) -> Finished:
    """Return how an answer ended; raises ``InternalError`` when the backend sent no ``Finished``."""
    if answer.finished is None:
        raise InternalError(detail="the backend ended a job without ending its requests")
    return answer.finished


def is_empty(answer: ResponseBuffer) -> bool:
    """Whether an answer has no visible character."""
    return not answer.text.strip()


def renumber_failure(failed: ItemFailed, item: int) -> ItemFailed:
    """Return a failure from outside (a file that could not be read) as that of input number ``item``."""
    return replace(failed, item=item)
