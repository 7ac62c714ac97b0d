"""``llm summarize`` for documents."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from llmcli.cli.command_context import CommandContext
from llmcli.cli.input import source_inputs
from llmcli.cli.input.inputs import decode_argument
from llmcli.cli.render.renderer import DisplayOptions, render_task
from llmcli.errors import UsageError
from llmcli.tasks.summarization.summary_options import AUTO, KEY_SENTENCES, SummaryOptions
from llmcli.types import Result, TaskEvent

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

    names, documents = source_inputs.read_sources(ctx, files)
    options = ctx.generation_options()
    return render_task(
        ctx,
        lambda backend: _note_key_sentences(
            ctx,
            wanted,
            source_inputs.add_source_notes(
                summarize(backend, ctx.runtime.prompts, documents, options, wanted), documents
            ),
        ),
        DisplayOptions(input_names=tuple(names)),
    )


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
