"""Records of an endless stream, one request each: answers in the order of the input, as they come."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator

from llmcli.backends.base import Backend, Job
from llmcli.documents.records import Record
from llmcli.tasks.base import Answer
from llmcli.types import Request

WINDOW = 256  # records on their way at once


def in_order(
    backend: Backend, records: Iterable[Record], make: Callable[[Record], Request | None], *, window: int = WINDOW
) -> Iterator[tuple[Record, Answer | None]]:
    """Yield each record with its finished answer, None where ``make`` wants no request for it.

    ``make`` names a request ``str(record.index)``. The records are read by a thread of their own, so that an answer
    comes out while the source of the next record is still silent; at most ``window`` requests are on their way. What
    the source raises is raised here after the answers of the records before it.
    """
    with backend.open() as job:
        feeder = _Feeder(job, records, make, window)
        feeder.start()
        try:
            for event in job:
                answer = feeder.answers[event.id]
                answer.take(event)
                if answer.finished is not None:
                    yield from feeder.ready()
            yield from feeder.ready()
        finally:
            feeder.stop()
    if feeder.error is not None:
        raise feeder.error


class _Feeder(threading.Thread):
    """Submits the records; ``waiting`` holds those that were not yielded yet, in order.

    A daemon, since a source that is silent for ever (a terminal, a pipe) must not hold back the end of the process.
    """

    def __init__(
        self, job: Job, records: Iterable[Record], make: Callable[[Record], Request | None], window: int
    ) -> None:
        super().__init__(name="records", daemon=True)
        self.answers: dict[str, Answer] = {}
        self.error: BaseException | None = None
        self._job = job
        self._records = records
        self._make = make
        self._slots = threading.Semaphore(window)
        self._waiting: deque[tuple[Record, str | None]] = deque()
        self._stopped = False

    def run(self) -> None:
        """Submit all records, then close the input."""
        try:
            for record in self._records:
                if not self._feed(record):
                    return
        except BaseException as error:  # noqa: BLE001 (raised again by the reader of the answers)
            self.error = error
        finally:
            self._job.close_input()

    def _feed(self, record: Record) -> bool:
        request = self._make(record)
        if request is None:  # takes no slot: no event would come that gives it back
            self._waiting.append((record, None))
            return True
        self._slots.acquire()
        if self._stopped:
            return False
        self.answers[request.id] = Answer()
        self._waiting.append((record, request.id))
        self._job.submit(request)
        return True

    def ready(self) -> Iterator[tuple[Record, Answer | None]]:
        """Take the records at the head that are done."""
        while self._waiting:
            record, request_id = self._waiting[0]
            if request_id is not None and self.answers[request_id].finished is None:
                return
            self._waiting.popleft()
            if request_id is None:
                yield record, None
            else:
                self._slots.release()
                yield record, self.answers.pop(request_id)

    def stop(self) -> None:
        """Let the thread end when it next wakes."""
        self._stopped = True
        self._slots.release()
