"""Slash commands about the context and the work of the chat."""

from __future__ import annotations

from typing import TYPE_CHECKING

from llmcli.cli.commands.chat.slash.slash_command import SlashCommand
from llmcli.types import Notice

if TYPE_CHECKING:
    from llmcli.cli.commands.chat.active_chat import ActiveChat


def tokens(chat: ActiveChat, _argument: str) -> None:
    """Show how much of the context the conversation takes."""
    use, turns, part = chat.conversation.context_use(), chat.conversation.history, chat.conversation.part
    about = "" if use.exact else "about "
    share = round(100 * use.tokens / use.context)
    lines = [f"{about}{use.tokens} of {use.context} tokens of the context ({share}%), {len(turns)} messages"]
    if part.start:
        lines.append(f"the first {part.start} are not sent" + (", a summary replaces them" if part.summary else ""))
    pinned = sum(turn.pinned for turn in turns)
    if pinned:
        lines.append(f"{pinned} pinned")
    lines.append(f"when it is full: {chat.conversation.policy}")
    chat.write_notice("; ".join(lines))


def stats(chat: ActiveChat, _argument: str) -> None:
    """Show the work of this chat so far."""
    usage, last = chat.usage, chat.last_result
    if last is None:
        chat.write_notice("No answer yet.")
        return
    rate = last.timings.tokens_per_second
    parts = [
        f"{chat.answers} answer{'s' * (chat.answers != 1)}",
        f"{usage.prompt_tokens} prompt tokens, of which {usage.cached_tokens} were cached",
        f"{usage.completion_tokens} tokens written",
        f"the last answer at {rate:.1f} tokens/s" if rate else "",
    ]
    chat.write_notice("; ".join(filter(None, parts)))


def compact(chat: ActiveChat, _argument: str) -> None:
    """Replace all but the last exchange by a summary in what is sent."""
    for event in chat.conversation.compact():
        if isinstance(event, Notice):
            chat.write_notice(event.text)
    if chat.conversation.part.summary:
        chat.write_notice(chat.conversation.part.summary)
    chat.recorder.flush_warnings()


COMMANDS = (
    SlashCommand("/tokens", "show how much of the context is used", tokens),
    SlashCommand("/stats", "show tokens and speed of this chat", stats),
    SlashCommand("/compact", "send a summary instead of the older messages", compact),
)
