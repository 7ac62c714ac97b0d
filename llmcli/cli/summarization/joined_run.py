"""``llm summarize --combine``, ``--update`` and ``--dry-run``."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from llmcli.cli.command_context import CommandContext
from llmcli.cli.input import source_inputs
from llmcli.cli.records.record_flags import wants_records
from llmcli.cli.render.estimate_table import write_estimates
from llmcli.cli.summarization.summary_run import add_sources, show_summaries
from llmcli.documents.reading.document import Document
from llmcli.documents.reading.large_text import LargeText, StreamedText
from llmcli.errors import UsageError
from llmcli.frozen_dataclass import frozen, replace
from llmcli.tasks.summarization.combined_text import CombinedText
from llmcli.tasks.summarization.earlier_summary import EarlierSummary, read_earlier
from llmcli.tasks.summarization.summary_options import KEY_SENTENCES, SummaryOptions
from llmcli.tasks.summarization.summary_plan import UPDATE_PROMPT
from llmcli.types import ItemFailed, Notice, Result, TaskEvent

if TYPE_CHECKING:
    from llmcli.backends.base import Backend

_CHANGED = "it does not begin with the text that the earlier summary is about, so all of it is read"
_UNCHANGED = "unchanged"
"""The method of a summary to which nothing was added."""


@frozen
class JoinOptions:
    """The options: ``update`` is the file of the earlier summary."""

    combine: bool = False
    update: str | None = None
    dry_run: bool = False
    cite: bool = False


def summarize_joined(ctx: CommandContext, files: Sequence[str], wanted: SummaryOptions, options: JoinOptions) -> int:
    """Combine documents, update a summary, or show the work; return the exit code.

    Raises ``UsageError`` for options that do not go together.
    """
    option = "--combine" if options.combine else "--update" if options.update is not None else "--dry-run"
    if wants_records(ctx.flags):
        raise UsageError(f"{option} is for documents, not records", detail="Leave out the options of records.")
    if options.combine and options.update is not None:
        raise UsageError("--combine and --update exclude each other")
    if options.cite and not options.dry_run:
        raise UsageError(f"{option} and --cite exclude each other")
    if options.cite:  # its points are those of a list
        wanted = replace(wanted, style="bullets")
    earlier = None
    if options.update is not None:
        earlier = read_earlier(source_inputs.read_earlier_file(ctx, options.update))
    if earlier is None and not options.combine:
        return _show_work(ctx, wanted, *source_inputs.read_streamed_sources(ctx, files))
    if earlier is not None:
        _, documents = source_inputs.read_sources(ctx, files)
        if len(documents) != 1:
            raise UsageError("--update continues the summary of one document", detail="Name one file.")
        return _update(ctx, wanted, options, earlier, documents[0])
    _, streamed = source_inputs.read_streamed_sources(ctx, files)
    return _combine(ctx, wanted, options, streamed)


def _combine(
    ctx: CommandContext,
    wanted: SummaryOptions,
    options: JoinOptions,
    documents: Sequence[Document | LargeText | ItemFailed],
) -> int:
    from llmcli.tasks.summarize import summarize_together

    if options.dry_run:
        combined = CombinedText(documents)
        if combined.is_empty:
            raise combined.failed[0].error
        return _show_work(ctx, wanted, [combined.name], [combined])
    generation = ctx.generation_options()

    def task(backend: Backend) -> Iterator[TaskEvent]:
        events = summarize_together(backend, ctx.runtime.prompts, documents, generation, wanted)
        return source_inputs.add_source_notes(events, documents, one_answer=True)

    return show_summaries(ctx, wanted, (), task)


def _update(
    ctx: CommandContext,
    wanted: SummaryOptions,
    options: JoinOptions,
    earlier: EarlierSummary,
    document: Document | ItemFailed,
) -> int:
    """Continue a summary with what is new in the document."""
    from llmcli.tasks.summarize import summarize

    if isinstance(document, ItemFailed):
        raise document.error
    new = earlier.find_new(document.text)
    warnings = (f"{document.name}: {_CHANGED}",) if new is None else ()
    known, text = (EarlierSummary(""), document.text) if new is None else (earlier, new)
    if options.dry_run:
        return _show_work(ctx, wanted, [document.name], [Document(document.name, text)], known.text)
    generation = ctx.generation_options()

    def task(backend: Backend) -> Iterator[TaskEvent]:
        if not text.strip():
            fields = {"method": _UNCHANGED, "coverage": 1.0, "missing": []}
            model = backend.info().model
            result = Result(0, document.name, known.text, fields, model=model, prompt=UPDATE_PROMPT)
            return add_sources(ctx, iter([result]), [document])
        if known.text and wanted.style_for(backend.info()) == KEY_SENTENCES:
            before = Document(options.update or "", known.text)
            joined = CombinedText([before, Document(document.name, text)], headings=False)
            whole = replace(joined.read_whole(), name=document.name)
            events = summarize(backend, ctx.runtime.prompts, [whole], generation, wanted)
            events = joined.locate_results(events)
        else:
            events = summarize(
                backend, ctx.runtime.prompts, [Document(document.name, text)], generation, wanted, earlier=known.text
            )
        noted = source_inputs.add_source_notes(add_sources(ctx, events, [document]), [document])
        return _add_warnings(noted, warnings)

    return show_summaries(ctx, wanted, (), task)


def _add_warnings(events: Iterator[TaskEvent], warnings: tuple[str, ...]) -> Iterator[TaskEvent]:
    yield from (Notice(warning) for warning in warnings)
    for event in events:
        yield replace(event, warnings=(*warnings, *event.warnings)) if isinstance(event, Result) else event


def _show_work(
    ctx: CommandContext,
    wanted: SummaryOptions,
    names: Sequence[str],
    documents: Sequence[Document | StreamedText | ItemFailed],
    earlier: str = "",
) -> int:
    from llmcli.tasks.execution.work_estimate import WorkEstimate
    from llmcli.tasks.summarization.summary_estimate import estimate_summary

    options = ctx.generation_options()

    def estimate(index: int) -> WorkEstimate:
        document = documents[index]
        if isinstance(document, ItemFailed):
            raise document.error
        backend = ctx.runtime.backend()
        return estimate_summary(backend, ctx.runtime.prompts, document, options, wanted, earlier=earlier)

    return write_estimates(ctx, list(names) or [each.name for each in documents], estimate)
