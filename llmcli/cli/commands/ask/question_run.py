"""One question about documents, from its inputs to its answer."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from llmcli.cli.command_context import CommandContext
from llmcli.cli.commands.ask.answer_display import AnswerOptions, render_answer
from llmcli.cli.commands.ask.indexed_sources import find_indexed, index_streamed_files, index_texts, open_indexed
from llmcli.cli.console.console import Console
from llmcli.cli.console.table import render_table
from llmcli.cli.input import question_inputs, source_inputs
from llmcli.cli.input.inputs import format_source_name
from llmcli.cli.render.estimate_table import write_estimates
from llmcli.cli.render.renderer import DisplayOptions
from llmcli.documents.reading.document import Document
from llmcli.errors import BadDocument, PartialError, UsageError
from llmcli.fast_dataclass import frozen
from llmcli.tasks.ask.document_question import DocumentQuestion
from llmcli.tasks.ask.question_sources import IndexedSource, name_of_inputs
from llmcli.tasks.quotes.quotable_text import format_line_range
from llmcli.tasks.tables.table_loader import Table, is_table, is_table_name, load_tables
from llmcli.types import Result, TaskEvent

if TYPE_CHECKING:
    from llmcli.backends.base import Backend
    from llmcli.tasks.runner.work_estimate import WorkEstimate


def ask_about_documents(
    ctx: CommandContext,
    prompt: str | None,
    files: Sequence[str],
    wanted: AnswerOptions,
    *,
    cite: bool,
    sql: bool,
    dry_run: bool,
) -> int:
    """Answer a question about ``files``, or about tables with SQL; return the exit code."""
    names = find_indexed(ctx, files)
    question, read, large, failed = question_inputs.read_streamed_question(ctx, prompt, files, names, keeps_all=sql)
    indexed = [open_indexed(ctx, name, failed, dry_run=dry_run) for name in dict.fromkeys(names)]
    indexed += index_streamed_files(ctx, large)
    documents: list[Document] = []
    if read.is_kept or all(map(is_table_name, read.names)):
        documents = [each for each in read if isinstance(each, Document)]
    else:
        indexed.append(index_texts(ctx, read, read.characters, read.names[0] if len(read) == 1 else ""))
    if sql and (not documents or indexed):
        raise UsageError("--sql needs tables", detail="Name CSV or JSON files, or workbooks: -f FILE")
    if sql and cite:
        raise UsageError("--sql and --cite exclude each other")

    if cite and not (documents or indexed):
        raise UsageError("--cite needs documents", detail="Name them: -f FILE")

    asked = _AskedQuestion(question, documents, indexed, wanted, cite, sql)
    if dry_run:
        for failure in failed:
            ctx.console.write_error(failure.error, name=failure.name)
        code = _show_work(ctx, asked)
        return PartialError.exit_code if code == 0 and failed else code

    def task(backend: Backend) -> Iterator[TaskEvent]:
        from llmcli.tasks.ask import ask
        from llmcli.tasks.ask.table_question import answer_from_tables
        from llmcli.tasks.runner.task_run import run_task

        options = wanted.generation_options(ctx)
        tables = asked.choose_tables(ctx, asked.make_task(ctx, backend))
        if tables:
            prompts, interrupt = ctx.runtime.prompts, ctx.runtime.interrupt
            rows = run_task(backend, lambda run: answer_from_tables(run, prompts, question, tables, options, interrupt))
            return source_inputs.append_failed(_explain_sql(ctx, rows), failed)
        events = ask(backend, ctx.runtime.prompts, question, documents, options, cite=cite, indexed=indexed)
        events = source_inputs.add_source_notes(events, read, one_answer=True)
        return source_inputs.append_failed(events, failed)

    return render_answer(ctx, task, wanted, DisplayOptions(footer=lambda result: _format_footer(ctx.console, result)))


@frozen
class _AskedQuestion:
    """A question with what it is about, from which the run and ``--dry-run`` decide the same."""

    text: str
    documents: Sequence[Document]
    indexed: Sequence[IndexedSource]
    wanted: AnswerOptions
    cite: bool
    sql: bool

    def make_task(self, ctx: CommandContext, backend: Backend) -> DocumentQuestion:
        """Return the task that answers from texts."""
        options = self.wanted.generation_options(ctx)
        return DocumentQuestion(backend, ctx.runtime.prompts, self.text, options, cite=self.cite)

    def choose_tables(self, ctx: CommandContext, task: DocumentQuestion) -> list[Table]:
        """Return the tables that a query answers the question from; none if the model is to read the documents.

        With ``sql``, a query does. Else it does if all documents are tables that do not fit the context as a whole
        together; without instructions of the user also if ``needs_query`` says so.
        """
        from llmcli.tasks.ask.table_question import needs_query

        documents, interrupt = self.documents, ctx.runtime.interrupt
        if self.sql:
            return load_tables(documents, interrupt)
        needs_text = self.cite or self.wanted.schema is not None
        if needs_text or self.indexed or not documents or not all(map(is_table, documents)):
            return []
        is_small = not any(each.notes for each in documents)  # no overview
        if is_small and self.wanted.system and task.fits_whole(documents):
            return []
        try:
            tables = load_tables(documents, interrupt)
        except BadDocument:  # JSON of another shape: the model reads its overview
            return []
        if is_small and not needs_query(tables, self.text, interrupt) and task.fits_whole(documents):
            return []
        return tables


def _show_work(ctx: CommandContext, asked: _AskedQuestion) -> int:
    """Show the work that the question would be; return the exit code."""
    from llmcli.tasks.ask.document_question import estimate_question
    from llmcli.tasks.ask.table_question import estimate_table_question

    if not (asked.documents or asked.indexed):
        raise UsageError("--dry-run needs documents", detail="Name them: -f FILE")
    name = name_of_inputs(asked.documents, asked.indexed) or "documents"

    def estimate(_index: int) -> WorkEstimate:
        backend, prompts, interrupt = ctx.runtime.backend(), ctx.runtime.prompts, ctx.runtime.interrupt
        task = asked.make_task(ctx, backend)
        tables = asked.choose_tables(ctx, task)
        if tables:
            options = asked.wanted.generation_options(ctx)
            return estimate_table_question(backend, prompts, name, asked.text, tables, options, interrupt)
        return estimate_question(task, asked.documents, asked.indexed)

    return write_estimates(ctx, [name], estimate)


def _explain_sql(ctx: CommandContext, events: Iterator[TaskEvent]) -> Iterator[TaskEvent]:
    """Show the query on a terminal and with ``-v``; a JSON result has it.

    That nothing was found, or that words of the question were not understood, is said everywhere.
    """
    for event in events:
        if isinstance(event, Result) and not ctx.console.as_json:
            if ctx.console.shows_notes:  # and warnings, too
                ctx.console.write_explanation(f"SQL: {event.fields['sql']}")
            elif event.fields["unexplained"] or not event.fields["answered"]:
                for warning in event.warnings:
                    ctx.console.warn(warning)
        yield event


_UNCITED = "The answer cites no passage. It was written from:"


def _format_footer(console: Console, result: Result) -> str:
    """Return the lines, without the last line end; "" if there are none."""
    if "rows" in result.fields:
        return _format_rows(console, result)
    references = result.fields.get("references", [])
    if not references or not result.fields["answered"]:
        return ""
    cited = [each for each in references if each["cited"]]
    lines = [_format_reference(each) for each in cited or references]
    return "\n".join(["", *([] if cited else [_UNCITED]), *lines])


def _format_reference(reference: Mapping[str, Any]) -> str:
    """Return "[1] lease.pdf, page 3"; with a quote, that and its own place."""
    located = reference.get("quote", reference)
    lines = format_line_range(located["first_line"], located["last_line"])
    place = lines if located["page"] is None else f"page {located['page']}"
    quote = f': "{" ".join(reference["quote"]["text"].split())}"' if "quote" in reference else ""
    return f"[{reference['number']}] {format_source_name(reference['source'])}, {place}{quote}"


def _format_rows(console: Console, result: Result) -> str:
    """Return the rows as a list of the console: columns on a terminal, tabs elsewhere; words if nothing was found."""
    if not result.fields["answered"]:
        return "no rows"
    columns: list[str] = []
    for name in result.fields["columns"]:
        columns.append(name if name not in columns else f"{name} ({len(columns) + 1})")
    rows = [dict(zip(columns, map(_format_value, row), strict=True)) for row in result.fields["rows"]]
    terminal = console.stdout_is_terminal
    return render_table(rows, as_json=False, terminal=terminal, columns=console.columns).removesuffix("\n")


def _format_value(value: Any) -> str:
    """Return a value as SQLite's shell shows it."""
    if value is None:
        return ""
    return f"{value:.15g}" if isinstance(value, float) else str(value)
