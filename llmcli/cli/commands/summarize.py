"""``llm summarize``."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

import typer

from llmcli.cli import inputs
from llmcli.cli.context import Context
from llmcli.cli.options import Files, command
from llmcli.cli.output import How


class Style(StrEnum):
    """What a summary looks like."""

    PARAGRAPH = "paragraph"
    BULLETS = "bullets"
    HEADLINE = "headline"


@command(
    examples="""
      llm summarize README.md
      llm summarize --style bullets --words 80 chapter1.txt chapter2.txt
      man ls | llm summarize
      llm summarize --backend openai report.txt
    """
)
def summarize(
    cli: Context,
    files: Files = None,
    words: Annotated[int | None, typer.Option("--words", min=1, metavar="N", help="About how long.")] = None,
    style: Annotated[Style, typer.Option("--style", help="What the summary looks like.")] = Style.PARAGRAPH,
) -> int:
    """Summarize documents of any length."""
    from llmcli.tasks.summarize import summarize as task

    documents = inputs.documents(cli, files or [])
    options = cli.options()
    return cli.show(
        lambda backend: task(backend, cli.prompts, documents, options, words=words, style=style.value),
        How(names=tuple(files or ())),
    )
