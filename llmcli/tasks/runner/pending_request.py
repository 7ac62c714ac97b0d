"""A request that a task awaits: its answer so far, who reads it as it comes, and what happens if its worker ends."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from llmcli.fast_dataclass import replace
from llmcli.tasks.runner.answers import AnswerBuffer, UsageTally
from llmcli.tasks.runner.coroutines import Pending
from llmcli.types import AnswerRestarted, Event, Finished, FinishReason, ReasoningDelta, Request, TextDelta


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
