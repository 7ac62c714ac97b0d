"""``llm chat``."""

from __future__ import annotations

from typing import Annotated

from llmcli.cli.command_context import CommandContext
from llmcli.cli.options import ALL_OPTIONS, ContinueOption, SessionOption, SystemOption, command
from llmcli.cli.parsing.parameters import Option
from llmcli.errors import UsageError
from llmcli.tasks.chat import OverflowPolicy
from llmcli.types import Priority


@command(
    *(name for name in ALL_OPTIONS if name not in {"output", "provenance", "mark"}),
    examples="""
      llm chat
      llm chat --system "Answer in French."
      llm chat --session work
      llm chat --continue
      printf '%s\\n' "Hello." "What did I say?" | llm chat
    """,
)
def chat(
    ctx: CommandContext,
    *,
    system: SystemOption = None,
    session: SessionOption = None,
    go_on: ContinueOption = False,
    overflow: Annotated[
        OverflowPolicy | None,
        Option("--overflow", help="When the chat exceeds the context: summarize (default), slide, or stop."),
    ] = None,
    no_save: Annotated[bool, Option("--no-save", help="Do not save this chat.")] = False,
) -> int:
    """Chat with a model on the terminal.

    A chat on a terminal is saved by default; a chat in a pipe only with --session or --continue. A continued chat keeps
    its instructions unless --system replaces them.
    """
    from llmcli.cli.commands.chat import recorder
    from llmcli.cli.commands.chat.active_chat import ActiveChat, overflow_policy
    from llmcli.cli.commands.chat.loop import ChatLoop
    from llmcli.cli.input.text_values import read_instructions
    from llmcli.tasks.chat.conversation import Conversation

    instructions = None if system is None else read_instructions(ctx, system)
    person = ctx.console.stdin_is_terminal
    if not person and ctx.runtime.settings["stdin"] == "off":
        raise UsageError("nothing to answer: standard input is not a terminal, and reading it is off (--no-stdin)")
    kept = recorder.choose_recorder(ctx, session, go_on=go_on, off=no_save, system=instructions, overflow=overflow)
    ctx.on_exit(kept.forget_orphaned_states)
    options = ctx.generation_options(priority=Priority.INTERACTIVE, reasoning=True)
    conversation = Conversation(
        ctx.runtime.backend(),
        ctx.runtime.prompts,
        options,
        system=kept.session.system,
        saved=kept if kept.saves else None,
        policy=overflow_policy(ctx, kept.session),
    )
    loop = ChatLoop(ActiveChat(ctx, conversation, kept))
    return loop.run_interactive() if person else loop.run_piped()
