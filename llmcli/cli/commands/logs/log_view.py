"""Kept answers as they are shown: a row of a list, Markdown, an object."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from llmcli import fast_dataclass
from llmcli.cli.command_context import CommandContext
from llmcli.cli.commands.chat.chat_export import iso_utc
from llmcli.cli.commands.chat.session_files import format_local_time
from llmcli.cli.console import sanitize
from llmcli.cli.console.suggestion import format_command
from llmcli.cli.render.renderer import render_task
from llmcli.errors import UsageError
from llmcli.fast_dataclass import replace
from llmcli.store.answer_log import LoggedAnswer
from llmcli.store.database import parse_terms
from llmcli.tasks.runner.task_run import run_task
from llmcli.tasks.runner.text_answers import write_text
from llmcli.types import Message, Notice, Priority, RepetitionPolicy, Request, Role, Sampling, TaskEvent, Usage

if TYPE_CHECKING:
    from llmcli.backends.base import Backend
    from llmcli.tasks.runner.task_requests import GenerationOptions

_MAX_SHOWN_CHARS = 80
"""Characters of a question in a list."""


def answer_row(entry: LoggedAnswer, *, people: bool) -> dict[str, Any]:
    """Return the row of an answer: id, time, command, model, tokens of the answer, beginning of the question."""
    model = entry.model.rpartition("/")[2] if people else entry.model
    usage = Usage(**entry.details["usage"])
    return {
        "id": entry.id,
        "time": format_local_time(entry.time) if people else iso_utc(entry.time),
        "command": entry.verb,
        "model": model,
        "tokens": usage.completion_tokens if usage.is_known else "unknown" if people else None,
        "question": sanitize.shorten_line(entry.question, _MAX_SHOWN_CHARS),
    }


def match_row(entry: LoggedAnswer, wanted: str, *, people: bool) -> dict[str, Any]:
    """Return the row of an answer that was found: id, time, model, and the first line with a term of ``wanted``."""
    terms = parse_terms(wanted)
    lines = [*entry.question.splitlines(), *entry.answer.splitlines()]
    line = next((each for each in lines if any(term in each.casefold() for term in terms)), entry.question)
    return {
        "id": entry.id,
        "time": format_local_time(entry.time) if people else iso_utc(entry.time),
        "model": entry.model.rpartition("/")[2] if people else entry.model,
        "line": sanitize.single_line(line.strip()) if people else line.strip(),
    }


def answer_as_object(entry: LoggedAnswer) -> dict[str, Any]:
    """Return everything about an answer."""
    head = {"id": entry.id, "time": iso_utc(entry.time), "command": entry.verb, "model": entry.model}
    return {**head, "question": entry.question, "answer": entry.answer, **entry.details}


def answer_as_markdown(entry: LoggedAnswer) -> str:
    """Return an answer with its question and instructions as Markdown."""
    usage, run = Usage(**entry.details["usage"]), entry.details["request"]["sampling"]
    weights = entry.details["weights"]
    facts = [
        entry.model + (f" ({weights} weights)" if weights else ""),
        format_local_time(entry.time),
        f"{usage.prompt_tokens} tokens in, {usage.completion_tokens} out" if usage.is_known else "tokens unknown",
        f"temperature {run['temperature']:g}",
        *([] if run["seed"] is None else [f"seed {run['seed']}"]),
    ]
    parts = [f"# {entry.verb} {entry.id}", ", ".join(facts)]
    for message in entry.details["request"]["messages"]:
        parts += [f"## {message['role'].capitalize()}", message["content"].strip()]
    return "\n\n".join([*parts, "## Answer", entry.answer.strip()]) + "\n"


def repeat_answer(ctx: CommandContext, entry: LoggedAnswer) -> int:
    """Ask the model of ``entry`` again, with its options where the command line gives no others; return the exit code.

    Raises ``UsageError`` for a text of many requests.
    """
    if "argv" in entry.details:
        raise UsageError(
            f"answer {entry.id} is the work of many requests", detail=f"Try: {format_command(*entry.details['argv'])}"
        )
    ctx.verb = entry.verb
    ctx.use_default_settings(**_settings(entry))
    run = entry.details["run"]
    limit = entry.details["request"]["max_tokens"] if run["max_tokens_by_user"] else None
    options = ctx.generation_options(priority=Priority.INTERACTIVE, reasoning=True)
    if options.max_tokens is None:
        options = fast_dataclass.replace(options, max_tokens=limit)

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

    return render_task(ctx, task).exit_code


def _settings(entry: LoggedAnswer) -> dict[str, Any]:
    """Return the settings of the run that gave an answer."""
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
