"""One run of proofread: what is read, and the form of its findings."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from llmcli.cli.command_context import CommandContext
from llmcli.cli.commands.proofread.proofread_view import format_lines, sarif_log
from llmcli.cli.console import json_text
from llmcli.cli.input import source_inputs
from llmcli.cli.render.renderer import DisplayOptions, render_task
from llmcli.cli.render.text_writer import TextEnding
from llmcli.errors import UsageError
from llmcli.frozen_dataclass import replace
from llmcli.tasks.proofread import DEFAULT_THRESHOLD_BITS, SuspiciousWord, proofread
from llmcli.types import ItemFailed, Notice, Result, TaskEvent, Usage

if TYPE_CHECKING:
    from llmcli.backends.base import Backend


def run_proofread(
    ctx: CommandContext, files: Sequence[str], *, top: int | None, threshold: float | None, sarif: bool
) -> int:
    """Show the suspicious words of documents; return the exit code. Raises ``UsageError`` for --sarif with --json."""
    if sarif and ctx.console.as_json:
        raise UsageError("--sarif and --json are two forms of output", detail="Leave out one of them.")
    if threshold is None:
        threshold = 0.0 if top is not None else DEFAULT_THRESHOLD_BITS
    wanted = SuspiciousWord(threshold, top)
    names, documents = source_inputs.read_streamed_sources(ctx, files)
    options = ctx.generation_options()

    shape = _one_log if sarif else _keep_fields if ctx.console.as_json else _as_lines
    display = (
        DisplayOptions(input_names=tuple(names))
        if ctx.console.as_json
        else DisplayOptions(markdown=False, ending=TextEnding.DOCUMENT)
    )

    def task(backend: Backend) -> Iterator[TaskEvent]:
        found = proofread(backend, documents, options, wanted)
        return shape(source_inputs.add_source_notes(found, documents))

    return render_task(ctx, task, display)


def _keep_fields(events: Iterator[TaskEvent]) -> Iterator[TaskEvent]:
    return events


def _as_lines(events: Iterator[TaskEvent]) -> Iterator[TaskEvent]:
    """Give each result its lines as text."""
    for event in events:
        yield replace(event, text=format_lines(event)) if isinstance(event, Result) else event


def _one_log(events: Iterator[TaskEvent]) -> Iterator[TaskEvent]:
    """Yield one result with the log of all documents, after those that failed."""
    results: list[Result] = []
    failed = 0
    for event in events:
        if isinstance(event, Result):
            results.append(event)
        elif isinstance(event, ItemFailed):
            yield replace(event, item=failed)
            failed += 1
        else:
            yield replace(event, item=failed) if isinstance(event, Notice) else event
    if results:
        usage = sum((each.usage for each in results), Usage())
        log = json_text.dumps(sarif_log(results), indent=2) + "\n"
        yield replace(results[0], item=failed, name="", text=log, usage=usage, blank=False)
