"""``llm help``."""

from __future__ import annotations

import sys
from typing import Annotated

from llmcli.cli.command_context import CommandContext
from llmcli.cli.command_registry import CommandArea
from llmcli.cli.options import command
from llmcli.cli.parsing.parameters import Argument, Option

_LIST_OF_TOPICS = "topics"
_PREVIEW_COLUMNS = 100
"""Most columns of a found line on a terminal, where it is wrapped."""


@command(
    "verbose",
    tolerant=True,
    examples="""
      llm help translate
      llm help models pull
      llm help topics
      llm help --all
      llm help 3
      llm help vllm
      llm help scripting | llm ask "How do I write a loop?"
    """,
    area=CommandArea.HOUSEKEEPING,
    listed=False,
)
def help(  # noqa: A001 (the command's name)
    ctx: CommandContext,
    topic: Annotated[
        list[str] | None,
        Argument(
            metavar="[TOPIC]...",
            help="A command, a page, an exit code, words to search for, or topics: list the pages.",
            autocompletion="help_topics",
        ),
    ] = None,
    complete: Annotated[bool, Option("--all", help="List all commands, or all options of the command.")] = False,
) -> int:
    """Show the help of a command, or a page of the documentation.

    Other words are searched for: the best sections of the pages are listed, each with the line that fits best. A number
    is an exit code. On a terminal, pages are rendered and shown in your pager (PAGER, by default less). In a pipe, they
    are Markdown.
    """
    from llmcli.cli.commands.help import help_lookup, help_search, help_topics
    from llmcli.cli.console.pager import write_paged
    from llmcli.cli.console.wrapping import truncate

    words = topic or []
    if words == [_LIST_OF_TOPICS]:
        ctx.console.write_table([{"topic": each.name, "about": each.purpose} for each in help_topics.list_topics()])
        return 0
    text = help_lookup.find_help(ctx, words, complete=complete)
    if text is not None:
        write_paged(ctx.console, text)
        return 0
    matches = help_search.search_sections(words)
    if not matches:
        raise help_lookup.unknown_topic(words)
    size = _PREVIEW_COLUMNS if ctx.console.stdout_is_terminal else sys.maxsize
    ctx.console.write_table(
        [{"topic": each.topic, "section": each.section, "text": truncate(each.text, size)} for each in matches]
    )
    ctx.console.write_note("llm help TOPIC shows a page")
    return 0
