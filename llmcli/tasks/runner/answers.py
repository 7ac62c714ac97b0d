"""Answers to requests: texts, scores, finish reasons, failures, usage, progress; and the loop that asks again.

Each task that asks a model again because of what was wrong with an answer says two things. ``ask`` gets the answer to
one request and reads it: it streams the answer, constrains it (``constrained_answers``) or looks it up in a text, and
returns a ``Reading``, which names the problem if there is one. ``retry`` makes the next request from the last one and
its reading: with another seed (``repeat_with``), a higher limit, or words that tell the model what was wrong.
``ask_until`` does the rest::

    async def ask(request: Request) -> Reading[int | None]:
        answer = await run.ask(request)
        number = read_number(answer.text)
        return Reading(number, "it is no number" if number is None else "")

    *_, last = await ask_until(ask, request, repeat_with(options), attempts=3)
    if last.problem:
        raise InvalidAnswer("number", detail=last.problem)
"""

from __future__ import annotations

import array
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import Generic, Protocol, TypeVar

from llmcli.errors import InternalError, Interrupted, LlmError, TimedOut
from llmcli.fast_dataclass import frozen, replace
from llmcli.tasks.runner.coroutines import Pending
from llmcli.tasks.runner.task_requests import GenerationOptions, make_retry
from llmcli.types import (
    REPETITION_LIMIT,
    AnswerRestarted,
    CandidateScores,
    Embeddings,
    Event,
    Finished,
    FinishReason,
    HiddenStates,
    ItemFailed,
    Phase,
    Progress,
    ReasoningDelta,
    Request,
    RequestProgress,
    Result,
    Score,
    TextDelta,
    Timings,
    TokenLogprobs,
    Usage,
)

T = TypeVar("T")
R = TypeVar("R")
EMPTY_ANSWER_MESSAGE = "the model gave an empty answer"


def is_truncated(finished: Finished, options: GenerationOptions) -> bool:
    """Return whether a limit that the user did not set ended an answer."""
    by_user = finished.limit == "max_tokens" and options.max_tokens is not None
    return finished.reason is FinishReason.LENGTH and not by_user


def truncation_error(finished: Finished) -> LlmError:
    """Return why an answer for which ``is_truncated`` holds is incomplete."""
    # imported here, since it is rarely needed and every start would import it
    from llmcli.errors.incomplete_results import AnswerTruncated, RepetitionStopped

    return RepetitionStopped() if finished.limit == REPETITION_LIMIT else AnswerTruncated(limit=finished.limit)


def request_error(finished: Finished) -> LlmError | None:
    """Return the error of a failed request, None if it succeeded (or ended at a limit)."""
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


def unrestored_warnings(placeholders: Sequence[str]) -> tuple[str, ...]:
    """Return the warnings about private values that could not be put back into an answer."""
    return (f"private values were not put back: {', '.join(placeholders)}",) if placeholders else ()


def aggregate_tokens_per_s(usage: Usage, seconds: float) -> float | None:
    """Return the tokens per second of concurrent calls; None below two tokens, and where they are not all known."""
    tokens = usage.completion_tokens
    return tokens / seconds if usage.is_known and tokens > 1 and seconds > 0 else None


@frozen
class Answer:
    """The answer to a request that has not failed: a text, scores, or hidden states, and how it ended.

    ``method`` says how a remote server scored (``CandidateScores.method``). ``tokens``: those of the text, if the
    request set ``logprobs``. ``vectors``: those of the texts that it ``embeds``. ``was_ended``: the task's stop condition
    ended it, so it may not be complete. ``reasoning``: what the model wrote before the text, if it reasons.
    """

    finished: Finished
    text: str = ""
    scores: tuple[Score, ...] = ()
    method: str = ""
    states: HiddenStates | None = None
    tokens: tuple[TokenLogprobs, ...] = ()
    vectors: tuple[array.array[float], ...] = ()
    was_ended: bool = False
    reasoning: str = ""

    @property
    def is_empty(self) -> bool:
        """Whether the text has no visible character."""
        return not self.text.strip()


@frozen
class Reading(Generic[T]):
    """What a task has read in an answer. ``problem``: why the model is asked again, "" if nothing is wrong."""

    value: T
    problem: str = ""


async def ask_until(
    ask: Callable[[R], Awaitable[Reading[T]]],
    request: R,
    retry: Callable[[R, Reading[T]], R | None],
    *,
    attempts: int,
) -> list[Reading[T]]:
    """Ask until an answer has no problem, at most ``attempts`` times; return the readings of all answers, in order.

    The last reading is the one without a problem, if there is one. Else the task chooses: the last one, or the best.
    ``request`` is a ``Request``, or whatever ``ask`` makes one from. ``retry`` is called only if there is a problem and
    another attempt is left; it returns None if another answer would be no better. An error of ``ask`` ends the loop: a
    task that can do with an earlier answer catches it in ``ask``.
    """
    readings = [await ask(request)]
    while readings[-1].problem and len(readings) < attempts:
        again = retry(request, readings[-1])
        if again is None:
            break
        request = again
        readings.append(await ask(request))
    return readings


def repeat_with(options: GenerationOptions) -> Callable[[Request, object], Request | None]:
    """Return a ``retry`` that sends the same request with another seed, unless sampling is greedy (``make_retry``)."""
    return lambda request, _: make_retry(request, options)


class AnswerBuffer:
    """The events of one request so far."""

    def __init__(self) -> None:
        self._parts: list[str] = []
        self._reasoning: list[str] = []
        self._scores: tuple[Score, ...] = ()
        self._method = ""
        self._states: HiddenStates | None = None
        self._tokens: list[TokenLogprobs] = []
        self._vectors: tuple[array.array[float], ...] = ()

    def add_event(self, event: Event) -> None:
        """Add an event of this request."""
        if isinstance(event, TextDelta):
            self._parts.append(event.text)
        elif isinstance(event, ReasoningDelta):
            self._reasoning.append(event.text)
        elif isinstance(event, CandidateScores):
            self._scores, self._method = event.scores, event.method
        elif isinstance(event, HiddenStates):
            self._states = event
        elif isinstance(event, TokenLogprobs):
            self._tokens.append(event)
        elif isinstance(event, Embeddings):
            self._vectors = event.vectors

    def complete(self, finished: Finished, *, was_ended: bool = False) -> Answer:
        """Return the answer, which has ended."""
        return Answer(
            finished,
            "".join(self._parts),
            self._scores,
            self._method,
            self._states,
            tuple(self._tokens),
            self._vectors,
            was_ended,
            "".join(self._reasoning),
        )


class UsageTally:
    """Usage and timings of all calls made for one item.

    One call keeps its own timings. For several calls, ``total_s`` is the wall-clock time since the first submission
    (the creation of the tally), and the rate is all tokens over that time, since the calls ran concurrently.
    """

    def __init__(self) -> None:
        self._started_at = time.monotonic()
        self._first_token_s: float | None = None
        self.last = Timings()
        """The timings of the last call."""
        self.count = 0  # the calls themselves are not kept: an item may have millions
        """The number of calls."""
        self.usage = Usage()
        """The sum of all calls."""

    def add(self, call: Finished | Result) -> None:
        """Add a call, or all calls of a result."""
        self.count += 1
        self.last = call.timings
        self.usage += call.usage
        first = call.timings.first_token_s
        if first is not None:
            self._first_token_s = first if self._first_token_s is None else min(first, self._first_token_s)

    @property
    def timings(self) -> Timings:
        """The timings of all calls together."""
        if self.count == 1:
            return self.last
        total = time.monotonic() - self._started_at
        return Timings(self._first_token_s, total, aggregate_tokens_per_s(self.usage, total))


class DeltaSink(Protocol):
    """Gets the pieces of the text and of the reasoning of an answer as they come."""

    def __call__(self, delta: TextDelta | ReasoningDelta) -> None:
        """Take the next piece."""

    def restart(self) -> bool:
        """Expect the answer from its beginning; return False if that is too late, since it has been passed on."""


StopCondition = Callable[[], Callable[[str], bool]]
"""Returns a function for one answer, which gets the pieces of its text and returns True to end it."""


class PendingRequest:
    """A request of a task and what has come of its answer.

    ``step`` is the task's step in which it was asked, ``usage`` the sum of the task's requests.
    """

    def __init__(
        self,
        request: Request,
        step: str,
        usage: UsageTally,
        on_delta: DeltaSink | None,
        stop_condition: StopCondition | None,
        unit_text: str,
    ) -> None:
        self.request = request
        self.step = step
        self.usage = usage
        self.unit_text = unit_text
        self.buffer = AnswerBuffer()
        self.finished: Pending[Finished] = Pending()
        self.was_ended = self.is_thinking = self.abandoned = False
        self._error: Exception | None = None
        self._on_delta = on_delta
        self._stop_condition = stop_condition
        self._may_end = stop_condition and stop_condition()

    def add_event(self, event: Event) -> bool:
        """Add an event; return whether the answer has to end now."""
        if self.was_ended or self.abandoned or self._error is not None:  # it came before the request was cancelled
            return False
        if isinstance(event, AnswerRestarted):
            return not self._restart(event)
        self.buffer.add_event(event)
        if not isinstance(event, TextDelta | ReasoningDelta):
            return False
        self.is_thinking = isinstance(event, ReasoningDelta)
        if isinstance(event, TextDelta) and self._may_end is not None:
            self.was_ended = self._may_end(event.text)
        if self._on_delta is not None:
            self._on_delta(event)
        return self.was_ended

    def _restart(self, event: AnswerRestarted) -> bool:
        """Expect the answer from its beginning; return False if it fails instead."""
        if self._on_delta is not None and not self._on_delta.restart():
            self._error = event.error
            return False
        self.buffer = AnswerBuffer()
        self.is_thinking = False
        self._may_end = self._stop_condition and self._stop_condition()
        return True

    def finish(self, finished: Finished) -> None:
        """Pass the end of the request to its task."""
        if self._error is not None:
            finished = replace(finished, reason=FinishReason.ERROR, error=self._error)
        self.finished.resolve(finished)


def renumber_failure(failed: ItemFailed, item: int) -> ItemFailed:
    """Return a failure from outside (a file that could not be read) as the failure of input number ``item``."""
    return replace(failed, item=item)


_UNIT = "tokens"


def progress_of_request(event: RequestProgress, label: str = "") -> Progress:
    """Return the progress of a job that is one request; ``label`` names its step of the job."""
    if event.phase is Phase.QUEUED:
        return Progress(event.ahead, None, "requests", label, Phase.QUEUED)
    return Progress(event.done, event.total, _UNIT, label, event.phase)


class StepProgress:
    """The combined progress of the requests of one step.

    While any prompt is not fully evaluated the step is READING, then WRITING; QUEUED while no request runs.
    """

    def __init__(self, label: str) -> None:
        self._label = label
        self._read: dict[str, tuple[int, int]] = {}  # (evaluated prompt tokens, all prompt tokens)
        self._written: dict[str, int] = {}
        self._ahead: dict[str, int] = {}  # of requests that have not started
        self._last: RequestProgress | None = None

    def update(self, event: RequestProgress) -> None:
        """Add the progress of one request."""
        self._last = event
        done, total = self._read.get(event.id, (0, 0))
        if event.phase is Phase.QUEUED:
            if event.id not in self._read or event.id in self._ahead:
                self._ahead[event.id] = event.ahead
            self._read[event.id] = done, event.total or total
        else:
            self._ahead.pop(event.id, None)
            if event.phase is Phase.READING:
                self._read[event.id] = event.done, event.total or total
            else:
                self._read[event.id] = total, total
                self._written[event.id] = event.done

    def mark_finished(self, request_id: str) -> None:
        """Count the prompt of a finished request as fully evaluated."""
        _, total = self._read.get(request_id, (0, 0))
        self._read[request_id] = total, total
        self._ahead.pop(request_id, None)

    @property
    def current(self) -> Progress:
        """The progress of all requests."""
        if self._last is not None and len(self._read) == 1 and self._last.phase is not Phase.QUEUED:
            return progress_of_request(self._last, self._label)
        if self._ahead and len(self._ahead) == len(self._read):
            return Progress(min(self._ahead.values()), None, "requests", self._label, Phase.QUEUED)
        done, total = (sum(counts) for counts in zip(*self._read.values(), strict=True))
        if done < total:
            return Progress(done, total, _UNIT, self._label, Phase.READING)
        return Progress(sum(self._written.values()), None, _UNIT, self._label, Phase.WRITING)
