"""A document job as a task, until all jobs are tasks."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable

from llmcli.tasks.execution.document_jobs import CancelRequest, DocumentJob, JobStep
from llmcli.tasks.runner.coroutines import Pending
from llmcli.tasks.runner.task_run import TaskRun, _TaskRequest
from llmcli.types import Event, Finished, Notice, Request, Result


async def run_job(run: TaskRun, job: DocumentJob) -> Result:  # noqa: C901
    """Return the result of a job."""
    events: deque[Event] = deque()
    changed: Pending[None] = Pending()
    opened_of: dict[str, _TaskRequest] = {}

    def take(steps: Iterable[JobStep]) -> Result | None:
        for step in steps:
            if isinstance(step, Request):
                opened = _TaskRequest(run, step, None, None)

                def add(event: Event) -> bool:
                    events.append(event)
                    changed.resolve(None)
                    return False

                opened.add_event = add  # type: ignore[method-assign]
                opened.finished.when_done(lambda opened=opened: add(opened.finished.value))  # type: ignore[misc]
                opened_of[step.id] = opened
                run._open.add(opened)  # noqa: SLF001
                run._runner.submit(opened)  # noqa: SLF001
            elif isinstance(step, CancelRequest):
                run._runner.cancel(opened_of[step.id])  # noqa: SLF001
            elif isinstance(step, Notice):
                run.report(step)
            elif isinstance(step, Result):
                return step
        return None

    result = take(job.start())
    while result is None:
        if not events:
            changed = Pending()
            await changed
        event = events.popleft()
        if isinstance(event, Finished):
            run._open.discard(opened_of.pop(event.id))  # noqa: SLF001
        result = take(job.handle_event(event))
    return result
