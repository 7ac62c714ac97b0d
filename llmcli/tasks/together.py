"""Several documents, many requests each, in one job: the calls of all are in flight together."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Protocol, TypeVar

from llmcli.backends.base import Backend, Job
from llmcli.errors import LlmError
from llmcli.interrupt import check
from llmcli.tasks.base import passed_on
from llmcli.types import Event, Finished, ItemFailed, Progress, Request, Result, TaskEvent

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

    def start(self) -> Iterator[Step]:
        """Begin."""
        ...

    def take(self, event: Event) -> Iterator[Step]:
        """Go on after an event."""
        ...


def together(
    backend: Backend, things: Iterable[T | ItemFailed], work: Callable[[int, T], Work], unit: str
) -> Iterator[TaskEvent]:
    """Run a work for each thing, a document or the like, in one job.

    An ``ItemFailed`` among them is passed on in its place; one that fails does not stop the others.
    ``Progress`` counts requests, as ``unit``s, when there is more than one.
    """
    with ExitStack() as stack:
        run = _Run(lambda: stack.enter_context(backend.open()), unit)
        for item, thing in enumerate(things):
            if isinstance(thing, ItemFailed):
                yield passed_on(thing, item)
            else:
                yield from run.start(work(item, thing))
        yield from run.finish()


class _Run:
    """The works that are not done, and whose request is whose. ``begin`` opens the job, when there is a request."""

    def __init__(self, begin: Callable[[], Job], unit: str) -> None:
        self._begin = begin
        self._job: Job | None = None
        self._unit = unit
        self._open: dict[int, Work] = {}
        self._owners: dict[str, int] = {}
        self._done = self._total = 0

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
            work = self._open.get(self._owners[event.id])
            if work is not None:
                yield from self._steps(work, work.take(event))
            if isinstance(event, Finished):
                del self._owners[event.id]
                self._done += 1
                if self._total > 1:
                    yield Progress(self._done, self._total, self._unit)
            self._close_when_done()

    def _steps(self, work: Work, steps: Iterator[Step]) -> Iterator[TaskEvent]:
        try:
            for step in steps:
                check()
                if isinstance(step, Request):
                    self._owners[step.id] = work.item
                    self._total += 1
                    if self._job is None:
                        self._job = self._begin()
                    self._job.submit(step)
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

    def _cancel(self, request_id: str) -> None:
        if self._job is not None:
            self._job.cancel(request_id)

    def _close_when_done(self) -> None:
        if not self._open and self._job is not None:
            self._job.close_input()
