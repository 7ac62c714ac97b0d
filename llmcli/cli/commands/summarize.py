"""``llm summarize``."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

from llmcli.cli.command_context import CommandContext
from llmcli.cli.input import source_inputs
from llmcli.cli.options import FilesArgument, command
from llmcli.cli.parsing.parameters import Option
from llmcli.cli.records.record_flags import RecordFlags, wants_records
from llmcli.cli.render.renderer import DisplayOptions, render_task


class Style(StrEnum):
    """The form of a summary."""

    PARAGRAPH = "paragraph"
    BULLETS = "bullets"
    HEADLINE = "headline"


@command(
    examples="""
      llm summarize README.md
      llm summarize --style bullets --words 80 chapter1.txt chapter2.txt
      man ls | llm summarize
      llm summarize --style bullets report.pdf slides.pptx letters/
      llm summarize --cite report.pdf
      llm summarize --backend openai report.txt
      llm summarize --column body articles.jsonl -o summaries.jsonl
    """,
    flags=RecordFlags,
)
def summarize(
    ctx: CommandContext,
    files: FilesArgument = None,
    *,
    words: Annotated[int | None, Option("--words", min=1, metavar="N", help="Approximate length in words.")] = None,
    style: Annotated[Style, Option("--style", help="The form of the summary.")] = Style.PARAGRAPH,
    cite: Annotated[
        bool, Option("--cite", help="Give points, each with a quote from the document and its support.")
    ] = False,
    keep_unsupported: Annotated[
        bool, Option("--keep-unsupported", help="With --cite, keep points that the document does not support.")
    ] = False,
) -> int:
    """Summarize documents of any length."""
    if cite or keep_unsupported:
        from llmcli.cli.summarization.cited_run import summarize_cited

        return summarize_cited(ctx, files or [], words=words, style=style.value, cite=cite, keep=keep_unsupported)
    if wants_records(ctx.flags):
        from llmcli.cli.records.record_tasks import summarize_records

        return summarize_records(ctx, files or [], words=words, style=style.value)
    from llmcli.tasks.summarize import summarize as task

    names, documents = source_inputs.read_sources(ctx, files or [])
    options = ctx.generation_options()
    return render_task(
        ctx,
        lambda backend: source_inputs.add_source_notes(
            task(backend, ctx.runtime.prompts, documents, options, words=words, style=style.value), documents
        ),
        DisplayOptions(input_names=tuple(names)),
    )
