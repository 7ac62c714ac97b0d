"""Helpers that read a stream of task events."""

from __future__ import annotations

from collections.abc import Iterable

from llmcli.tasks.labels.label_scorer import add_scoring_notices
from llmcli.tasks.runner.record_runner import run_records
from llmcli.tasks.runner.task_run import run_task
from llmcli.tasks.sentiment import sentiment_spec
from llmcli.types import Delta, ItemFailed, Notice, Result, TaskEvent


def of(kind, events: Iterable[TaskEvent]) -> list:
    """Return the events of one kind."""
    return [event for event in events if isinstance(event, kind)]


def result(events: Iterable[TaskEvent]) -> Result:
    """Return the only result; no item may have failed."""
    events = list(events)
    assert of(ItemFailed, events) == []
    (only,) = of(Result, events)
    return only


def error(events: Iterable[TaskEvent]) -> Exception:
    """Return the error of the only item that failed."""
    (failed,) = of(ItemFailed, events)
    return failed.error


def streamed(events: Iterable[TaskEvent], item: int = 0) -> str:
    """Return the streamed text of an item."""
    return "".join(event.text for event in of(Delta, events) if event.item == item and not event.reasoning)


def notices(events: Iterable[TaskEvent]) -> list[str]:
    """Return the texts of all notices."""
    return [notice.text for notice in of(Notice, events)]


def run_work(backend, work):
    """Run an async function of a ``TaskRun``, and return its value."""
    found = []

    async def task(run):
        found.append(await work(run))
        return run.result(None)

    for event in run_task(backend, task):
        if isinstance(event, ItemFailed):
            raise event.error
    return found[0]


def sentiment(backend, prompts, records, options, run_options=None):
    """Return the events of the sentiment of records."""
    spec = sentiment_spec(prompts)
    task = spec.make_task(spec.make_scorer(backend, options))
    return add_scoring_notices(run_records(backend, records, task, run_options))
