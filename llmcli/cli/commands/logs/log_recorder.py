"""Keeps the answers of ``ask`` and ``generate`` in the log. What goes wrong there is a warning, never an error."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

from llmcli import __version__
from llmcli.backends.base import Backend, DelegatingJob, Job
from llmcli.cli.command_context import CommandContext
from llmcli.cli.console import error_messages
from llmcli.errors import LlmError
from llmcli.fast_dataclass import asdict, replace
from llmcli.store.answer_log import AnswerLog, LoggedAnswer
from llmcli.store.database import make_parent_directory
from llmcli.types import BackendInfo, BackendStats, Message, Request, Result, Role, TaskEvent

if TYPE_CHECKING:
    from llmcli.backends.base import Backend

_RUN_SETTINGS = ("lora", "backend", "base_url", "key_env", "ctx", "deterministic", "draft")
"""The settings besides the model that decide what answers; ``log_view`` gives them again."""


def log_answers(
    ctx: CommandContext,
    task: Callable[[Backend], Iterator[TaskEvent]],
    describe: Callable[[Result], str] | None,
) -> Callable[[Backend], Iterator[TaskEvent]]:
    """Return the task, which keeps each answer in the log after it was shown.

    ``describe`` says what the user asked for where many requests make one result: the entry has that and the command
    line instead of a request.
    """

    def run(backend: Backend) -> Iterator[TaskEvent]:
        recording = RecordingBackend(backend, chooses_seeds=not ctx.runtime.is_remote)
        for event in task(recording):
            yield event
            if isinstance(event, Result) and recording.last_request is not None:
                request = recording.last_request
                if describe is not None:
                    request = replace(request, messages=(Message(Role.USER, describe(event)),))
                argv = () if describe is None else ctx.console.environment.argv
                _save(ctx, _make_entry(ctx, event, request, backend.info().model_id, argv))

    return run


def _save(ctx: CommandContext, entry: LoggedAnswer) -> None:
    path = ctx.runtime.paths.logs
    try:
        make_parent_directory(path)
        with AnswerLog(path) as log:
            log.add(entry)
    except LlmError as error:
        ctx.runtime.interrupt.check()
        ctx.console.warn(f"this answer is not in the log: {error_messages.describe(error)[0]}")


def _make_entry(
    ctx: CommandContext, result: Result, request: Request, model_id: str, argv: Sequence[str]
) -> LoggedAnswer:
    """Return the entry of a result. ``argv``: the command line, if more than ``request`` is needed to repeat it."""
    runtime = ctx.runtime
    system = next((each.content for each in request.messages if each.role is Role.SYSTEM), "")
    details = {
        "system": system,
        "prompt": result.prompt,
        "model_id": model_id,
        "weights": runtime.weights,
        "adapters": [adapter.to_json() for adapter in runtime.adapters],
        "finish_reason": str(result.finish_reason),
        "usage": result.usage.to_json(),
        "timings": asdict(result.timings),
        "fields": dict(result.fields),
        "request": request_to_json(request),
        "run": _run_options(ctx),
        "version": __version__,
        **({"argv": [*argv]} if argv else {}),
    }
    answer = result.text if result.text is not None else str(result.fields.get("sql", ""))
    question = request.messages[-1].content if request.messages else request.prompt or ""
    return LoggedAnswer(time.time(), ctx.verb, result.model, question, answer, details)


def request_to_json(request: Request) -> dict[str, Any]:
    """Return everything that decides the answer to a request, as JSON values."""
    return {
        "messages": [{"role": str(each.role), "content": each.content} for each in request.messages],
        "sampling": asdict(request.sampling),
        "stop": list(request.stop),
        "max_tokens": request.max_tokens,
        "schema": request.schema,
        "grammar": request.grammar,
        "labels": list(request.labels),
        "reasoning": request.reasoning,
    }


def _run_options(ctx: CommandContext) -> dict[str, Any]:
    """Return the options that choose the model and where it runs; a file is named by its absolute path."""
    runtime, settings = ctx.runtime, ctx.runtime.settings
    name = runtime.model_name or settings["model"] or (None if runtime.is_remote else runtime.responder_name)
    if name is not None and not runtime.is_remote and os.path.isfile(name):  # noqa: PTH113 (a Path raises for a long name)
        name = os.path.abspath(name)  # noqa: PTH100 (the same)
    chosen = {each: settings[each] for each in _RUN_SETTINGS if settings.origin(each) != "default"}
    user_limit = settings["max_tokens"] != "auto"
    return {"model": name, **chosen, "max_tokens_by_user": user_limit}


class RecordingBackend:
    """Wraps ``backend``, whose last request is ``last_request``; None before the first one.

    ``chooses_seeds``: a request without a seed gets one, so that it can be repeated.
    """

    def __init__(self, backend: Backend, *, chooses_seeds: bool) -> None:
        self._backend = backend
        self._chooses_seeds = chooses_seeds
        self.last_request: Request | None = None

    def info(self) -> BackendInfo:
        """What the backend can do."""
        return self._backend.info()

    def count(self, requests: Sequence[Request]) -> tuple[list[int], bool]:
        """Return the prompt length of each request in tokens, and whether they are exact."""
        return self._backend.count(requests)

    def open(self) -> RecordingJob:
        """Open a job."""
        return RecordingJob(self._backend.open(), self)

    def stats(self) -> BackendStats:
        """Statistics of the backend."""
        return self._backend.stats()

    def close(self) -> None:
        """Close the backend."""
        self._backend.close()

    def record(self, request: Request) -> Request:
        """Remember a request; return it as it is to be sent."""
        if self._chooses_seeds and request.sampling.seed is None and request.writes_text:
            seed = int.from_bytes(os.urandom(4), "little")
            request = replace(request, sampling=replace(request.sampling, seed=seed))
        if request.writes_text:
            self.last_request = request
        return request


class RecordingJob(DelegatingJob):
    """A job of a ``RecordingBackend``."""

    def __init__(self, job: Job, backend: RecordingBackend) -> None:
        super().__init__(job)
        self._backend = backend

    def submit(self, request: Request) -> None:
        """Add a request."""
        super().submit(self._backend.record(request))
