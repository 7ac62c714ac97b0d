"""Document jobs that are one request: a record that is scored, or answered."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from llmcli.documents.records.record import Record
from llmcli.tasks.execution.document_jobs import JobStep
from llmcli.tasks.runner.answers import (
    ResponseBuffer,
    UsageTally,
    is_empty,
    is_truncated,
    raise_request_error,
    truncation_error,
    unrestored_warnings,
)
from llmcli.tasks.runner.task_requests import GenerationOptions, make_retry
from llmcli.types import Event, Finished, FinishReason, Request, Result


class RequestJob:
    """The job of a record that is one request; ``finish`` makes the result from the answer."""

    step = ""

    def __init__(
        self, record: Record, request: Request, finish: Callable[[Record, ResponseBuffer, Finished], Result]
    ) -> None:
        self.item = record.index
        self.name = record.name
        self._record = record
        self._request = request
        self._make_result = finish
        self._answer = ResponseBuffer()

    def start(self) -> Iterator[JobStep]:
        """Yield the request."""
        yield self._request

    def handle_event(self, event: Event) -> Iterator[JobStep]:
        """Yield the result after the last event; raises the failure of the request."""
        self._answer.add_event(event)
        if isinstance(event, Finished):
            raise_request_error(event)
            yield self._make_result(self._record, self._answer, event)


class AnswerJob:
    """The job of a record that is answered with a text, as ``run_single_request`` does it.

    An empty answer is requested once more if a retry can differ; then the record fails (``EmptyAnswer``).
    """

    step = ""

    def __init__(
        self,
        record: Record,
        request: Request,
        options: GenerationOptions,
        *,
        model: str,
        prompt: str,
        fields: Mapping[str, Any] | None = None,
    ) -> None:
        self.item = record.index
        self.name = record.name
        self._request = request
        self._options = options
        self._model = model
        self._prompt = prompt
        self._fields = {**record.position, **(fields or {})}
        self._answer = ResponseBuffer()
        self._tally = UsageTally()
        self._is_retry = False

    def start(self) -> Iterator[JobStep]:
        """Yield the request."""
        yield self._request

    def handle_event(self, event: Event) -> Iterator[JobStep]:
        """Yield the retry of an empty answer, or the result. Raises the failure of a request, and ``EmptyAnswer``."""
        self._answer.add_event(event)
        if not isinstance(event, Finished):
            return
        self._tally.add(event)
        raise_request_error(event)
        if is_empty(self._answer):
            again = None if self._is_retry else make_retry(self._request, self._options)
            if again is None or event.reason is not FinishReason.STOP:
                from llmcli.errors.incomplete_results import EmptyAnswer

                raise EmptyAnswer(self.name, limit=event.limit)
            self._is_retry, self._answer = True, ResponseBuffer()
            yield again
            return
        yield self._make_result(event)

    def _make_result(self, finished: Finished) -> Result:
        from llmcli.errors.incomplete_results import ValuesNotRestored

        cut, unrestored = is_truncated(finished, self._options), finished.unrestored
        incomplete = ValuesNotRestored(self.name, unrestored) if unrestored else None
        return Result(
            self.item,
            self.name,
            self._answer.text.strip(),
            fields=self._fields,
            model=self._model,
            prompt=self._prompt,
            finish_reason=finished.reason,
            usage=self._tally.usage,
            timings=self._tally.timings,
            warnings=unrestored_warnings(unrestored),
            cut=cut or bool(unrestored),
            incomplete=truncation_error(finished) if cut else incomplete,
        )
