"""``llm summarize``."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

from llmcli.cli.command_context import CommandContext
from llmcli.cli.options import FilesArgument, command
from llmcli.cli.parsing.parameters import Option
from llmcli.cli.records.record_flags import RecordFlags, record_flags, wants_records
from llmcli.machine_needs import SUMMARY


class Style(StrEnum):
    """The form of a summary."""

    AUTO = "auto"
    PARAGRAPH = "paragraph"
    BULLETS = "bullets"
    HEADLINE = "headline"
    ABSTRACT = "abstract"
    OUTLINE = "outline"
    MINUTES = "minutes"
    KEY_SENTENCES = "key-sentences"


@command(
    examples="""
      llm summarize README.md
      llm summarize --style bullets --words 80 chapter1.txt chapter2.txt
      man ls | llm summarize
      llm summarize --style key-sentences --focus prices report.pdf
      llm summarize --style minutes --audience "new colleagues" meeting.txt
      llm summarize --style bullets report.pdf slides.pptx letters/
      llm summarize --cite report.pdf
      llm summarize --combine week1.txt week2.txt
      llm summarize --json service.log -o state.json
      llm summarize --json service.log --update state.json -o state.json
      llm summarize https://example.org/report.html
      llm summarize --insights sales.csv
      llm summarize --backend openai report.txt
      llm summarize --column body articles.jsonl -o summaries.jsonl
      llm summarize --combine --column text tickets.csv
    """,
    flags=RecordFlags,
    model_task="summarize",
    overflow_advice="",
    needs=SUMMARY,
)
def summarize(
    ctx: CommandContext,
    files: FilesArgument = None,
    *,
    words: Annotated[int | None, Option("--words", min=1, metavar="N", help="Approximate length in words.")] = None,
    style: Annotated[
        Style,
        Option(
            "--style",
            metavar="STYLE",
            help="paragraph, bullets, headline, abstract, outline, minutes, key-sentences, or auto (default).",
        ),
    ] = Style.AUTO,
    focus: Annotated[
        str, Option("--focus", metavar="TEXT", help="What it is to be about (default: the whole text).")
    ] = "",
    audience: Annotated[str, Option("--audience", metavar="TEXT", help="For whom the summary is.")] = "",
    language: Annotated[
        str,
        Option(
            "--language",
            metavar="LANG",
            help="Its language: fr, French (default: that of the text).",
            autocompletion="languages",
        ),
    ] = "",
    cite: Annotated[bool, Option("--cite", help="Give points, each with a quote and its support.")] = False,
    keep_unsupported: Annotated[
        bool,
        Option("--keep-unsupported", help="With --cite, keep points that the document does not support.", rare=True),
    ] = False,
    combine: Annotated[
        bool, Option("--combine", help="One summary of all documents or records (default: one of each).")
    ] = False,
    update: Annotated[
        str | None,
        Option(
            "--update",
            metavar="FILE",
            help="Continue the summary in this file with what is new.",
        ),
    ] = None,
    insights: Annotated[bool, Option("--insights", help="Figures and trends of tables, by SQL; run no model.")] = False,
) -> int:
    """Summarize documents of any length.

    Key sentences are the most important sentences of the text, unchanged. The style auto means these for a model with
    fewer than half a billion parameters, and a paragraph for others. If --update names a --json result, the beginning
    of the document is not read again. --insights describes the tables in the documents.
    """
    from llmcli.cli.commands.summarize.summary_run import read_summary_options, summarize_documents

    wanted = read_summary_options(words, style.value, focus=focus, audience=audience, language=language)
    dry_run = record_flags(ctx).dry_run and (combine or update is not None or not wants_records(ctx.flags))
    joined = combine or update is not None or dry_run
    if insights:
        from llmcli.cli.commands.summarize.summary_run import summarize_by_insights

        return summarize_by_insights(ctx, files or [], wanted, writes=cite or keep_unsupported or joined)
    if joined:
        from llmcli.cli.commands.summarize.summary_run import JoinOptions, summarize_joined

        return summarize_joined(ctx, files or [], wanted, JoinOptions(combine, update, dry_run, cite))
    if cite or keep_unsupported:
        from llmcli.cli.commands.summarize.summary_run import summarize_cited

        return summarize_cited(ctx, files or [], wanted, cite=cite, keep=keep_unsupported)
    if wants_records(ctx.flags):
        from llmcli.cli.records.record_run import summarize_records

        return summarize_records(ctx, files or [], wanted)
    return summarize_documents(ctx, files or [], wanted)
