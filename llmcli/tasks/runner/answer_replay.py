"""Replays the recorded answers of an interrupted task, so that it goes on with the requests that it would have sent.

The task runs again from its beginning. It gets each recorded answer in the order in which the answers ended, without
asking the backend, and so comes to the state in which it was interrupted. Only then does it wait for new answers.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from types import TracebackType
from typing import Any, Self

from llmcli.backends.base import Backend, Job
from llmcli.errors import ContextOverflow, Unsupported
from llmcli.errors.model_errors import BadGrammar
from llmcli.fast_dataclass import asdict, frozen
from llmcli.types import (
    AnswerRestarted,
    BackendInfo,
    BackendStats,
    Event,
    Finished,
    FinishReason,
    Request,
    TextDelta,
    Usage,
)

_REFUSALS = (BadGrammar, ContextOverflow, Unsupported)
"""Errors after which a task asks in another way: they come again, at the same place, when the request is sent again."""


@frozen
class RecordedAnswer:
    """The text of the answer to the request ``id``, and how it ended, as in ``Finished``.

    With the reason ``error``, the request was refused. It is sent again, and answers that ended later wait for it.
    """

    id: str
    text: str
    reason: str
    limit: str | None
    unrestored: tuple[str, ...]
    usage: Usage

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> RecordedAnswer:
        """Return the answer of ``to_json``. Raises ``KeyError``, ``TypeError`` and ``ValueError``."""
        texts = value["id"], value["text"]
        if not all(isinstance(text, str) for text in texts):
            raise TypeError(value)
        reason = FinishReason(value["reason"])
        return cls(*texts, str(reason), value["limit"], tuple(value["unrestored"]), Usage(**value["usage"]))

    def to_json(self) -> dict[str, Any]:
        """Return the fields as an object."""
        return {**asdict(self), "unrestored": list(self.unrestored), "usage": self.usage.to_json()}

    @property
    def is_refusal(self) -> bool:
        """Whether the request was refused."""
        return self.reason == FinishReason.ERROR

    @property
    def events(self) -> Iterator[Event]:
        """The events of the request."""
        if self.text:
            yield TextDelta(self.id, self.text)
        reason = FinishReason(self.reason)
        yield Finished(self.id, reason, self.usage, limit=self.limit, unrestored=self.unrestored)


class ReplayBackend:
    """Replays ``answers`` in the only job that is opened, and asks another backend for all others.

    Scores of candidates are not recorded: they are asked for again.

    ``on_answer`` gets all answers so far after each new one, before the task gets it.
    """

    def __init__(
        self,
        backend: Backend,
        answers: Sequence[RecordedAnswer],
        on_answer: Callable[[Sequence[RecordedAnswer]], object],
    ) -> None:
        self._backend, self._answers, self._on_answer = backend, answers, on_answer

    def info(self) -> BackendInfo:
        """What the other backend can do."""
        return self._backend.info()

    def count(self, requests: Sequence[Request]) -> tuple[list[int], bool]:
        """Return what the other backend counts."""
        return self._backend.count(requests)

    def open(self) -> Job:
        """Open a job."""
        return _ReplayJob(self._backend, self._answers, self._on_answer)

    def stats(self) -> BackendStats:
        """Return the statistics of the other backend."""
        return self._backend.stats()

    def close(self) -> None:
        """Leave the other backend open: its owner closes it."""


class _ReplayJob:
    """A job that replays answers first. Used by one thread.

    The job of the backend is opened for the first request without a recorded answer: where all answers are recorded, no
    model is loaded.
    """

    def __init__(
        self,
        backend: Backend,
        answers: Sequence[RecordedAnswer],
        on_answer: Callable[[Sequence[RecordedAnswer]], object],
    ) -> None:
        self._backend, self._on_answer = backend, on_answer
        self._ended: list[RecordedAnswer] = []
        self._recorded = [*answers]  # those that were not replayed yet
        self._replays: set[str] = set()  # the ids of open requests with a recorded answer
        self._sent: dict[str, list[str]] = {}  # the ids of the other open requests, and what came of their answers
        self._scored: set[str] = set()  # of the latter, those whose candidates are scored
        self._stopped: set[str] = set()  # those whose answer the task has ended
        self._last_delta_id = ""  # of the request whose text came last, if nothing has come since
        self._stack = ExitStack()
        self._job: Job | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.__exit__(kind, error, trace)

    def submit(self, request: Request) -> None:
        """Add a request; it is not sent if its answer is recorded."""
        recorded = next((answer for answer in self._recorded if answer.id == request.id), None)
        if recorded is not None and not recorded.is_refusal:
            self._replays.add(request.id)
            return
        if self._job is None:
            self._job = self._stack.enter_context(self._backend.open())
        self._job.submit(request)
        self._sent[request.id] = []
        if request.candidates:
            self._scored.add(request.id)

    def cancel(self, request_id: str) -> None:
        """End a request that was sent; a recorded answer ends by itself."""
        if self._job is not None and request_id in self._sent:
            if request_id == self._last_delta_id:  # its text is long enough; other requests are no longer awaited
                self._stopped.add(request_id)
            self._job.cancel(request_id)

    def close_input(self) -> None:
        """No more requests will come."""
        if self._job is not None:
            self._job.close_input()

    def __iter__(self) -> Iterator[Event]:
        """Yield the events of the recorded answers in their order, then those of the backend."""
        yield from self._replay()
        for event in self._job or ():
            self._record(event)
            yield event
            if isinstance(event, Finished):
                yield from self._replay()

    def _replay(self) -> Iterator[Event]:
        """Yield the events of recorded answers as far as the next one that has to wait for a request."""
        while self._recorded and (self._recorded[0].id in self._replays or not self._sent):
            answer = self._recorded.pop(0)
            if answer.id in self._replays:  # otherwise nothing is open that could lead to its request
                self._replays.remove(answer.id)
                self._ended.append(answer)
                yield from answer.events

    def _record(self, event: Event) -> None:
        """Record what an event of the backend adds to an answer, and the answer that it ends."""
        self._last_delta_id = ""
        text = self._sent.get(event.id)
        if text is None:
            return
        if isinstance(event, Finished):
            del self._sent[event.id]
            self._record_end(event, "".join(text))
        elif event.id in self._stopped:  # the task has not read it
            return
        elif isinstance(event, AnswerRestarted):
            text.clear()
        elif isinstance(event, TextDelta):
            text.append(event.text)
            self._last_delta_id = event.id

    def _record_end(self, event: Finished, text: str) -> None:
        if event.id in self._scored:
            self._scored.remove(event.id)
            return
        refused = next((answer for answer in self._recorded if answer.id == event.id), None)
        if refused is not None:
            self._recorded.remove(refused)
        reason = event.reason
        if event.id in self._stopped:
            self._stopped.remove(event.id)
            reason = FinishReason.STOP if reason is FinishReason.CANCELLED else reason
        is_answer = reason in {FinishReason.STOP, FinishReason.LENGTH}
        if is_answer or isinstance(event.error, _REFUSALS):
            unrestored = tuple(event.unrestored)
            self._ended.append(RecordedAnswer(event.id, text, str(reason), event.limit, unrestored, event.usage))
        if is_answer:
            self._on_answer([*self._ended, *self._recorded])
