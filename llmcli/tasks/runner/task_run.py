"""The runner of tasks: coroutines that ask a backend, and the events of the backend that let them go on.

A task is an ``async`` function of a ``TaskRun``, one for each input, and returns the ``Result`` of that input. It
awaits answers (``ask``, ``gather``, ``each``) and reports what the user should see meanwhile. The runner submits the
requests of all inputs to one job, keeps few of them pending, sums up their usage, and turns an ``LlmError`` of a task
into ``ItemFailed``.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Coroutine, Iterable, Iterator, Mapping
from contextlib import ExitStack
from typing import Any, TypeVar

from llmcli.backends.base import Backend, Job
from llmcli.errors import InternalError, LlmError
from llmcli.fast_dataclass import replace
from llmcli.interrupt import check_interrupt
from llmcli.tasks.runner.answers import (
    Answer,
    DeltaSink,
    PendingRequest,
    StepProgress,
    StopCondition,
    UsageTally,
    raise_request_error,
    renumber_failure,
)
from llmcli.tasks.runner.coroutines import ConcurrentMap, CoroutineLoop, Spawned, gather
from llmcli.types import (
    Event,
    Finished,
    FinishReason,
    ItemFailed,
    Notice,
    Phase,
    Progress,
    Request,
    RequestProgress,
    Result,
    TaskEvent,
)

T = TypeVar("T")
S = TypeVar("S")
Work = Coroutine[Any, Any, T]
MAX_PENDING_REQUESTS = 64
"""So many fill the batches; until one of them ends no further input is begun, so that few are in memory."""


class TaskRun:
    """What a task is handed for one input, number ``item``: the backend's answers, and the way to what the user sees.

    ``step`` names the current step in the progress of its requests; "" if there is only one step. ``usage`` sums up all
    requests. ``warnings`` are those of the result.
    """

    def __init__(self, runner: TaskRunner, item: int, name: str) -> None:
        self.item = item
        self.name = name
        self.step = ""
        self.usage = UsageTally()
        self.warnings: list[str] = []
        self._runner = runner
        self._open: set[PendingRequest] = set()
        self._loops: list[ConcurrentMap[Any, Any]] = []

    @property
    def backend(self) -> Backend:
        """The backend that answers, to count tokens and to ask what it can do."""
        return self._runner.backend

    @property
    def shows_deltas(self) -> bool:
        """Whether anyone reads an answer of this task before its result."""
        return self._runner.shows_deltas

    async def ask(
        self,
        request: Request,
        *,
        on_delta: DeltaSink | None = None,
        stop_condition: StopCondition | None = None,
        unit_text: str = "",
    ) -> Answer:
        """Return the answer to a request, whose id is unlike all others. Raises the error of a failed request.

        ``on_delta`` gets the pieces of the text and of the reasoning as they come. If ``stop_condition`` ends the
        answer, ``Answer.was_ended`` is set. ``unit_text`` is the text of the unit that the request is about, for the
        progress. If a worker ends before the answer does, the answer begins again; it fails if ``on_delta`` cannot.
        """
        request = replace(request, gathered=on_delta is None and stop_condition is None)
        opened = PendingRequest(request, self.step, self.usage, on_delta, stop_condition, unit_text)
        self._open.add(opened)
        self._runner.submit(opened)
        try:
            finished = await opened.finished
        finally:
            self._open.discard(opened)
            if not opened.finished.done:
                self._runner.abandon(opened)
        if opened.was_ended and finished.reason is FinishReason.CANCELLED:
            finished = replace(finished, reason=FinishReason.STOP)
        self.warnings += [text for text in finished.warnings if text not in self.warnings]
        raise_request_error(finished)
        return opened.buffer.complete(finished, was_ended=opened.was_ended)

    async def gather(self, works: Iterable[Work[T]]) -> list[T]:
        """Run coroutines concurrently and return their values in order. Raises the first error; then the others end."""
        return await gather(self._runner.loop, works)

    def each(
        self,
        source: Iterable[S],
        work: Callable[[S], Work[T]],
        *,
        limit: int = 2 * MAX_PENDING_REQUESTS,
        max_pending: int = MAX_PENDING_REQUESTS,
        total: int | None = None,
    ) -> ConcurrentMap[S, T]:
        """Return the values of ``work`` for the items of a source, in their order, for ``async for``.

        Several items are worked on at a time. The next one is taken while fewer than ``max_pending`` requests are
        pending and fewer than ``limit`` values are unread, so a source of any length takes little memory. ``total``:
        the number of items, for the progress, where the source has no length.
        """
        runner = self._runner
        found = ConcurrentMap(
            runner.loop,
            source,
            work,
            limit=limit,
            total=total,
            has_room=lambda: runner.has_room(max_pending),
            wait_for_room=runner.wait_for_room,
        )
        self._loops.append(found)
        return found

    def report(self, event: TaskEvent) -> None:
        """Let the user see a piece of text or progress."""
        self._runner.reports.append(event)

    def warn(self, text: str) -> None:
        """Report a notice now, and give the result a warning."""
        self.warnings.append(text)
        self.report(Notice(text, self.item))

    def result(self, text: str | None, fields: Mapping[str, Any] | None = None, **more: Any) -> Result:
        """Return the result of the input, with the model, the usage of all its requests and its warnings."""
        values = {
            "model": self.backend.info().model,
            "usage": self.usage.usage,
            "timings": self.usage.timings,
            "warnings": tuple(self.warnings),
        }
        return Result(self.item, self.name, text, fields or {}, **{**values, **more})

    def cancel(self) -> None:
        """Cancel the requests that have not ended: the task gets ``Interrupted`` from them."""
        for opened in [*self._open]:
            self._runner.cancel(opened)

    def close(self) -> None:
        """End what is left of the task."""
        for loop in self._loops:
            loop.close()
        self._loops.clear()  # they refer to functions of the task, and so to what it has read
        for opened in [*self._open]:
            if not opened.finished.done:
                self._runner.abandon(opened)


class TaskRunner:
    """The tasks that run, and their requests. Used by one thread at a time; ``flush`` submits, which may block.

    ``open_job`` opens the job at the first request. ``on_end`` gets each task that has ended, and its result or error.
    ``limits_pending``: loops wait while many requests are pending. ``shows_deltas``: what tasks report is shown, not
    only their results. With ``max_watched``, so many requests report their
    progress if they ask for it. Of requests with a grammar, which takes about 1 MB
    in the engine, at most ``MAX_PENDING_REQUESTS`` are submitted at a time.
    """

    def __init__(
        self,
        backend: Backend,
        open_job: Callable[[], Job],
        on_end: Callable[[TaskRun, Result | LlmError], object],
        *,
        limits_pending: bool = False,
        shows_deltas: bool = True,
        max_watched: int | None = None,
    ) -> None:
        self.shows_deltas = shows_deltas
        self.backend = backend
        self.loop = CoroutineLoop()
        self.reports: deque[TaskEvent] = deque()
        self.num_done = self.num_asked = self.num_tokens = 0
        """Requests that have ended, all requests so far, and the tokens generated for units with a known text."""
        self._open_job = open_job
        self._job: Job | None = None
        self._on_end = on_end
        self._limits_pending = limits_pending
        self._max_watched = max_watched
        self._tasks: dict[TaskRun, Spawned[Result]] = {}
        self._open: dict[str, PendingRequest] = {}
        self._unsent: deque[PendingRequest] = deque()
        self._held: deque[PendingRequest] = deque()
        self._cancelled: list[str] = []
        self._num_constrained = 0
        self._waiting: deque[ConcurrentMap[Any, Any]] = deque()

    # ---- tasks ----------------------------------------------------------------------------------------------------

    def start(self, run: TaskRun, task: Work[Result]) -> None:
        """Start the task of an input."""
        spawned = self.loop.spawn(task)
        self._tasks[run] = spawned
        spawned.when_done(lambda: self._end(run, spawned))
        self.loop.run()

    def _end(self, run: TaskRun, spawned: Spawned[Result]) -> None:
        if self._tasks.pop(run, None) is None:  # all tasks are being closed
            return
        run.close()
        error = spawned.error
        if error is None:
            self._on_end(run, spawned.value)
            return
        if not isinstance(error, LlmError):
            raise error
        self._on_end(run, error)

    def check_all_ended(self) -> None:
        """Raise ``InternalError`` if a task waits although no request is pending."""
        if self._tasks:
            raise InternalError(detail=f"{len(self._tasks)} tasks wait for nothing")

    def close(self) -> None:
        """End all tasks."""
        tasks, self._tasks = self._tasks, {}
        for run, spawned in tasks.items():
            spawned.close()
            run.close()

    # ---- requests -------------------------------------------------------------------------------------------------

    @property
    def pending_ids(self) -> Iterable[str]:
        """The ids of requests that have not ended."""
        return self._open

    def has_room(self, max_pending: int = MAX_PENDING_REQUESTS) -> bool:
        """Whether fewer requests are pending; always, if the source of the inputs has a limit of its own."""
        return not self._limits_pending or len(self._open) + len(self._held) < max_pending

    @property
    def num_to_come(self) -> int:
        """How many requests will come from loops that wait for room, at least."""
        return sum(each.remaining for each in self._waiting)

    @property
    def has_waiting_loops(self) -> bool:
        """Whether a loop waits for room."""
        return bool(self._waiting)

    def wait_for_room(self, each: ConcurrentMap[Any, Any]) -> None:
        """Resume a loop when there is room."""
        if each not in self._waiting:
            self._waiting.append(each)

    def wake_loops(self) -> None:
        """Resume the loops that wait, the first first, while there is room."""
        while self._waiting and self._waiting[0].has_room():
            self._waiting.popleft().resume()
            self.loop.run()

    def submit(self, opened: PendingRequest) -> None:
        """Submit a request at the next ``flush``, or hold it back while too many have grammars."""
        check_interrupt()
        self.num_asked += 1
        if self._max_watched is not None and self.num_asked > self._max_watched and opened.request.progress:
            opened.request = replace(opened.request, progress=False)
        if opened.request.grammar is not None:
            if self._num_constrained >= MAX_PENDING_REQUESTS:
                self._held.append(opened)
                return
            self._num_constrained += 1
        self._send(opened)

    def _send(self, opened: PendingRequest) -> None:
        if opened.request.id in self._open:
            raise InternalError("job", detail=f"request {opened.request.id} submitted twice")
        self._open[opened.request.id] = opened
        self._unsent.append(opened)

    def abandon(self, opened: PendingRequest) -> None:
        """Cancel a request that its task no longer awaits. Its usage counts if it ends before the task does."""
        opened.abandoned = True
        if opened in self._held:
            self._held.remove(opened)
            self.num_done += 1
        elif opened in self._unsent:
            self._unsent.remove(opened)
            self._forget(opened)
        else:
            self._cancelled.append(opened.request.id)

    def cancel(self, opened: PendingRequest) -> None:
        """Cancel a request whose end is awaited."""
        if opened in self._held:
            self._held.remove(opened)
            self.num_done += 1
            opened.finished.resolve(Finished(opened.request.id, FinishReason.CANCELLED))
        else:
            self._cancelled.append(opened.request.id)

    def is_awaited(self, request_id: str) -> bool:
        """Return whether a task still waits for a request."""
        opened = self._open.get(request_id)
        return opened is not None and not opened.abandoned

    def drop(self, request_id: str, error: Exception | None = None) -> None:
        """Forget a request that was not submitted; with an error, that is the failure of its task."""
        opened = self._open.get(request_id)
        if opened is None:
            return
        self._forget(opened)
        if error is not None:
            opened.finished.fail(error)
            self.loop.run()

    def _forget(self, opened: PendingRequest) -> None:
        del self._open[opened.request.id]
        self.num_done += 1
        if opened.request.grammar is not None:
            self._num_constrained -= 1
            if self._held:
                self._num_constrained += 1
                self._send(self._held.popleft())

    def take_unsent(self) -> tuple[list[Request], list[str]]:
        """Return the requests to submit and the ids to cancel now."""
        unsent, cancelled = [opened.request for opened in self._unsent], self._cancelled
        self._unsent.clear()
        self._cancelled = []
        return unsent, cancelled

    def flush(self) -> None:
        """Submit and cancel what tasks have asked for; a request that is refused is the failure of its task."""
        while self._unsent or self._cancelled:
            unsent, self._unsent = self._unsent, deque()
            if unsent and self._job is None:
                self._job = self._open_job()
            for opened in unsent:
                check_interrupt()
                try:
                    self.job.submit(opened.request)
                except LlmError as error:
                    check_interrupt()
                    self._forget(opened)
                    opened.finished.fail(error)
            cancelled, self._cancelled = self._cancelled, []
            for request_id in cancelled:
                self.job.cancel(request_id)
            self.loop.run()

    @property
    def job(self) -> Job:
        """The job, which is open once something was submitted."""
        assert self._job is not None
        return self._job

    def handle_event(self, event: Event) -> None:
        """Handle an event of a request, and resume the tasks that waited for it."""
        opened = self._open[event.id]
        if not isinstance(event, Finished):
            if opened.add_event(event):
                self._cancelled.append(event.id)
            return
        self._forget(opened)
        self.num_tokens += event.usage.completion_tokens if opened.unit_text else 0
        opened.usage.add(event)
        opened.finish(event)
        self.loop.run()

    def is_thinking(self, request_id: str) -> bool:
        """Whether the last piece of an answer was reasoning."""
        return self._open[request_id].is_thinking

    def step_of(self, request_id: str) -> str | None:
        """Return the step of a request that has not ended, None if it does not report its progress."""
        opened = self._open[request_id]
        return opened.step if opened.request.progress else None

    @property
    def current_text(self) -> str:
        """The text of the unit that the first request which has not ended is about, "" if no task says so."""
        return next((opened.unit_text for opened in self._open.values() if opened.unit_text), "")

    @property
    def first_watched(self) -> str | None:
        """The id of the first request that has not ended and reports its progress."""
        return next((key for key, opened in self._open.items() if opened.request.progress), None)


def run_inputs(
    backend: Backend,
    inputs: Iterable[T | ItemFailed],
    task: Callable[[TaskRun, T], Work[Result]],
    unit: str = "",
    *,
    watched: int | None = None,
) -> Iterator[TaskEvent]:
    """Run a task for each of the inputs in one job of the backend, and yield what they report, then a Result for each.

    An input is taken when its task begins: later ones wait while ``MAX_PENDING_REQUESTS`` are pending. An
    ``ItemFailed`` among them is passed on in its position; an error of a task that ``ends_job`` stops the others.
    ``Progress`` counts requests, as ``unit``s, if there is more than one ("": it does not). Requests that ask for
    progress also produce a combined ``Progress`` of all requests of the same step, until more than ``watched`` were
    made and one of them has ended.
    """
    with ExitStack() as stack:
        yield from _InputRunner(backend, stack, unit, watched).run(inputs, task)


def run_task(backend: Backend, task: Callable[[TaskRun], Work[Result]], *, name: str = "") -> Iterator[TaskEvent]:
    """Run one task called ``name``, and yield what it reports, then its Result, or ItemFailed."""

    async def call(run: TaskRun, _: None) -> Result:
        run.name = name
        return await task(run)

    yield from run_inputs(backend, [None], call)


def ask_all(backend: Backend, requests: Iterable[Request]) -> list[Answer]:
    """Return the answers to requests, in their order, where nothing else is done meanwhile.

    Raises the first failure.
    """
    answers: list[Answer] = []

    async def task(run: TaskRun) -> Result:
        answers.extend(await run.gather(run.ask(request) for request in requests))
        return run.result(None)

    for event in run_task(backend, task):
        if isinstance(event, ItemFailed):
            raise event.error
    return answers


class _InputRunner:
    """Runs tasks for ``run_inputs``."""

    def __init__(self, backend: Backend, stack: ExitStack, unit: str, watched: int | None) -> None:
        self._runner = TaskRunner(
            backend,
            lambda: stack.enter_context(backend.open()),
            self._report_end,
            limits_pending=True,
            max_watched=watched,
        )
        self._unit = unit
        self._max_watched = watched
        self._progress: dict[str, StepProgress] = {}

    def run(self, inputs: Iterable[T | ItemFailed], task: Callable[[TaskRun, T], Work[Result]]) -> Iterator[TaskEvent]:
        """Yield what the tasks report."""
        runner, numbered = self._runner, enumerate(inputs)
        try:
            yield from self._start_more(numbered, task)
            if not runner.pending_ids:
                runner.check_all_ended()
                return
            yield from self._count_requests()
            events = iter(runner.job)
            while runner.pending_ids:
                event = next(events, None)
                if event is None:
                    raise InternalError(detail="the backend ended a job without ending its requests")
                if isinstance(event, RequestProgress):
                    yield from self._report_progress(event)
                    continue
                step = runner.step_of(event.id)
                if isinstance(event, Finished) and step in self._progress:
                    self._progress[step].mark_finished(event.id)
                runner.handle_event(event)
                yield from self._take_reports()
                if isinstance(event, Finished):
                    yield from self._count_requests()
                    yield from self._step_progress()
                    yield from self._start_more(numbered, task)
            runner.check_all_ended()
            runner.job.close_input()
        finally:
            runner.close()

    def _start_more(
        self, numbered: Iterator[tuple[int, T | ItemFailed]], task: Callable[[TaskRun, T], Work[Result]]
    ) -> Iterator[TaskEvent]:
        """Resume loops that wait for room, then start tasks, while few requests are pending."""
        runner = self._runner
        while True:
            runner.wake_loops()
            yield from self._take_reports()
            if runner.has_waiting_loops or not runner.has_room():
                return
            item, value = next(numbered, (0, _END))
            if value is _END:
                return
            if isinstance(value, ItemFailed):
                yield renumber_failure(value, item)
                continue
            run = TaskRun(runner, item, getattr(value, "name", ""))
            try:
                work = task(run, value)
            except LlmError as error:
                self._report_end(run, error)
                continue
            del value  # while the next one is read, only what its task keeps is in memory
            runner.start(run, work)
            del run, work
            yield from self._take_reports()

    def _report_end(self, run: TaskRun, end: Result | LlmError) -> None:
        if isinstance(end, LlmError):
            check_interrupt()  # the failure does not belong to this input
            if end.ends_job:
                raise end
            run.report(ItemFailed(run.item, run.name, end))
        else:
            run.report(end)

    def _take_reports(self) -> Iterator[TaskEvent]:
        self._runner.flush()
        while self._runner.reports:
            yield self._runner.reports.popleft()

    # ---- progress -------------------------------------------------------------------------------------------------

    def _count_requests(self) -> Iterator[Progress]:
        runner = self._runner
        if self._unit and runner.num_asked > 1:
            total = runner.num_asked + runner.num_to_come
            current, tokens = runner.current_text, runner.num_tokens or None
            yield Progress(runner.num_done, total, self._unit, current=current, tokens=tokens)

    def _report_progress(self, event: RequestProgress) -> Iterator[Progress]:
        """Update the progress of a request's step."""
        step = self._runner.step_of(event.id) or ""
        if step not in self._progress:
            self._progress[step] = StepProgress(step)
        self._progress[step].update(event)
        yield from self._step_progress()

    def _step_progress(self) -> Iterator[Progress]:
        """Yield the progress of the first unfinished step, if it is known."""
        runner = self._runner
        all_watched = self._max_watched is None or runner.num_asked <= self._max_watched
        if not self._progress or (runner.num_done and not all_watched):
            return
        first = runner.first_watched
        step = None if first is None else runner.step_of(first)
        if first is not None and step in self._progress:
            progress = self._progress[step].current
            thinks = progress.phase is Phase.WRITING and runner.is_thinking(first)
            yield replace(progress, phase=Phase.THINKING) if thinks else progress


_END: Any = object()
