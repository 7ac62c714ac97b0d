"""``llm chat``."""

from __future__ import annotations

from typing import Annotated

import typer

from llmcli.cli.context import Context
from llmcli.cli.options import ALL, command
from llmcli.types import Priority


@command(
    *(name for name in ALL if name != "output"),
    examples="""
      llm chat
      llm chat --system "Answer in French."
      printf '%s\\n' "Hello." "What did I say?" | llm chat
    """,
)
def chat(
    cli: Context,
    system: Annotated[str, typer.Option("--system", metavar="TEXT", help="Instructions for the whole talk.")] = "",
) -> int:
    """Talk with a model on the terminal."""
    from llmcli.cli.inputs import argument
    from llmcli.cli.talk import Talk
    from llmcli.tasks.chat import Conversation

    options = cli.options(priority=Priority.INTERACTIVE, reasoning=True)
    talk = Talk(cli, Conversation(cli.backend(), cli.prompts, options, system=argument(system)))
    return talk.with_person() if cli.world.terminal(cli.world.stdin) else talk.with_pipe()
