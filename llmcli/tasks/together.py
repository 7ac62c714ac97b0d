"""Several documents, many requests each, in one job: the calls of all are in flight together."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, replace
from typing import Protocol, TypeVar

from llmcli.backends.base import Backend, Job
from llmcli.errors import LlmError
from llmcli.interrupt import check
from llmcli.tasks.base import passed_on
from llmcli.tasks.progress import StepProgress
from llmcli.types import Event, Finished, ItemFailed, Progress, Request, RequestProgress, Result, TaskEvent

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Cancel:
    """A request of the same work that is to end now; its ``Finished`` still comes."""

    id: str


Step = TaskEvent | Request | Cancel


class Work(Protocol):
    """One document on its way to a result, as a state machine that is fed the events of its own requests.

    It yields what the user sees, requests to submit and requests to cancel; with its ``Result`` it is done. An
    ``LlmError`` that it raises is the failure of this document alone.
    """

    item: int
    name: str

    @property
    def step(self) -> str:
        """What its requests are for now, "" where they are all for the same."""
        ...

    def start(self) -> Iterator[Step]:
        """Begin."""
        ...

    def take(self, event: Event) -> Iterator[Step]:
        """Go on after an event."""
        ...


def together(
    backend: Backend,
    things: Iterable[T | ItemFailed],
    work: Callable[[int, T], Work],
    unit: str,
    *,
    watched: int | None = None,
) -> Iterator[TaskEvent]:
    """Run a work for each thing, a document or the like, in one job.

    An ``ItemFailed`` among them is passed on in its place; one that fails does not stop the others.
    ``Progress`` counts requests, as ``unit``s, when there is more than one. Of requests that ask for it there is also a
    ``Progress`` for all of the same step together, until more than ``watched`` were made and one of them has ended.
    """
    with ExitStack() as stack:
        run = _Run(lambda: stack.enter_context(backend.open()), unit, watched)
        for item, thing in enumerate(things):
            if isinstance(thing, ItemFailed):
                yield passed_on(thing, item)
            else:
                yield from run.start(work(item, thing))
        yield from run.finish()


class _Run:
    """The works that are not done, and whose request is whose. ``begin`` opens the job, when there is a request."""

    def __init__(self, begin: Callable[[], Job], unit: str, watched: int | None) -> None:
        self._begin = begin
        self._job: Job | None = None
        self._unit = unit
        self._open: dict[int, Work] = {}
        self._owners: dict[str, int] = {}
        self._done = self._total = 0
        self._watched = watched
        self._steps_of: dict[str, str] = {}
        self._progress: dict[str, StepProgress] = {}  # of each step, the first ones first

    def start(self, work: Work) -> Iterator[TaskEvent]:
        """Begin a work."""
        self._open[work.item] = work
        yield from self._steps(work, work.start())

    def finish(self) -> Iterator[TaskEvent]:
        """Feed all works until they are done."""
        if self._job is None:
            return
        self._close_when_done()
        if self._total > 1:
            yield Progress(0, self._total, self._unit)  # so that a person sees at once that it works
        for event in self._job:
            if isinstance(event, RequestProgress):
                yield from self._report(event)
                continue
            work = self._open.get(self._owners[event.id])
            if work is not None:
                yield from self._steps(work, work.take(event))
            if isinstance(event, Finished):
                del self._owners[event.id]
                step = self._steps_of.pop(event.id, None)
                if step in self._progress:
                    self._progress[step].end(event.id)
                self._done += 1
                if self._total > 1:
                    yield Progress(self._done, self._total, self._unit)
                yield from self._step_progress()
            self._close_when_done()

    def _steps(self, work: Work, steps: Iterator[Step]) -> Iterator[TaskEvent]:
        try:
            for step in steps:
                check()
                if isinstance(step, Request):
                    self._submit(step, work)
                elif isinstance(step, Cancel):
                    self._cancel(step.id)
                else:
                    if isinstance(step, Result):
                        del self._open[work.item]
                    yield step
        except LlmError as error:
            check()  # then it is no failure of this document
            del self._open[work.item]
            for request_id, item in self._owners.items():
                if item == work.item:
                    self._cancel(request_id)
            yield ItemFailed(work.item, work.name, error)

    def _submit(self, request: Request, work: Work) -> None:
        self._owners[request.id] = work.item
        self._total += 1
        if request.progress:
            if self._watched is not None and self._total > self._watched:
                request = replace(request, progress=False)
            else:
                self._steps_of[request.id] = work.step
        if self._job is None:
            self._job = self._begin()
        self._job.submit(request)

    def _report(self, event: RequestProgress) -> Iterator[Progress]:
        """Take what is known of a request."""
        step = self._steps_of[event.id]
        self._progress.setdefault(step, StepProgress(step)).take(event)
        yield from self._step_progress()

    def _step_progress(self) -> Iterator[Progress]:
        """Yield how far the first step is that has not ended, if that is known."""
        step = next(iter(self._steps_of.values()), None)
        all_watched = self._watched is None or self._total <= self._watched
        if step in self._progress and (all_watched or not self._done):
            yield self._progress[step].now

    def _cancel(self, request_id: str) -> None:
        if self._job is not None:
            self._job.cancel(request_id)

    def _close_when_done(self) -> None:
        if not self._open and self._job is not None:
            self._job.close_input()
