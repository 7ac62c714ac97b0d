"""``llm summarize``: of documents, of all of them together, from an earlier summary, with citations, and of a table."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING

from llmcli.cli.command_context import CommandContext
from llmcli.cli.input import source_inputs
from llmcli.cli.input.inputs import decode_argument
from llmcli.cli.records.record_flags import wants_records
from llmcli.cli.render.renderer import DisplayOptions, render_events, render_task
from llmcli.documents.reading.document import Document
from llmcli.documents.reading.streamed_file import StreamedFile, StreamedText
from llmcli.errors import UsageError
from llmcli.fast_dataclass import frozen, replace
from llmcli.tasks.summarize.summary_options import AUTO, HEADLINE, KEY_SENTENCES, SummaryOptions
from llmcli.types import ItemFailed, Notice, Result, TaskEvent

if TYPE_CHECKING:
    from llmcli.backends.base import Backend
    from llmcli.tasks.summarize.earlier_summary import EarlierSummary

_KEY_SENTENCES_NOTE = (
    "these sentences are from the text itself, since the model is small; --style paragraph lets it write a summary"
)


def read_summary_options(words: int | None, style: str, *, focus: str, audience: str, language: str) -> SummaryOptions:
    """Return what the options say.

    Raises ``UsageError`` for an unknown language and for options that do not go together.
    """
    name = ""
    if language:
        from llmcli.tasks.languages import parse_language

        name = parse_language(language).name
    wanted = SummaryOptions(words, style, decode_argument(focus).strip(), decode_argument(audience).strip(), name)
    if style == KEY_SENTENCES and wanted.needs_writing:
        option = "--language" if language else "--audience"
        raise UsageError(
            f"{option} needs a summary that the model writes", detail=f"Leave out {option}, or --style {KEY_SENTENCES}."
        )
    return wanted


def summarize_documents(ctx: CommandContext, files: Sequence[str], wanted: SummaryOptions) -> int:
    """Show the summary of each document; return the exit code."""
    from llmcli.tasks.summarize import summarize

    names, documents = source_inputs.read_streamed_sources(ctx, files)
    options = ctx.generation_options()
    return _show_summaries(
        ctx,
        wanted,
        names,
        lambda backend: source_inputs.add_source_notes(
            _add_sources(ctx, summarize(backend, ctx.runtime.prompts, documents, options, wanted), documents), documents
        ),
    )


def _show_summaries(
    ctx: CommandContext,
    wanted: SummaryOptions,
    names: Sequence[str],
    task: Callable[[Backend], Iterator[TaskEvent]],
) -> int:
    """Show what ``task`` yields about the inputs called ``names``; return the exit code."""
    return render_task(
        ctx,
        lambda backend: _note_key_sentences(ctx, wanted, task(backend)),
        DisplayOptions(input_names=tuple(names)),
    ).exit_code


def _add_sources(
    ctx: CommandContext, events: Iterator[TaskEvent], documents: Sequence[Document | StreamedFile | ItemFailed]
) -> Iterator[TaskEvent]:
    """Add to the results of ``--json`` which text they are about, so that ``--update`` can continue them."""
    for event in events:
        document = documents[event.item] if isinstance(event, Result) and ctx.console.as_json else None
        if isinstance(event, Result) and document is not None and not isinstance(document, ItemFailed):
            from llmcli.tasks.summarize.earlier_summary import describe_document

            yield replace(event, fields={**event.fields, "source": describe_document(document)})
        else:
            yield event


def _note_key_sentences(
    ctx: CommandContext, wanted: SummaryOptions, events: Iterator[TaskEvent]
) -> Iterator[TaskEvent]:
    """Note after the last result, once a day, that the style was chosen for the user."""
    chosen = False
    for event in events:
        chosen = chosen or (isinstance(event, Result) and event.fields.get("method") == KEY_SENTENCES)
        yield event
    if not chosen or wanted.style != AUTO or not ctx.console.shows_notes:
        return
    from llmcli.cli.small_model_notice import record_notice

    if record_notice(ctx, KEY_SENTENCES):
        ctx.console.write_note(_KEY_SENTENCES_NOTE)


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
    if wants_records(ctx.flags) and options.update is not None:
        raise UsageError("--update is for documents, not records", detail="Leave out the options of records.")
    if options.combine and options.update is not None:
        raise UsageError("--combine and --update exclude each other")
    if options.cite and not options.dry_run:
        raise UsageError(f"{option} and --cite exclude each other")
    if options.cite:  # its points are those of a list
        wanted = replace(wanted, style="bullets")
    earlier = None
    if options.update is not None:
        from llmcli.tasks.summarize.earlier_summary import read_earlier

        earlier = read_earlier(source_inputs.read_earlier_file(ctx, options.update))
    if earlier is None and not options.combine:
        return _show_work(ctx, wanted, *source_inputs.read_streamed_sources(ctx, files))
    if earlier is not None:
        _, documents = source_inputs.read_sources(ctx, files)
        if len(documents) != 1:
            raise UsageError("--update continues the summary of one document", detail="Name one file.")
        return _update(ctx, wanted, options, earlier, documents[0])
    if wants_records(ctx.flags):
        from llmcli.cli.records.record_texts import read_record_texts

        records = read_record_texts(ctx, files, option)
        return _combine(ctx, wanted, options, records.documents, records.warnings, headings=False)
    _, streamed = source_inputs.read_streamed_sources(ctx, files)
    return _combine(ctx, wanted, options, streamed)


def _combine(
    ctx: CommandContext,
    wanted: SummaryOptions,
    options: JoinOptions,
    documents: Sequence[Document | StreamedFile | ItemFailed],
    warnings: tuple[str, ...] = (),
    *,
    headings: bool = True,
) -> int:
    from llmcli.tasks.summarize import summarize_together

    if options.dry_run:
        from llmcli.tasks.summarize.joined_documents import CombinedText

        combined = CombinedText(documents, headings=headings)
        if combined.is_empty:
            raise combined.failed[0].error
        return _show_work(ctx, wanted, [combined.name], [combined])
    generation = ctx.generation_options()

    def task(backend: Backend) -> Iterator[TaskEvent]:
        prompts = ctx.runtime.prompts
        events = summarize_together(backend, prompts, documents, generation, wanted, headings=headings)
        noted = source_inputs.add_source_notes(events, documents, one_answer=True)
        return _add_warnings(source_inputs.warn_of_later_failures(noted), warnings)

    return _show_summaries(ctx, wanted, (), task)


def _update(
    ctx: CommandContext,
    wanted: SummaryOptions,
    options: JoinOptions,
    earlier: EarlierSummary,
    document: Document | ItemFailed,
) -> int:
    """Continue a summary with what is new in the document."""
    from llmcli.tasks.summarize import summarize
    from llmcli.tasks.summarize.earlier_summary import EarlierSummary
    from llmcli.tasks.summarize.joined_documents import CombinedText
    from llmcli.tasks.summarize.summary_plan import UPDATE_PROMPT

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
            return _add_sources(ctx, iter([result]), [document])
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
        noted = source_inputs.add_source_notes(_add_sources(ctx, events, [document]), [document])
        return _add_warnings(noted, warnings)

    return _show_summaries(ctx, wanted, (), task)


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
    from llmcli.cli.render.estimate_table import write_estimates
    from llmcli.tasks.runner.work_estimate import WorkEstimate
    from llmcli.tasks.summarize.summary_estimate import estimate_summary

    options = ctx.generation_options()

    def estimate(index: int) -> WorkEstimate:
        document = documents[index]
        if isinstance(document, ItemFailed):
            raise document.error
        backend = ctx.runtime.backend()
        return estimate_summary(backend, ctx.runtime.prompts, document, options, wanted, earlier=earlier)

    return write_estimates(ctx, list(names) or [each.name for each in documents], estimate)


def summarize_cited(
    ctx: CommandContext, files: Sequence[str], wanted: SummaryOptions, *, cite: bool, keep: bool
) -> int:
    """Show points with quotes; return the exit code. Raises ``UsageError`` for options that do not go together."""
    if not cite:
        raise UsageError("--keep-unsupported is an option of --cite", detail="Add --cite.")
    if wants_records(ctx.flags):
        raise UsageError("--cite summarizes documents, not records", detail="Leave out the options of records.")
    if wanted.style == HEADLINE:
        raise UsageError("a headline has no points to cite", detail="Leave out --style, or --cite.")
    if wanted.style == KEY_SENTENCES:
        raise UsageError("key sentences are quotes themselves", detail="Leave out --style, or --cite.")
    from llmcli.tasks.summarize.cited_summary import summarize_with_citations

    names, documents = source_inputs.read_sources(ctx, files)
    options = ctx.generation_options()
    return render_task(
        ctx,
        lambda backend: source_inputs.add_source_notes(
            summarize_with_citations(backend, ctx.runtime.prompts, documents, options, wanted, keeps_unsupported=keep),
            documents,
        ),
        DisplayOptions(input_names=tuple(names)),
    ).exit_code


def summarize_by_insights(ctx: CommandContext, files: Sequence[str], wanted: SummaryOptions, *, writes: bool) -> int:
    """Show figures and trends of tables; return the exit code. No model is loaded.

    ``writes``: there are options of summaries that a model writes. Raises ``UsageError`` for these, and for others in
    ``wanted``.
    """
    from llmcli.tasks.tables.table_insights import summarize_tables

    if writes or wanted != SummaryOptions(style=AUTO):
        raise UsageError(
            "--insights computes figures; it has no style, length, focus or quotes", detail="Leave out other options."
        )
    if wants_records(ctx.flags):
        raise UsageError("--insights summarizes whole tables, not records", detail="Leave out the options of records.")
    names, documents = source_inputs.read_sources(ctx, files)
    return render_events(
        ctx,
        lambda: summarize_tables(documents, ctx.runtime.interrupt, queries=ctx.console.verbose),
        DisplayOptions(input_names=tuple(names)),
    ).exit_code
