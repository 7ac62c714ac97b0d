"""Several documents with many requests each, in one job: the requests of all documents run concurrently."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack
from typing import Protocol, TypeVar

from llmcli.backends.base import Backend, Job
from llmcli.errors import LlmError
from llmcli.frozen_dataclass import frozen, replace
from llmcli.interrupt import check_interrupt
from llmcli.tasks.runner.answers import renumber_failure
from llmcli.tasks.runner.step_progress import StepProgress
from llmcli.types import Event, Finished, ItemFailed, Progress, Request, RequestProgress, Result, TaskEvent

T = TypeVar("T")
MAX_PENDING_REQUESTS = 64
"""So many fill the batches; until one of them ends no further document is begun, so that few are in memory."""


@frozen
class CancelRequest:
    """A request of the same document to cancel now, after an event of it; its ``Finished`` still follows."""

    id: str


@frozen
class WaitForCapacity:
    """What a document has yet to yield waits while many requests are pending; ``remaining``: at least so many requests."""

    remaining: int = 1


JobStep = TaskEvent | Request | CancelRequest | WaitForCapacity


class DocumentJob(Protocol):
    """The job of one document: a state machine that handles the events of its own requests.

    It yields task events, requests to submit and requests to cancel; with its ``Result`` it is done. An ``LlmError``
    that it raises is the failure of this document alone. ``start`` of a document with many requests yields
    ``WaitForCapacity`` before each, so that few of them are in memory; events of earlier ones are handled meanwhile.
    """

    item: int
    name: str

    @property
    def step(self) -> str:
        """The current step of its requests, "" if there is only one step."""
        ...

    def start(self) -> Iterator[JobStep]:
        """Begin."""
        ...

    def handle_event(self, event: Event) -> Iterator[JobStep]:
        """Handle an event of one of its requests."""
        ...


def run_document_jobs(
    backend: Backend,
    things: Iterable[T | ItemFailed],
    make_job: Callable[[int, T], DocumentJob],
    unit: str,
    *,
    watched: int | None = None,
) -> Iterator[TaskEvent]:
    """Run a ``DocumentJob`` for each of ``things`` (documents or the like) in one job of the backend.

    Each is taken when its job begins: later ones wait while ``MAX_PENDING_REQUESTS`` are pending. An ``ItemFailed`` among
    them is passed on in its position; a failure, also one that ``make_job`` raises, does not stop the others. ``Progress``
    counts requests, as ``unit``s, if there is more than one. Requests that ask for progress also produce a combined
    ``Progress`` of all requests of the same step, until more than ``watched`` were made and one of them has ended.
    """
    with ExitStack() as stack:
        run = _DocumentJobRunner(lambda: stack.enter_context(backend.open()), unit, watched)
        starts = _start_jobs(run, things, make_job)
        yield from run.start_more(starts)
        yield from run.finish(starts)


def _start_jobs(
    run: _DocumentJobRunner, things: Iterable[T | ItemFailed], make_job: Callable[[int, T], DocumentJob]
) -> Iterator[Iterator[TaskEvent]]:
    """Start one thing after the other: yield what each yields."""
    for item, thing in enumerate(things):
        if isinstance(thing, ItemFailed):
            yield iter([renumber_failure(thing, item)])
            continue
        try:
            job = make_job(item, thing)
        except LlmError as error:
            check_interrupt()
            yield iter([ItemFailed(item, getattr(thing, "name", ""), error)])
        else:
            del thing  # while the next one is read, only what its job keeps is in memory
            yield run.start(job)


class _DocumentJobRunner:
    """The unfinished document jobs, and the document of each request. ``begin`` opens the job at the first request.

    Of requests with a grammar, which takes about 1 MB in the engine, at most ``MAX_PENDING_REQUESTS`` are submitted at a
    time; the others are held back until one of those ends.
    """

    def __init__(self, begin: Callable[[], Job], unit: str, watched: int | None) -> None:
        self._open_job = begin
        self._job: Job | None = None
        self._unit = unit
        self._has_more = True
        self._unfinished: dict[int, DocumentJob] = {}
        self._waiting: deque[tuple[DocumentJob, Iterator[JobStep], int]] = deque()  # the int: requests to come
        self._item_of_request: dict[str, int] = {}
        self._constrained: set[str] = set()  # ids of submitted requests with a grammar
        self._held: deque[Request] = deque()
        self._requests_done = self._requests_total = 0
        self._max_watched = watched
        self._steps_of: dict[str, str] = {}
        self._progress: dict[str, StepProgress] = {}  # progress by step, the earliest step first

    def start(self, document_job: DocumentJob) -> Iterator[TaskEvent]:
        """Start a document job."""
        self._unfinished[document_job.item] = document_job
        yield from self._process_steps(document_job, document_job.start())

    def start_more(self, starts: Iterator[Iterator[TaskEvent]]) -> Iterator[TaskEvent]:
        """Go on with jobs that wait for room, and start further ones, while few requests are pending."""
        while self._has_capacity():
            if self._waiting:
                document_job, rest, _ = self._waiting.popleft()
                if document_job.item in self._unfinished:
                    yield from self._process_steps(document_job, rest)
                continue
            steps = next(starts, None)
            if steps is None:
                self._has_more = False
                return
            yield from steps

    def finish(self, starts: Iterator[Iterator[TaskEvent]]) -> Iterator[TaskEvent]:
        """Pass events to the document jobs until all are done, and start those of ``starts`` meanwhile."""
        if self._job is None:
            return
        self._close_when_done()
        if self._requests_total > 1:
            yield self._count_requests()  # so that the user sees progress at once
        for event in self._job:
            if isinstance(event, RequestProgress):
                yield from self._report_progress(event)
                continue
            document_job = self._unfinished.get(self._item_of_request[event.id])
            if document_job is not None:
                yield from self._process_steps(document_job, document_job.handle_event(event))
            if isinstance(event, Finished):
                del self._item_of_request[event.id]
                self._submit_held(event.id)
                step = self._steps_of.pop(event.id, None)
                if step in self._progress:
                    self._progress[step].mark_finished(event.id)
                self._requests_done += 1
                if self._requests_total > 1:
                    yield self._count_requests()
                yield from self._step_progress()
                yield from self.start_more(starts)
            self._close_when_done()

    def _count_requests(self) -> Progress:
        to_come = sum(remaining for _, _, remaining in self._waiting)
        return Progress(self._requests_done, self._requests_total + to_come, self._unit)

    def _has_capacity(self) -> bool:
        return len(self._item_of_request) < MAX_PENDING_REQUESTS

    def _process_steps(self, document_job: DocumentJob, steps: Iterator[JobStep]) -> Iterator[TaskEvent]:
        try:
            for step in steps:
                check_interrupt()
                if isinstance(step, Request):
                    self._submit(step, document_job)
                elif isinstance(step, CancelRequest):
                    self._cancel(step.id)
                elif isinstance(step, WaitForCapacity):
                    if not self._has_capacity():
                        self._waiting.append((document_job, steps, step.remaining))
                        return
                else:
                    if isinstance(step, Result):
                        del self._unfinished[document_job.item]
                    yield step
        except LlmError as error:
            check_interrupt()  # the failure does not belong to this document
            del self._unfinished[document_job.item]
            self._drop_held(document_job.item)
            for request_id, item in self._item_of_request.items():
                if item == document_job.item:
                    self._cancel(request_id)
            yield ItemFailed(document_job.item, document_job.name, error)

    def _submit(self, request: Request, document_job: DocumentJob) -> None:
        self._item_of_request[request.id] = document_job.item
        self._requests_total += 1
        if request.progress:
            if self._max_watched is not None and self._requests_total > self._max_watched:
                request = replace(request, progress=False)
            else:
                self._steps_of[request.id] = document_job.step
        if self._job is None:
            self._job = self._open_job()
        if request.grammar is not None and len(self._constrained) >= MAX_PENDING_REQUESTS:
            self._held.append(request)
            return
        if request.grammar is not None:
            self._constrained.add(request.id)
        self._job.submit(request)

    def _submit_held(self, ended_id: str) -> None:
        """Submit the next held request if the one that ended had a grammar."""
        if ended_id not in self._constrained:
            return
        self._constrained.remove(ended_id)
        if self._held and self._job is not None:
            request = self._held.popleft()
            self._constrained.add(request.id)
            self._job.submit(request)

    def _drop_held(self, item: int) -> None:
        """Forget the held requests of a document that failed."""
        dropped = [request.id for request in self._held if self._item_of_request[request.id] == item]
        self._held = deque(request for request in self._held if request.id not in dropped)
        for request_id in dropped:
            del self._item_of_request[request_id]
            self._steps_of.pop(request_id, None)
        self._requests_done += len(dropped)

    def _report_progress(self, event: RequestProgress) -> Iterator[Progress]:
        """Update the progress of a request's step."""
        step = self._steps_of[event.id]
        self._progress.setdefault(step, StepProgress(step)).update(event)
        yield from self._step_progress()

    def _step_progress(self) -> Iterator[Progress]:
        """Yield the progress of the first unfinished step, if it is known."""
        step = next(iter(self._steps_of.values()), None)
        all_watched = self._max_watched is None or self._requests_total <= self._max_watched
        if step in self._progress and (all_watched or not self._requests_done):
            yield self._progress[step].current

    def _cancel(self, request_id: str) -> None:
        if self._job is not None:
            self._job.cancel(request_id)

    def _close_when_done(self) -> None:
        if not self._unfinished and not self._has_more and self._job is not None:
            self._job.close_input()
