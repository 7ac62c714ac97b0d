"""``llm ask``."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated

from llmcli.cli.command_context import CommandContext
from llmcli.cli.input import source_inputs
from llmcli.cli.options import FileOption, command
from llmcli.cli.parsing.parameters import Argument, Option
from llmcli.cli.records.record_flags import RecordFlags, wants_records
from llmcli.cli.render.renderer import render_task
from llmcli.types import Priority, TaskEvent

if TYPE_CHECKING:
    from llmcli.backends.base import Backend


@command(
    examples="""
      llm ask "What is the capital of France?"
      llm ask -f report.txt "What does it say about costs?"
      llm ask -f contract.pdf -f letters/ "What changed for tenants?"
      llm ask --base-url http://localhost:11434/v1 -m qwen3:4b "Hello?"
      llm ask --cite -f guide.md "When does the workshop open?"
      llm ask --sql -f sales.csv "How many rows are there?"
      git diff | llm ask "Write a commit message for this change."
      llm ask -f reviews.csv --column text "Which product?" -o answers.csv
    """,
    flags=RecordFlags,
)
def ask(
    ctx: CommandContext,
    prompt: Annotated[str | None, Argument(metavar="[PROMPT]", help="The question; - is standard input.")] = None,
    file: FileOption = None,
    *,
    cite: Annotated[bool, Option("--cite", help="Name the passages that the answer comes from.")] = False,
    sql: Annotated[bool, Option("--sql", help="Answer a question about tables by an SQL query.")] = False,
    dry_run: Annotated[
        bool, Option("--dry-run", help="Show passages, calls, tokens and estimated time, without running the model.")
    ] = False,
) -> int:
    """Answer a question, with or without documents.

    Documents that do not fit the context are searched for the passages that answer the question, which are then named
    below the answer. Large tables (CSV, JSON) are answered by an SQL query, whose rows are printed.
    """
    if wants_records(ctx.flags):
        from llmcli.cli.records.record_tasks import ask_records

        return ask_records(ctx, prompt, file or [])
    if file or cite or sql or dry_run:
        from llmcli.cli.questions.question_run import ask_about_documents

        return ask_about_documents(ctx, prompt, file or [], cite=cite, sql=sql, dry_run=dry_run)
    question, documents, failed = source_inputs.read_question(ctx, prompt, [])

    def task(backend: Backend) -> Iterator[TaskEvent]:
        from llmcli.tasks.ask import ask  # while the model loads

        options = ctx.generation_options(priority=Priority.INTERACTIVE, reasoning=True)
        events = ask(backend, ctx.runtime.prompts, question, documents, options)
        events = source_inputs.add_source_notes(events, documents, one_answer=True)
        return source_inputs.append_failed(events, failed)

    return render_task(ctx, task)
