"""``llm help``."""

from __future__ import annotations

from typing import Annotated

from llmcli.cli import completers
from llmcli.cli.command_context import CommandContext
from llmcli.cli.options import command
from llmcli.cli.parsing.parameters import Argument

_LIST_OF_TOPICS = "topics"


@command(
    "verbose",
    tolerant=True,
    examples="""
      llm help translate
      llm help models pull
      llm help topics
      llm help exit-codes
      llm help scripting | llm ask "How do I write a loop?"
    """,
)
def help(  # noqa: A001 (the command's name)
    ctx: CommandContext,
    topic: Annotated[
        list[str] | None,
        Argument(
            metavar="[TOPIC]...",
            help='A command, a page of the documentation, or "topics" to list the pages.',
            autocompletion=completers.help_topics,
        ),
    ] = None,
) -> int:
    """Show the help of a command, or a page of the documentation.

    On a terminal, pages are rendered and shown in your pager (PAGER, by default less). In a pipe, they are Markdown.
    """
    from llmcli.cli.commands.help import help_lookup, help_topics
    from llmcli.cli.console.pager import write_paged

    words = topic or []
    if words == [_LIST_OF_TOPICS]:
        ctx.console.write_table([{"topic": each.name, "about": each.purpose} for each in help_topics.list_topics()])
    else:
        write_paged(ctx.console, help_lookup.find_help(ctx, words))
    return 0
