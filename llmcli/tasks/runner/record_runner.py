"""A stream of records, which may be endless: each is the input of a task, and the tasks run concurrently."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence, Sized
from typing import TYPE_CHECKING, Any, Protocol

from llmcli.backends.base import Backend, Job
from llmcli.documents.records.record import ColumnType, Record
from llmcli.errors import ConfigError, InternalError, Interrupted, LlmError, Unsupported
from llmcli.fast_dataclass import field, frozen, replace, slotted
from llmcli.interrupt import check_interrupt
from llmcli.tasks.runner.answers import progress_of_request
from llmcli.tasks.runner.task_run import TaskRun, TaskRunner
from llmcli.types import (
    Event,
    ItemFailed,
    Notice,
    Progress,
    Request,
    RequestProgress,
    Result,
    TaskEvent,
    Timings,
    Usage,
)

if TYPE_CHECKING:
    from llmcli.tasks.runner.answer_store import AnswerStore
    from llmcli.tasks.runner.work_estimate import WorkEstimate

MAX_RECORDS_AHEAD = 256
"""Records that are read ahead of the first one whose result was not yielded."""
DRAINED_REQUESTS = 16
"""Records that are finished after an interrupt, if the backend does not report how many run at once."""


class RecordProcessor(Protocol):
    """The task of a verb over records, and what its rows look like.

    ``columns`` are the names of the fields that it adds to a table, with their Python types.
    """

    columns: Mapping[str, ColumnType]

    @property
    def calls_per_request(self) -> int:
        """The most calls that each of the first requests about a record can lead to, itself included."""
        return 1

    def plan_setup(self) -> Sequence[Request]:
        """Return the requests before those of the first record, for an estimate; afterwards none of them is made."""
        return ()

    def estimate(self, record: Record) -> WorkEstimate | None:
        """Return the work for a record that is not blank; None if its first requests tell it."""
        del record
        return None

    async def process(self, run: TaskRun, record: Record) -> Result:
        """Return the result of a record that is not blank; its ``item`` is the index of the record.

        An ``LlmError`` is the failure of this record alone.
        """
        ...

    def blank_result(self, record: Record) -> Result:
        """Return the result of a blank record; it is ``blank``."""
        return Result(record.index, record.name, None, blank=True)

    def row(self, result: Result) -> Mapping[str, Any]:
        """Return the values of ``columns`` for a result; by default, its fields."""
        return {name: result.fields.get(name) for name in self.columns}

    def line(self, result: Result) -> str:
        """Return the line of a result in an output of plain lines; by default, the row with tabs between its values."""
        return "\t".join("" if value is None else str(value) for value in self.row(result).values())


@frozen
class RecordRunOptions:
    """How records are run.

    ``dedupe_key``: records with the same key are answered once, so it should be short; None answers each. ``progress``
    returns the progress when that many records are done; by default, the total is the length of the records, if they
    have one.
    """

    dedupe_key: Callable[[Record], bytes] | None = None
    progress: Callable[[int], Progress] | None = None
    window: int = MAX_RECORDS_AHEAD


def run_records(
    backend: Backend, records: Iterable[Record], processor: RecordProcessor, options: RecordRunOptions | None = None
) -> Iterator[TaskEvent]:
    """Yield one Result or ItemFailed for each record, in order; ``item`` counts them, ``record`` is set.

    A thread of its own reads the records and starts their tasks, so that a result comes out while the source has not
    sent the next record yet. At most ``window`` records are read ahead of the first one that was not yielded. A
    malformed record fails with its error; ``Unsupported`` and errors that ``ends_job`` end the run. An error of the
    source is raised after the results of the records before it; if it is ``Interrupted``, requests that have not begun
    are cancelled. ``Progress`` counts "records"; until the first result, it is that of the first request, if that asks
    for it. What tasks report is dropped, except notices.
    """
    chosen = options or RecordRunOptions()
    length = len(records) if isinstance(records, Sized) else None
    progress = chosen.progress or (lambda done: Progress(done, length, "records"))
    with backend.open() as job:
        reader = _RecordReader(backend, job, records, processor, chosen)
        reader.start()
        done = 0
        try:
            for found in reader.outcomes():
                if isinstance(found, _PendingRecord):
                    assert found.outcome is not None
                    yield replace(found.outcome, item=done, record=found.record)
                    done += 1
                    yield progress(done)
                else:
                    yield found
        finally:
            reader.stop()
    if reader.error is not None:
        raise reader.error


@slotted
class _PendingRecord:
    """A record whose outcome was not yielded yet.

    ``followers`` are records with the same key, which get the same outcome. ``discarded``: an interrupt ended it.
    """

    record: Record
    key: bytes | None = None
    run: TaskRun | None = None
    outcome: Result | ItemFailed | None = None
    followers: list[_PendingRecord] = field(default_factory=list)
    discarded: bool = False

    __eq__ = object.__eq__
    __hash__ = object.__hash__


class _RecordReader(threading.Thread):
    """Reads the records and starts their tasks; ``_pending`` holds those that were not yielded yet, in order.

    A daemon thread, since a source that never ends (a terminal, a pipe) must not delay the end of the process. The
    tasks are resumed by one thread at a time, with ``_lock``; without it, their requests are submitted.
    """

    def __init__(
        self,
        backend: Backend,
        job: Job,
        records: Iterable[Record],
        processor: RecordProcessor,
        options: RecordRunOptions,
    ) -> None:
        super().__init__(name="records", daemon=True)
        self.error: BaseException | None = None
        self._backend = backend
        self._job = job
        self._records = records
        self._processor = processor
        self._options = options
        self._runner = TaskRunner(backend, lambda: job, self._end_task, shows_deltas=False, max_watched=1)
        self._window = threading.Semaphore(options.window)
        self._lock = threading.Lock()
        self._changed = threading.Condition()
        self._pending: deque[_PendingRecord] = deque()
        self._record_of: dict[TaskRun, _PendingRecord] = {}
        self._by_key: dict[bytes, _PendingRecord] = {}
        self._answers: AnswerStore | None = None
        if options.dedupe_key is not None:
            from llmcli.tasks.runner.answer_store import AnswerStore

            self._answers = AnswerStore()
        self._notices: deque[TaskEvent] = deque()
        self._begun = self._ended = self._stopped = self._drained = False

    # ---- the thread that reads ------------------------------------------------------------------------------------

    def run(self) -> None:
        """Start the tasks of all records, then close the input."""
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
            if self._stopped:
                return
            entry.outcome = self._outcome_without_task(record)
            if entry.outcome is None and not self._follow_same_text(entry):
                entry.run = TaskRun(self._runner, record.index, record.name)
                self._record_of[entry.run] = entry
                for note in record.notes:
                    entry.run.warn(note)
                self._runner.start(entry.run, self._processor.process(entry.run, record))
            unsent, cancelled = self._take_unsent()
            self._begun = self._begun or bool(unsent)
            with self._changed:
                self._pending.append(entry)
                self._changed.notify()
        self._submit_new(unsent, cancelled)

    def _take_unsent(self) -> tuple[list[Request], list[str]]:
        """Return the requests to submit and the ids to cancel; keep the notices of the tasks."""
        reports = self._runner.reports
        while reports:
            report = reports.popleft()
            if isinstance(report, Notice):
                self._notices.append(report)
        return self._runner.take_unsent()

    def _submit_new(self, unsent: list[Request], cancelled: list[str]) -> None:
        """Submit the first requests of a record, and what is to be cancelled. After an error nothing more is read."""
        for number, request in enumerate(unsent):
            try:
                self._submit_one(request)
            except BaseException:
                with self._lock:
                    for lost in unsent[number:]:
                        self._runner.drop(lost.id)
                raise
        self._cancel(cancelled)

    def _submit_next(self, unsent: list[Request], cancelled: list[str]) -> None:
        """Submit the next requests of records that run; one that is refused is the failure of its record."""
        while unsent or cancelled:
            for request in unsent:
                try:
                    self._submit_one(request)
                except LlmError as error:
                    check_interrupt()
                    with self._lock:
                        self._runner.drop(request.id, error)
            self._cancel(cancelled)
            with self._lock:
                unsent, cancelled = self._take_unsent()

    def _submit_one(self, request: Request) -> None:
        """Submit a request, unless its task has ended meanwhile, in the other thread."""
        with self._lock:
            if not self._runner.is_awaited(request.id):
                self._runner.drop(request.id)
                return
        self._job.submit(request)
        if not self._runner.is_awaited(request.id):
            self._job.cancel(request.id)

    def _cancel(self, request_ids: list[str]) -> None:
        for request_id in request_ids:
            self._job.cancel(request_id)

    def _close_when_done(self) -> None:
        """Close the input of the backend's job when no record comes any more and no request may have a successor."""
        if self._ended and not self._runner.pending_ids:
            self._job.close_input()

    def _outcome_without_task(self, record: Record) -> Result | ItemFailed | None:
        if record.error is not None:
            return ItemFailed(record.index, record.name, record.error)
        if record.carried is not None:
            return Result(record.index, record.name, None, blank=True)
        return None if record.text.strip() else self._processor.blank_result(record)

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
        """Yield the records as they are done, with the notices of their tasks.

        Raises ``Interrupted`` at a record that an interrupt ended, and ``InternalError`` if a record never ends.
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
            elif entry.discarded:
                raise Interrupted  # perhaps before the thread that reads has noticed
            else:
                answered = answered or entry.run is not None
                yield entry

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
        """Remove and return the first record; None if it is not done."""
        with self._changed:
            entry = self._pending[0]
            if entry.outcome is None and not entry.discarded:
                return None
            self._pending.popleft()
            self._window.release()
            return entry

    def _handle_event(self, event: Event) -> None:
        with self._lock:
            self._runner.handle_event(event)
            unsent, cancelled = self._take_unsent()
        self._submit_next(unsent, cancelled)
        with self._lock:
            self._close_when_done()

    def _end_task(self, run: TaskRun, end: Result | LlmError) -> None:
        entry = self._record_of.pop(run)
        if isinstance(end, Result):
            self._finish(entry, end)
            return
        check_interrupt()  # the failure does not belong to this record
        if isinstance(end, Interrupted):
            self._discard(entry)
            return
        if isinstance(end, Unsupported) or end.ends_job or (isinstance(end, ConfigError) and not self._begun):
            raise end  # all other records would fail alike
        self._finish(entry, ItemFailed(entry.record.index, entry.record.name, end))

    def _finish(self, entry: _PendingRecord, outcome: Result | ItemFailed) -> None:
        """Set the outcome of a record, and of those with the same text."""
        followers = self._forget_key(entry)
        if entry.key is not None and self._answers is not None and isinstance(outcome, Result):
            self._answers.add(entry.key, outcome)
        with self._changed:
            entry.outcome = outcome
            for each in followers:
                each.outcome = _repeated_outcome(outcome, each.record)

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
            runs = [entry.run for entry in self._pending if entry.outcome is None and entry.run in self._record_of]
            for run in runs[running:]:
                if run is not None:
                    run.cancel()
            self._runner.loop.run()
            unsent, cancelled = self._take_unsent()
        self._submit_next(unsent, cancelled)

    def _discard(self, entry: _PendingRecord) -> None:
        with self._changed:
            for each in (entry, *self._forget_key(entry)):
                each.discarded = True

    def stop(self) -> None:
        """Make the thread end when it next wakes."""
        self._stopped = True
        self._window.release()
        with self._lock:
            self._runner.close()
            if self._answers is not None:
                self._answers.close()


def _repeated_outcome(outcome: Result | ItemFailed, record: Record) -> Result | ItemFailed:
    """Return the outcome of a record with the same text, which cost nothing."""
    if isinstance(outcome, ItemFailed):
        return replace(outcome, name=record.name)
    fields = {**outcome.fields, **record.position}
    return replace(outcome, name=record.name, fields=fields, usage=Usage(), timings=Timings())
