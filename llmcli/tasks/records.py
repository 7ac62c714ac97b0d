"""Records of an endless stream, one request each: answers in the order of the input, as they come."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

from llmcli.backends.base import Backend, Job
from llmcli.documents.records import Record
from llmcli.tasks.base import Answer, ended
from llmcli.tasks.progress import of_request
from llmcli.types import Progress, Request, RequestProgress

WINDOW = 256  # records read ahead


def in_order(
    backend: Backend, records: Iterable[Record], make: Callable[[Record], Request | None], *, window: int = WINDOW
) -> Iterator[tuple[Record, Answer | None] | Progress]:
    """Yield each record with its finished answer, None where ``make`` wants no request for it.

    A request that asks for it is followed by ``Progress`` until the first answer is there.

    ``make`` names a request ``str(record.index)``. The records are read by a thread of their own, so that an answer
    comes out while the source of the next record is still silent; at most ``window`` records are read ahead of those
    that were yielded, with or without a request. What the source raises is raised here after the answers of the records
    before it.
    """
    with backend.open() as job:
        line = _Line(job, records, make, window)
        line.start()
        try:
            yield from line.outcomes()
        finally:
            line.stop()
    if line.error is not None:
        raise line.error


@dataclass(slots=True)
class _Waiting:
    """A record that was not yielded yet; ``answer`` is None where it needs no request."""

    record: Record
    answer: Answer | None


class _Line(threading.Thread):
    """Reads and submits the records; ``_waiting`` holds those that were not yielded yet, in order.

    A daemon, since a source that is silent for ever (a terminal, a pipe) must not hold back the end of the process.
    """

    def __init__(
        self, job: Job, records: Iterable[Record], make: Callable[[Record], Request | None], window: int
    ) -> None:
        super().__init__(name="records", daemon=True)
        self.error: BaseException | None = None
        self._job = job
        self._records = records
        self._make = make
        self._slots = threading.Semaphore(window)
        self._changed = threading.Condition()
        self._waiting: deque[_Waiting] = deque()
        self._answers: dict[str, Answer] = {}
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
        request = self._make(record)
        self._slots.acquire()
        if self._stopped:
            return False
        answer = None
        if request is not None:
            answer = self._answers[request.id] = Answer()
        with self._changed:
            self._waiting.append(_Waiting(record, answer))
            self._changed.notify()
        if request is not None:
            self._job.submit(request)
        return True

    def outcomes(self) -> Iterator[tuple[Record, Answer | None] | Progress]:
        """Yield the records in order, each as soon as it is done. Raises ``InternalError`` when one never is.

        The events of the job are awaited only while the first record in the line has a request: no event comes of one
        that has none.
        """
        events, answered = iter(self._job), False
        while (first := self._first()) is not None:
            while first.answer is not None and first.answer.finished is None:
                event = next(events, None)
                if isinstance(event, RequestProgress):
                    if not answered:
                        yield of_request(event)
                elif event is not None:
                    self._answers[event.id].take(event)
                elif self.error is None:
                    ended(first.answer)  # raises
                else:  # it could not be submitted
                    return
            answered = answered or first.answer is not None
            self._waiting.popleft()
            self._answers.pop(str(first.record.index), None)
            self._slots.release()
            yield first.record, first.answer

    def _first(self) -> _Waiting | None:
        """Return the first record in the line, once there is one; None when there will be none."""
        with self._changed:
            self._changed.wait_for(lambda: self._waiting or self._ended)
            return self._waiting[0] if self._waiting else None

    def stop(self) -> None:
        """Let the thread end when it next wakes."""
        self._stopped = True
        self._slots.release()
