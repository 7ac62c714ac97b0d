"""``llm ask``."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated

import typer

from llmcli.cli import inputs
from llmcli.cli.context import Context
from llmcli.cli.options import File, command
from llmcli.types import Priority, TaskEvent

if TYPE_CHECKING:
    from llmcli.backends.base import Backend


@command(
    examples="""
      llm ask "What is the capital of France?"
      llm ask -f report.txt "What does it say about costs?"
      llm ask --base-url http://localhost:11434/v1 -m qwen3:4b "Hello?"
      git diff | llm ask "Write a commit message for this change."
    """
)
def ask(
    cli: Context,
    prompt: Annotated[str | None, typer.Argument(metavar="[PROMPT]", help="The question; - is standard input.")] = None,
    file: File = None,
) -> int:
    """Answer a question, with or without documents."""
    question, documents = inputs.question(cli, prompt, file or [])

    def task(backend: Backend) -> Iterator[TaskEvent]:
        from llmcli.tasks.ask import ask  # while the model loads

        options = cli.options(priority=Priority.INTERACTIVE, reasoning=True)
        return ask(backend, cli.prompts, question, documents, options)

    return cli.show(task)
