"""``llm chat``."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

from llmcli.cli.command_context import CommandContext
from llmcli.cli.options import ContinueOption, FileOption, SessionOption, SystemOption, command
from llmcli.cli.parsing.parameters import Option
from llmcli.errors import UsageError
from llmcli.machine_needs import CHAT
from llmcli.tasks.chat import OverflowPolicy
from llmcli.types import Priority


@command(
    without=("output", "provenance"),
    examples="""
      llm chat
      llm chat --system "Answer in French."
      llm chat --session work
      llm chat --continue
      llm chat -p tutor -f garden.md --deck deck.jsonl
      printf '%s\\n' "Hello." "What did I say?" | llm chat
    """,
    model_task="chat",
    needs=CHAT,
    also="Saved chats: llm sessions.",
)
def chat(
    ctx: CommandContext,
    *,
    system: SystemOption = None,
    prompt: Annotated[
        str | None,
        Option(
            "-p",
            "-t",
            "--prompt",
            metavar="NAME|FILE",
            help="Instructions from a prompt, such as tutor.",
            autocompletion="generate_kinds",
        ),
    ] = None,
    file: FileOption = None,
    deck: Annotated[
        str | None, Option("--deck", metavar="DECK", help="Cards of llm quiz for the prompt, with what you know.")
    ] = None,
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
    from llmcli.tasks.chat.conversation import Conversation

    instructions = _read_instructions(ctx, system, prompt, file or [], deck)
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


_MAX_CARDS = 30
"""Of a deck, in the instructions: those that the learner knows least."""


def _read_instructions(
    ctx: CommandContext, system: str | None, prompt: str | None, files: Sequence[str], deck: str | None
) -> str | None:
    """Return the instructions of the options, None if there are none. Raises as ``_render_prompt``."""
    from llmcli.cli.input.text_values import read_option_text

    own = None if system is None else read_option_text(ctx, "--system", system)
    if prompt is not None:
        return "\n\n".join(filter(None, [_render_prompt(ctx, prompt, files, deck), own]))
    if files or deck is not None:
        raise UsageError("-f and --deck belong to a prompt", detail="Try: llm chat -p tutor -f FILE --deck DECK")
    return own


def _render_prompt(ctx: CommandContext, name: str, files: Sequence[str], deck: str | None) -> str:
    """Return the text of a prompt, with documents as its variable ``text`` and the cards of a deck as ``cards``.

    Raises as ``find_own_prompt``, ``fill_variables`` and ``read_deck``.
    """
    from llmcli.cli.input import document_inputs, question_inputs
    from llmcli.prompts.prompt_library import find_own_prompt
    from llmcli.tasks.ask.prompted_question import fill_variables
    from llmcli.tasks.quiz.card import read_deck
    from llmcli.tasks.quiz.review_log import read_reviews, reviews_path
    from llmcli.tasks.quiz.review_schedule import describe_knowledge

    prompt = find_own_prompt(ctx.runtime.prompts, name)
    documents, failed = question_inputs.read_texts(ctx, files, reads_stdin=False)
    for failure in failed:
        ctx.console.write_error(failure.error, name=failure.name)
    values = fill_variables(prompt, {}, None, documents)
    if deck is not None:
        if "cards" not in prompt.variables:
            raise UsageError(f"the prompt {name} has no variable for the cards", detail="Declare one: cards")
        cards = read_deck(deck, document_inputs.read_document(ctx, deck).text)
        values["cards"] = describe_knowledge(cards, read_reviews(reviews_path(deck)), _MAX_CARDS)
    return "\n\n".join(message.content.strip() for message in prompt.render(values))
