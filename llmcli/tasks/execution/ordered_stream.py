"""An endless stream of records, one request each: answers come in the order of the input, as soon as possible."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

from llmcli.backends.base import Backend, Job
from llmcli.documents.records import Record
from llmcli.tasks.execution.response_buffer import ResponseBuffer, require_finished
from llmcli.tasks.execution.step_progress import progress_of_request
from llmcli.types import Progress, Request, RequestProgress

MAX_RECORDS_AHEAD = 256  # number of records that are read ahead


def answer_records_in_order(
    backend: Backend,
    records: Iterable[Record],
    make: Callable[[Record], Request | None],
    *,
    window: int = MAX_RECORDS_AHEAD,
) -> Iterator[tuple[Record, ResponseBuffer | None] | Progress]:
    """Yield each record with its finished answer, None if ``make`` returns no request for it.

    A request that asks for progress yields ``Progress`` until the first answer is there.

    ``make`` gives a request the id ``str(record.index)``. A thread of its own reads the records, so that an answer
    comes out while the source has not sent the next record yet. At most ``window`` records are read ahead of those that
    were yielded, with or without a request. An error of the source is raised here after the answers of the records
    before it.
    """
    with backend.open() as job:
        submitter = _RecordSubmitter(job, records, make, window)
        submitter.start()
        try:
            yield from submitter.outcomes()
        finally:
            submitter.stop()
    if submitter.error is not None:
        raise submitter.error


@dataclass(slots=True)
class _PendingRecord:
    """A record that was not yielded yet; ``response`` is None if it needs no request."""

    record: Record
    response: ResponseBuffer | None


class _RecordSubmitter(threading.Thread):
    """Reads and submits the records; ``_pending`` holds those that were not yielded yet, in order.

    A daemon thread, since a source that never ends (a terminal, a pipe) must not delay the end of the process.
    """

    def __init__(
        self, job: Job, records: Iterable[Record], make: Callable[[Record], Request | None], window: int
    ) -> None:
        super().__init__(name="records", daemon=True)
        self.error: BaseException | None = None
        self._job = job
        self._records = records
        self._make_request = make
        self._window = threading.Semaphore(window)
        self._changed = threading.Condition()
        self._pending: deque[_PendingRecord] = deque()
        self._responses: dict[str, ResponseBuffer] = {}
        self._ended = False
        self._stopped = False

    def run(self) -> None:
        """Submit all records, then close the input."""
        try:
            for record in self._records:
                if not self._submit(record):
                    return
        except BaseException as error:  # noqa: BLE001 (raised again by the reader of the answers)
            self.error = error
        finally:
            self._job.close_input()
            with self._changed:
                self._ended = True
                self._changed.notify()

    def _submit(self, record: Record) -> bool:
        request = self._make_request(record)
        self._window.acquire()
        if self._stopped:
            return False
        answer = None
        if request is not None:
            answer = self._responses[request.id] = ResponseBuffer()
        with self._changed:
            self._pending.append(_PendingRecord(record, answer))
            self._changed.notify()
        if request is not None:
            self._job.submit(request)
        return True

    def outcomes(self) -> Iterator[tuple[Record, ResponseBuffer | None] | Progress]:
        """Yield the records in order, each as soon as it is done. Raises ``InternalError`` if one never finishes.

        It waits for events of the job only while the first pending record has a request; otherwise there are none.
        """
        events, answered = iter(self._job), False
        while (first := self._first_pending()) is not None:
            while first.response is not None and first.response.finished is None:
                event = next(events, None)
                if isinstance(event, RequestProgress):
                    if not answered:
                        yield progress_of_request(event)
                elif event is not None:
                    self._responses[event.id].add_event(event)
                elif self.error is None:
                    require_finished(first.response)  # raises
                else:  # it could not be submitted
                    return
            answered = answered or first.response is not None
            self._pending.popleft()
            self._responses.pop(str(first.record.index), None)
            self._window.release()
            yield first.record, first.response

    def _first_pending(self) -> _PendingRecord | None:
        """Return the first pending record, waiting for it; None if there will be none."""
        with self._changed:
            self._changed.wait_for(lambda: self._pending or self._ended)
            return self._pending[0] if self._pending else None

    def stop(self) -> None:
        """Make the thread end when it next wakes."""
        self._stopped = True
        self._window.release()
