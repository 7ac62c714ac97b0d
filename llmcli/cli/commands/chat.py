"""``llm chat``."""

from __future__ import annotations

from typing import Annotated

import typer

from llmcli.cli import completers
from llmcli.cli.context import Context
from llmcli.cli.options import ALL, command
from llmcli.errors import UsageError
from llmcli.types import Priority


@command(
    *(name for name in ALL if name != "output"),
    examples="""
      llm chat
      llm chat --system "Answer in French."
      llm chat --session work
      llm chat --continue
      printf '%s\\n' "Hello." "What did I say?" | llm chat
    """,
)
def chat(
    cli: Context,
    system: Annotated[
        str | None, typer.Option("--system", metavar="TEXT", help="Instructions for the whole talk.")
    ] = None,
    session: Annotated[
        str | None,
        typer.Option(
            "--session",
            metavar="NAME",
            help="Go on with this saved chat, or begin it.",
            autocompletion=completers.sessions,
        ),
    ] = None,
    go_on: Annotated[bool, typer.Option("--continue", help="Go on with the chat that was used last.")] = False,
    no_save: Annotated[bool, typer.Option("--no-save", help="Do not save this chat.")] = False,
) -> int:
    """Talk with a model on the terminal.

    On a terminal every chat is saved; one in a pipe with --session or --continue only. A chat that goes on keeps its
    instructions, unless --system gives others.
    """
    from llmcli.cli import saving
    from llmcli.cli.inputs import argument
    from llmcli.cli.talk import Talk
    from llmcli.tasks.chat import Conversation

    instructions = None if system is None else argument(system)
    person = cli.world.terminal(cli.world.stdin)
    if not person and cli.settings["stdin"] == "off":
        raise UsageError("nothing to answer: standard input is no terminal, and is not to be read")
    kept = saving.choose(cli, session, go_on=go_on, off=no_save, system=instructions)
    cli.afterwards(kept.forget)
    options = cli.options(priority=Priority.INTERACTIVE, reasoning=True)
    wanted = kept if kept.wanted else None
    talk = Talk(cli, Conversation(cli.backend(), cli.prompts, options, system=kept.session.system, saved=wanted), kept)
    return talk.with_person() if person else talk.with_pipe()
