"""``llm summarize`` for documents."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING

from llmcli.cli.command_context import CommandContext
from llmcli.cli.input import source_inputs
from llmcli.cli.input.inputs import decode_argument
from llmcli.cli.render.renderer import DisplayOptions, render_task
from llmcli.documents.reading.document import Document
from llmcli.errors import UsageError
from llmcli.frozen_dataclass import replace
from llmcli.tasks.summarization.summary_options import AUTO, KEY_SENTENCES, SummaryOptions
from llmcli.types import ItemFailed, Result, TaskEvent

if TYPE_CHECKING:
    from llmcli.backends.base import Backend
    from llmcli.documents.reading.large_text import LargeText

KEY_SENTENCES_NOTE = (
    "these sentences are from the text itself, since the model is small; --style paragraph lets it write a summary"
)


def read_summary_options(words: int | None, style: str, *, focus: str, audience: str, language: str) -> SummaryOptions:
    """Return what the options say. Raises ``UsageError`` for an unknown language and for options that do not go together."""
    name = ""
    if language:
        from llmcli.tasks.translation.languages import parse_language

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
    return show_summaries(
        ctx,
        wanted,
        names,
        lambda backend: source_inputs.add_source_notes(
            add_sources(ctx, summarize(backend, ctx.runtime.prompts, documents, options, wanted), documents), documents
        ),
    )


def show_summaries(
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
    )


def add_sources(
    ctx: CommandContext, events: Iterator[TaskEvent], documents: Sequence[Document | LargeText | ItemFailed]
) -> Iterator[TaskEvent]:
    """Add to the results of ``--json`` which text they are about, so that ``--update`` can continue them."""
    for event in events:
        document = documents[event.item] if isinstance(event, Result) and ctx.console.as_json else None
        if isinstance(event, Result) and document is not None and not isinstance(document, ItemFailed):
            from llmcli.tasks.summarization.earlier_summary import describe_document

            yield replace(event, fields={**event.fields, "source": describe_document(document)})
        else:
            yield event


def _note_key_sentences(
    ctx: CommandContext, wanted: SummaryOptions, events: Iterator[TaskEvent]
) -> Iterator[TaskEvent]:
    """Note once, after the last result, that the style was chosen for the user."""
    chosen = False
    for event in events:
        chosen = chosen or (isinstance(event, Result) and event.fields.get("method") == KEY_SENTENCES)
        yield event
    if chosen and wanted.style == AUTO:
        ctx.console.write_note(KEY_SENTENCES_NOTE)
