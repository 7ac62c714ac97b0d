"""``llm ask``."""

from __future__ import annotations

from typing import Annotated

import typer

from llmcli.cli import inputs
from llmcli.cli.context import Context
from llmcli.cli.options import File, command
from llmcli.types import Priority


@command(
    examples="""
      llm ask "What is the capital of France?"
      llm ask -f report.txt "What does it say about costs?"
      git diff | llm ask "Write a commit message for this change."
    """
)
def ask(
    cli: Context,
    prompt: Annotated[str | None, typer.Argument(metavar="[PROMPT]", help="The question; - is standard input.")] = None,
    file: File = None,
) -> int:
    """Answer a question, with or without documents."""
    from llmcli.tasks.ask import ask as task

    question, documents = inputs.question(cli, prompt, file or [])
    options = cli.options(priority=Priority.INTERACTIVE, reasoning=True)
    return cli.show(lambda backend: task(backend, cli.prompts, question, documents, options))
