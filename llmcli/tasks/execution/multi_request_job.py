"""Document jobs that send several requests at once for one record, such as a question for each label."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence

from llmcli.documents.records.record import Record
from llmcli.tasks.execution.document_jobs import JobStep
from llmcli.tasks.runner.answers import ResponseBuffer, UsageTally, raise_request_error
from llmcli.types import Event, Finished, Request, Result

FinishRecord = Callable[[Record, Mapping[str, ResponseBuffer], UsageTally], Result]
"""Makes the result of a record from the answers, by the ids of their requests, and from their usage."""


class MultiRequestJob:
    """The job of a record with ``requests``; ``finish`` makes the result when all have ended."""

    step = ""

    def __init__(self, record: Record, requests: Sequence[Request], finish: FinishRecord) -> None:
        self.item = record.index
        self.name = record.name
        self._record = record
        self._requests = requests
        self._make_result = finish
        self._answers = {request.id: ResponseBuffer() for request in requests}
        self._tally = UsageTally()
        self._num_open = len(requests)

    def start(self) -> Iterator[JobStep]:
        """Yield the requests."""
        yield from self._requests

    def handle_event(self, event: Event) -> Iterator[JobStep]:
        """Yield the result after the last event of all requests; raises the failure of a request."""
        self._answers[event.id].add_event(event)
        if not isinstance(event, Finished):
            return
        raise_request_error(event)
        self._tally.add(event)
        self._num_open -= 1
        if self._num_open == 0:
            yield self._make_result(self._record, self._answers, self._tally)
