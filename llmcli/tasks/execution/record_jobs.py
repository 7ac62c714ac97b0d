"""A stream of records, which may be endless: each is a document job of its own, and the jobs run concurrently."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Iterable, Iterator, Sized
from typing import TYPE_CHECKING

from llmcli.backends.base import Backend, Job
from llmcli.documents.records.record import Record
from llmcli.errors import ConfigError, InternalError, Interrupted, LlmError
from llmcli.frozen_dataclass import field, replace, slotted
from llmcli.interrupt import check_interrupt
from llmcli.tasks.execution.document_jobs import CancelRequest, DocumentJob, JobStep, WaitForCapacity
from llmcli.tasks.execution.record_verb import RecordJobOptions, RecordVerb
from llmcli.tasks.execution.step_progress import progress_of_request
from llmcli.types import (
    Delta,
    Event,
    Finished,
    ItemFailed,
    Progress,
    Request,
    RequestProgress,
    Result,
    TaskEvent,
    Timings,
    Usage,
)

if TYPE_CHECKING:
    from llmcli.tasks.execution.answer_store import AnswerStore

DRAINED_REQUESTS = 16
"""Records that are finished after an interrupt, if the backend does not report how many run at once."""


def run_record_jobs(
    backend: Backend, records: Iterable[Record], verb: RecordVerb, options: RecordJobOptions | None = None
) -> Iterator[TaskEvent]:
    """Yield one Result or ItemFailed for each record as soon as possible; ``item`` counts them, ``record`` is set.

    A thread of its own reads the records and starts their jobs, so that a result comes out while the source has not
    sent the next record yet. At most ``window`` records are read ahead of the first one that was not yielded. A
    malformed record fails with its error. An error of the source is raised after the results of the records before it;
    if it is ``Interrupted``, requests that have not begun are cancelled. ``Progress`` counts "records"; until the first
    result, it is that of the first request, if that asks for it. Deltas of the jobs are dropped.
    """
    chosen = options or RecordJobOptions()
    length = len(records) if isinstance(records, Sized) else None
    progress = chosen.progress or (lambda done: Progress(done, length, "records"))
    with backend.open() as job:
        starter = _RecordStarter(backend, job, records, verb, chosen)
        starter.start()
        done = 0
        try:
            for found in starter.outcomes():
                if isinstance(found, _PendingRecord):
                    assert found.outcome is not None
                    yield replace(found.outcome, item=done, record=found.record)
                    done += 1
                    yield progress(done)
                else:
                    yield found
        finally:
            starter.stop()
    if starter.error is not None:
        raise starter.error


@slotted
class _PendingRecord:
    """A record whose outcome was not yielded yet.

    ``followers`` are records with the same key, which get the same outcome. ``queued``: it is among the pending ones.
    ``discarded``: an interrupt ended it.
    """

    record: Record
    key: bytes | None = None
    job: DocumentJob | None = None
    running: set[str] = field(default_factory=set)
    outcome: Result | ItemFailed | None = None
    followers: list[_PendingRecord] = field(default_factory=list)
    queued: bool = False
    yielded: bool = False
    discarded: bool = False

    __eq__ = object.__eq__
    __hash__ = object.__hash__


class _RecordStarter(threading.Thread):
    """Reads the records and starts their jobs; ``_pending`` holds those that were not yielded yet, in order.

    A daemon thread, since a source that never ends (a terminal, a pipe) must not delay the end of the process. The jobs
    are called by one thread at a time, with ``_lock``.
    """

    def __init__(
        self, backend: Backend, job: Job, records: Iterable[Record], verb: RecordVerb, options: RecordJobOptions
    ) -> None:
        super().__init__(name="records", daemon=True)
        self.error: BaseException | None = None
        self._backend = backend
        self._job = job
        self._records = records
        self._verb = verb
        self._options = options
        self._window = threading.Semaphore(options.window)
        self._lock = threading.Lock()
        self._changed = threading.Condition()
        self._pending: deque[_PendingRecord] = deque()
        self._finished: deque[_PendingRecord] = deque()  # only if the order is not kept
        self._by_request: dict[str, _PendingRecord] = {}
        self._by_key: dict[bytes, _PendingRecord] = {}
        self._answers: AnswerStore | None = None
        if options.dedupe_key is not None:
            from llmcli.tasks.execution.answer_store import AnswerStore

            self._answers = AnswerStore()
        self._notices: deque[TaskEvent] = deque()
        self._begun = self._ended = self._stopped = self._drained = False

    # ---- the thread that reads ------------------------------------------------------------------------------------

    def run(self) -> None:
        """Start the jobs of all records, then close the input."""
        try:
            for record in self._records:
                self._window.acquire()
                if self._stopped:
                    return
                self._start_record(record)
        except BaseException as error:  # noqa: BLE001 (raised again by the reader of the outcomes)
            self.error = error
        finally:
            with self._lock:
                self._ended = True
                self._close_when_done()
            with self._changed:
                self._changed.notify()

    def _start_record(self, record: Record) -> None:
        entry = _PendingRecord(record)
        with self._lock:
            requests = [step for step in self._first_steps(entry) if isinstance(step, Request)]
            if self._begun and requests and requests[0].progress:  # the first request reports progress; then records do
                requests = [replace(request, progress=False) for request in requests]
            self._begun = self._begun or bool(requests)
            for request in requests:
                self._by_request[request.id] = entry
                entry.running.add(request.id)
            with self._changed:
                self._pending.append(entry)
                entry.queued = True
                if entry.outcome is not None:
                    self._mark_done(entry)
                self._changed.notify()
        self._submit(requests)

    def _submit(self, requests: list[Request]) -> None:
        """Submit requests that are registered; after an error, those that were not submitted are forgotten."""
        for number, request in enumerate(requests):
            try:
                self._job.submit(request)
            except BaseException:
                with self._lock:
                    for lost in requests[number:]:
                        del self._by_request[lost.id]
                raise

    def _close_when_done(self) -> None:
        """Close the input of the backend's job when no record comes any more and no request may have a successor."""
        if self._ended and (self._verb.single_request or not self._by_request):
            self._job.close_input()

    def _first_steps(self, entry: _PendingRecord) -> list[JobStep]:
        """Return what the job of a record does first; records that need no request get their outcome."""
        record = entry.record
        entry.outcome = self._outcome_without_request(record)
        if entry.outcome is not None or self._follow_same_text(entry):
            return []
        try:
            entry.job = self._verb.make_job(record)
            steps = list(entry.job.start())
        except LlmError as error:
            check_interrupt()  # the failure does not belong to this record
            if isinstance(error, ConfigError) and not self._begun:
                raise
            self._finish(entry, ItemFailed(record.index, record.name, error))
            return []
        self._take_events(entry, steps)
        return steps

    def _outcome_without_request(self, record: Record) -> Result | ItemFailed | None:
        if record.error is not None:
            return ItemFailed(record.index, record.name, record.error)
        if record.carried is not None:
            return Result(record.index, record.name, None, blank=True)
        return None if record.text.strip() else self._verb.blank_result(record)

    def _follow_same_text(self, entry: _PendingRecord) -> bool:
        """Whether the record gets the answer of one with the same text, which is there or will come."""
        if self._options.dedupe_key is None or self._answers is None:
            return False
        key = entry.key = self._options.dedupe_key(entry.record)
        answer = self._answers.get(key)
        if answer is not None:
            entry.outcome = _repeated_outcome(answer, entry.record)
            return True
        leader = self._by_key.setdefault(key, entry)
        if leader is not entry:
            leader.followers.append(entry)
        return leader is not entry

    # ---- the thread that handles events ---------------------------------------------------------------------------

    def outcomes(self) -> Iterator[_PendingRecord | TaskEvent]:
        """Yield the records as they are done, with the notices of their jobs.

        Raises ``InternalError`` if a record never ends.
        """
        events, answered = iter(self._job), False
        while self._wait_for_record():
            while self._notices:
                yield self._notices.popleft()
            entry = self._next_done()
            if entry is None:
                event = self._next_event(events)
                if event is None:  # a request could not be submitted
                    return
                if isinstance(event, RequestProgress):
                    if not answered:
                        yield progress_of_request(event)
                else:
                    self._handle_event(event)
            elif not entry.discarded:
                answered = answered or entry.job is not None
                yield entry
            elif self._options.ordered:
                return

    def _next_event(self, events: Iterator[Event]) -> Event | None:
        """Return the next event of the job; None when there is none, since reading or submitting has failed."""
        if isinstance(self.error, Interrupted) and not self._drained:
            self._cancel_waiting()
        event = next(events, None)
        if event is None and self.error is None:
            raise InternalError(detail="the backend ended a job without ending its requests")
        return event

    def _wait_for_record(self) -> bool:
        """Wait for a pending record; False if there will be none."""
        with self._changed:
            self._changed.wait_for(lambda: self._pending or self._ended)
            return bool(self._pending)

    def _next_done(self) -> _PendingRecord | None:
        """Remove and return a record that can be yielded; None if none is done.

        Without order, the window still counts from the first record that is not done, so that what a job has to
        remember about its progress is bounded.
        """
        with self._changed:
            if self._options.ordered:
                if self._pending[0].outcome is None and not self._pending[0].discarded:
                    return None
                entry = self._pending[0]
            elif self._finished:
                entry = self._finished.popleft()
            else:
                return None
            entry.yielded = True
            while self._pending and self._pending[0].yielded:
                self._pending.popleft()
                self._window.release()
            return entry

    def _handle_event(self, event: Event) -> None:
        with self._lock:
            entry = self._by_request[event.id]
            assert entry.job is not None
            try:
                steps = list(entry.job.handle_event(event)) if entry.outcome is None else []
            except Interrupted:
                check_interrupt()
                self._discard(entry)
                steps = []
            except LlmError as error:
                check_interrupt()
                self._cancel(entry)
                self._finish(entry, ItemFailed(entry.record.index, entry.record.name, error))
                steps = []
            if isinstance(event, Finished):
                entry.running.discard(event.id)
                del self._by_request[event.id]
            for step in steps:
                if isinstance(step, Request):
                    entry.running.add(step.id)
                    self._by_request[step.id] = entry
            self._take_events(entry, steps)
            self._close_when_done()
        self._submit([step for step in steps if isinstance(step, Request)])
        for step in steps:
            if isinstance(step, CancelRequest):
                self._job.cancel(step.id)

    def _take_events(self, entry: _PendingRecord, steps: Iterable[JobStep]) -> None:
        for step in steps:
            if isinstance(step, Result | ItemFailed):
                self._finish(entry, step)
            elif not isinstance(step, Request | CancelRequest | WaitForCapacity | Delta | Progress):
                self._notices.append(step)

    def _finish(self, entry: _PendingRecord, outcome: Result | ItemFailed) -> None:
        """Set the outcome of a record, and of those with the same text."""
        followers = self._forget_key(entry)
        if entry.key is not None and self._answers is not None and isinstance(outcome, Result):
            self._answers.add(entry.key, outcome)
        with self._changed:
            entry.outcome = outcome
            self._mark_done(entry)
            for each in followers:
                each.outcome = _repeated_outcome(outcome, each.record)
                self._mark_done(each)

    def _mark_done(self, entry: _PendingRecord) -> None:
        if entry.queued and not self._options.ordered:
            self._finished.append(entry)

    def _forget_key(self, entry: _PendingRecord) -> list[_PendingRecord]:
        if entry.key is not None:
            self._by_key.pop(entry.key, None)
        followers, entry.followers = entry.followers, []
        return followers

    # ---- the end --------------------------------------------------------------------------------------------------

    def _cancel_waiting(self) -> None:
        """Cancel the requests of all records but the first ones, which run."""
        self._drained = True
        running = self._backend.stats().width or DRAINED_REQUESTS
        with self._lock:
            unfinished = [entry for entry in self._pending if entry.outcome is None and entry.running]
            for entry in unfinished[running:]:
                self._cancel(entry)

    def _cancel(self, entry: _PendingRecord) -> None:
        for request_id in entry.running:
            self._job.cancel(request_id)

    def _discard(self, entry: _PendingRecord) -> None:
        with self._changed:
            for each in (entry, *self._forget_key(entry)):
                each.discarded = True
                self._mark_done(each)

    def stop(self) -> None:
        """Make the thread end when it next wakes."""
        self._stopped = True
        self._window.release()
        if self._answers is not None:
            with self._lock:
                self._answers.close()


def _repeated_outcome(outcome: Result | ItemFailed, record: Record) -> Result | ItemFailed:
    """Return the outcome of a record with the same text, which cost nothing."""
    if isinstance(outcome, ItemFailed):
        return replace(outcome, name=record.name)
    fields = {**outcome.fields, **record.position}
    return replace(outcome, name=record.name, fields=fields, usage=Usage(), timings=Timings())
