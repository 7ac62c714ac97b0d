"""Slash commands that go back, ask again, or use the last answer."""

from __future__ import annotations

from typing import TYPE_CHECKING

from llmcli.cli.commands.chat.slash.slash_command import SlashCommand, parse_number
from llmcli.errors import UsageError
from llmcli.types import Role

if TYPE_CHECKING:
    from llmcli.cli.commands.chat.active_chat import ActiveChat

CONTINUE_MESSAGE = "Continue exactly where you stopped."


def _require_exchange(chat: ActiveChat) -> None:
    if not chat.conversation.history:
        raise UsageError("there is no message yet", detail="Send a message first.")


def undo(chat: ActiveChat, argument: str) -> None:
    """Take back the last exchanges; they stay in the tree."""
    if argument and not (argument.isdecimal() and int(argument)):
        raise UsageError("/undo takes a number of exchanges", detail="Try: /undo 2")
    _require_exchange(chat)
    count = min(int(argument or 1), len(chat.conversation.history) // 2)
    question = chat.conversation.history[-2 * count].content
    chat.conversation.go_back(count)
    kept = "; they stay in the /tree" if chat.recorder.is_saved else ""
    shown = " ".join(question.split())[:60]
    chat.write_notice(
        f"Took back {count} question{'s' * (count > 1)} with the answer{'s' * (count > 1)}, from: {shown}{kept}"
    )


def retry(chat: ActiveChat, _argument: str) -> None:
    """Ask the last question again."""
    if chat.conversation.unanswered is None:
        _require_exchange(chat)
    chat.render(chat.conversation.retry)


def edit(chat: ActiveChat, argument: str) -> None:
    """Replace a question: by the text that follows its number, or by what the next prompt holds."""
    _require_exchange(chat)
    word, _, text = argument.partition(" ")
    number = parse_number("/edit", word)
    index = len(chat.conversation.history) - 2 if number is None else chat.index_of(number)
    if chat.conversation.history[index].role is not Role.USER:
        raise UsageError(f"message {number} is an answer", detail=f"Edit its question: /edit {(number or 2) - 1}")
    chat.edited = index
    if text.strip():
        chat.send(text.strip())
    else:
        chat.prefill = chat.conversation.history[index].content
        chat.write_notice("Change the message and press Enter; an empty line leaves it as it is.")


def go_on(chat: ActiveChat, _argument: str) -> None:
    """Let the model continue its last answer."""
    _require_exchange(chat)
    chat.send(CONTINUE_MESSAGE)


def copy(chat: ActiveChat, _argument: str) -> None:
    """Send the last answer to the terminal's clipboard."""
    from llmcli.cli.render.clipboard import copy_to_clipboard

    if not copy_to_clipboard(chat.ctx.console, chat.last_answer()):
        raise UsageError("the last answer is too long for the terminal's clipboard", detail="Try: /export FILE")
    chat.write_notice("Sent the last answer to the terminal's clipboard (OSC 52).")


def pin(chat: ActiveChat, argument: str) -> None:
    """Keep a message, with its question or answer, in everything that is sent."""
    _set_pinned(chat, "/pin", argument, pinned=True)


def unpin(chat: ActiveChat, argument: str) -> None:
    """Remove a pin."""
    _set_pinned(chat, "/unpin", argument, pinned=False)


def _set_pinned(chat: ActiveChat, command: str, argument: str, *, pinned: bool) -> None:
    _require_exchange(chat)
    number = parse_number(command, argument)
    index = len(chat.conversation.history) - 1 if number is None else chat.index_of(number)
    turn = chat.conversation.set_pinned(index, pinned=pinned)
    if chat.recorder.is_saved:
        with chat.recorder.open_store() as sessions:
            sessions.pin(chat.recorder.session, turn.id, pinned=pinned)
    shown = " ".join(turn.content.split())[:60]
    chat.write_notice(f"{'Pinned' if pinned else 'No longer pinned'}: {shown}")


COMMANDS = (
    SlashCommand("/retry", "ask the last question again", retry),
    SlashCommand("/edit", "change question N (the last one) and ask it again", edit, "[N [TEXT]]"),
    SlashCommand("/undo", "take back the last N exchanges", undo, "[N]"),
    SlashCommand("/continue", "let the model continue its answer", go_on),
    SlashCommand("/copy", "copy the last answer (OSC 52)", copy),
    SlashCommand("/pin", "always send message N (the last one)", pin, "[N]"),
    SlashCommand("/unpin", "remove the pin", unpin, "[N]"),
)
