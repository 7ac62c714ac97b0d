"""A kept answer is asked for again: the same request to the same model."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from llmcli import frozen_dataclass
from llmcli.cli.command_context import CommandContext
from llmcli.cli.render.renderer import render_task
from llmcli.frozen_dataclass import replace
from llmcli.store.answer_log import LoggedAnswer
from llmcli.tasks.runner.task_run import run_task
from llmcli.tasks.runner.text_answers import write_text
from llmcli.text_stream import RepetitionPolicy
from llmcli.types import Message, Notice, Priority, Request, Role, Sampling, TaskEvent

if TYPE_CHECKING:
    from llmcli.backends.base import Backend
    from llmcli.tasks.runner.task_requests import GenerationOptions


def repeat_answer(ctx: CommandContext, entry: LoggedAnswer) -> int:
    """Ask the model of ``entry`` again, with its options where the command line gives no others; return the exit code."""
    ctx.verb = entry.verb
    ctx.use_default_flags(**_flags(entry))
    run = entry.details["run"]
    limit = entry.details["request"]["max_tokens"] if run["max_tokens_by_user"] else None
    options = ctx.generation_options(priority=Priority.INTERACTIVE, reasoning=True)
    if options.max_tokens is None:
        options = frozen_dataclass.replace(options, max_tokens=limit)

    def task(backend: Backend) -> Iterator[TaskEvent]:
        if backend.info().model_id != entry.details["model_id"]:
            yield Notice(f"this is not the model that gave answer {entry.id}, or its file has changed")
        request = _make_request(entry, options)
        sampling = request.sampling
        if options.temperature is not None:
            sampling = replace(sampling, temperature=options.temperature)
        if options.seed is not None:
            sampling = replace(sampling, seed=options.seed)
        request = replace(request, sampling=sampling, max_tokens=options.max_tokens or request.max_tokens)
        prompt = entry.details["prompt"]
        yield from run_task(backend, lambda run: write_text(run, request, options, prompt=prompt))

    return render_task(ctx, task)


def _flags(entry: LoggedAnswer) -> dict[str, Any]:
    """Return the flags of the run that gave an answer."""
    run = {name: value for name, value in entry.details["run"].items() if name != "max_tokens_by_user"}
    weights = entry.details["weights"]
    return {**run, **({} if weights is None else {"weights": weights})}


def _make_request(entry: LoggedAnswer, options: GenerationOptions) -> Request:
    kept = dict(entry.details["request"])
    return Request(
        id=f"logs.{entry.id}",
        messages=tuple(Message(Role(each["role"]), each["content"]) for each in kept["messages"]),
        sampling=Sampling(**kept["sampling"]),
        stop=tuple(kept["stop"]),
        max_tokens=kept["max_tokens"],
        schema=kept["schema"],
        grammar=kept["grammar"],
        labels=tuple(kept["labels"]),
        priority=Priority.INTERACTIVE,
        deadline=options.deadline,
        reasoning=kept["reasoning"],
        progress=options.progress,
        repetition=RepetitionPolicy.ANSWER if options.stop_repetition else RepetitionPolicy.OFF,
    )
