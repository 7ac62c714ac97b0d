"""The work of a job of records, without running the model: each task is started and left at its first requests."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Sequence

from llmcli.backends.base import Backend, Job
from llmcli.documents.records.record import Record
from llmcli.errors import InternalError, LlmError, Unsupported
from llmcli.fast_dataclass import field, frozen, replace, slotted
from llmcli.interrupt import check_interrupt
from llmcli.tasks.runner.record_runner import RecordProcessor
from llmcli.tasks.runner.task_run import TaskRun, TaskRunner
from llmcli.tasks.runner.work_estimate import WorkEstimate, WorkRange
from llmcli.types import Request, Result

_COUNTED_AT_ONCE = 256
_ANSWER_SHARE = 0.5
"""Of the longest answer: about how long it is."""
_USUAL_ANSWER_TOKENS = 256
"""The same of an answer without a limit."""


@frozen
class RecordJobEstimate:
    """``records`` is the number of records, also of those that need no model."""

    records: int
    work: WorkEstimate


def estimate_records(
    backend: Backend,
    records: Iterable[Record],
    processor: RecordProcessor,
    *,
    name: str,
    dedupe_key: Callable[[Record], bytes] | None = None,
) -> RecordJobEstimate:
    """Return the work of a job called ``name``; the backend only counts tokens.

    Calls and tokens are those of the first requests of each record. The range has what answers to them can lead to.
    ``dedupe_key`` is as in ``RecordRunOptions``. Raises the error of a record that would end the job.
    """
    sums = _Sums(backend)
    known: set[bytes] = set()
    number = 0
    sums.add(processor.plan_setup())
    for record in records:
        check_interrupt()
        number += 1
        if record.error is not None or record.carried is not None or not record.text.strip():
            continue
        if dedupe_key is not None:
            key = dedupe_key(record)
            if key in known:
                continue
            known.add(key)
        work = processor.estimate(record)
        if work is None:
            sums.add(_first_requests(backend, processor, record), processor.calls_per_request)
        else:
            sums.add_work(work)
    return RecordJobEstimate(number, sums.total(name))


def _first_requests(backend: Backend, processor: RecordProcessor, record: Record) -> Sequence[Request]:
    """Return the requests that a task makes before it awaits an answer; none if the record fails before that."""
    runner = TaskRunner(backend, _open_no_job, _raise_end_of_job, shows_deltas=False, max_watched=0)
    try:
        run = TaskRun(runner, record.index, record.name)
        runner.start(run, processor.process(run, record))
        return runner.take_unsent()[0]
    finally:
        runner.close()


def _open_no_job() -> Job:
    raise InternalError(detail="an estimate runs no model")


def _raise_end_of_job(_run: TaskRun, end: Result | LlmError) -> None:
    if isinstance(end, Unsupported) or (isinstance(end, LlmError) and end.ends_job):
        raise end


@slotted
class _Sums:
    """The sums over all records. Requests are counted in groups, so that few are in memory."""

    backend: Backend
    calls: int = 0
    tokens: int = 0
    answer_tokens: float = 0.0
    more_calls: int = 0
    more_tokens: int = 0
    saved_calls: int = 0
    saved_tokens: int = 0
    shared_tokens: int | None = None
    """Tokens with which all prompts begin; None until two are known."""
    reused_tokens: int = 0
    waiting: list[Request] = field(default_factory=list)

    def add(self, requests: Sequence[Request], calls_per_request: int = 1) -> None:
        """Add requests that can each lead to so many calls, themselves included."""
        self.waiting.extend(requests)
        retries = len(requests) * (calls_per_request - 1)
        self.more_calls += retries
        self.more_tokens += retries * self.backend.info().context
        if len(self.waiting) >= _COUNTED_AT_ONCE:
            self._count()

    def add_work(self, work: WorkEstimate) -> None:
        """Add the work of a record."""
        self.calls += work.calls
        self.tokens += work.prompt_tokens
        self.answer_tokens += work.answer_tokens
        self.reused_tokens += work.reused_tokens
        bounds = work.bounds
        self.more_calls += bounds.max_calls - work.calls
        self.more_tokens += bounds.max_tokens - work.prompt_tokens
        self.saved_calls += work.calls - bounds.min_calls
        self.saved_tokens += work.prompt_tokens - bounds.min_tokens

    def total(self, name: str) -> WorkEstimate:
        """Return the work of all that was added."""
        self._count()
        bounds = WorkRange(
            self.calls - self.saved_calls,
            self.calls + self.more_calls,
            self.tokens - self.saved_tokens,
            self.tokens + self.more_tokens,
        )
        return WorkEstimate(
            name,
            "records",
            self.calls,
            self.calls,
            self.tokens,
            round(self.answer_tokens),
            reused_tokens=self.reused_tokens,
            decided_by_answers=bounds,
        )

    def _count(self) -> None:
        requests, self.waiting = self.waiting, []
        if not requests:
            return
        self.calls += len(requests)
        self.tokens += sum(self.backend.count(requests)[0])
        if self.shared_tokens is None and len(requests) > 1:
            self.shared_tokens = _count_shared_tokens(self.backend, requests[-2], requests[-1])
        self.reused_tokens += (self.shared_tokens or 0) * (len(requests) - 1)
        self.answer_tokens += sum(map(_expected_answer, requests))


def _expected_answer(request: Request) -> float:
    """Return about how many tokens an answer has."""
    return _ANSWER_SHARE * (request.max_tokens or 2 * _USUAL_ANSWER_TOKENS) if request.writes_text else 0.0


def _count_shared_tokens(backend: Backend, one: Request, other: Request) -> int:
    """Return about how many tokens two prompts begin with; the rest of the template counts, too."""
    shared = []
    for first, second in zip(one.messages, other.messages, strict=False):
        if first != second:
            content = os.path.commonprefix([first.content, second.content])  # noqa: RUF071 (of texts, not of paths)
            shared.append(replace(first, content=content))
            break
        shared.append(first)
    if not shared:
        return 0
    (tokens,), _ = backend.count([Request("count", tuple(shared))])
    return tokens
