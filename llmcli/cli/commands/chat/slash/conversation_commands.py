"""Slash commands on the conversation: its turns, branches, context and sessions."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

from llmcli.cli.commands.chat import chat_export, tree_view
from llmcli.cli.commands.chat.session_files import name_taken, open_read_only, require_valid_name
from llmcli.cli.commands.chat.slash.slash_command import (
    SlashCommand,
    parse_number,
    require_argument,
    split_argument,
)
from llmcli.errors import MissingError, UsageError
from llmcli.types import Notice, Role

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
    chat.write_notice(
        f"Took back {count} question{'s' * (count > 1)} with the answer{'s' * (count > 1)}, "
        f"from: {tree_view.shorten(question)}{kept}"
    )


def retry(chat: ActiveChat, _argument: str) -> None:
    """Ask the last question again."""
    if chat.conversation.unanswered is None:
        _require_exchange(chat)
    chat.render(chat.conversation.retry)


def edit(chat: ActiveChat, argument: str) -> None:
    """Replace a question: by the text that follows its number, or by what the next prompt holds."""
    _require_exchange(chat)
    word, text = split_argument(argument)
    number = parse_number("/edit", word)
    index = len(chat.conversation.history) - 2 if number is None else chat.index_of(number)
    if chat.conversation.history[index].role is not Role.USER:
        question = chat.number_of(chat.conversation.history[index - 1])
        raise UsageError(f"message {number} is an answer", detail=f"Edit its question: /edit {question}")
    chat.edited = index
    if text:
        chat.send(text)
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
    turn = chat.conversation.history[index]
    if not (pinned or turn.pinned):
        raise UsageError(f"message {chat.number_of(turn)} is not pinned", detail="/tree shows which messages are.")
    turn = chat.conversation.set_pinned(index, pinned=pinned)
    if chat.recorder.is_saved:
        with chat.recorder.open_store() as sessions:
            sessions.pin(chat.recorder.session, turn.id, pinned=pinned)
    chat.write_notice(f"{'Pinned' if pinned else 'No longer pinned'}: {tree_view.shorten(turn.content)}")


TURN_COMMANDS = (
    SlashCommand("/retry", "ask the last question again", retry),
    SlashCommand("/edit", "change question N (the last one) and ask it again", edit, "[N [TEXT]]"),
    SlashCommand("/undo", "take back the last N exchanges", undo, "[N]"),
    SlashCommand("/continue", "let the model continue its answer", go_on),
    SlashCommand("/copy", "copy the last answer (OSC 52)", copy),
    SlashCommand("/pin", "always send message N (the last one)", pin, "[N]"),
    SlashCommand("/unpin", "remove the pin", unpin, "[N]"),
)


def _require_saved(chat: ActiveChat) -> None:
    if not chat.recorder.is_saved:
        raise UsageError("this chat is not saved, so it has no branches", detail="Save it first: /save NAME")


def fork(chat: ActiveChat, argument: str) -> None:
    """Continue in a new session that shares the messages so far."""
    _require_saved(chat)
    name, at = split_argument(argument)
    number = parse_number("/fork", at)
    old, turns = chat.recorder.session, chat.conversation.history
    turns = turns if number is None else turns[: chat.index_of(number) + 1]
    with chat.recorder.open_store() as sessions:
        name = require_valid_name(name) if name else tree_view.free_fork_name(sessions, old.name)
        forked = sessions.fork(old, turns[-1].id if turns else 0, name)
        if forked is None:
            raise name_taken(name)
    chat.use_session(forked, turns)
    chat.write_notice(f"This chat goes on as {name}; {old.name} stays as it is.")


def branches(chat: ActiveChat, argument: str) -> None:
    """List the branches, or go to the one of a message."""
    _require_saved(chat)
    tree, number = chat.tree(), parse_number("/branches", argument)
    if number is None:
        chat.write_notice(tree_view.format_branches(tree, chat.recorder.session.head, chat.columns))
        return
    if number > len(tree):
        raise UsageError(f"there is no message {number}", detail="/tree shows the numbers.")
    turns = tree_view.newest_branch(tree, tree[number - 1].id)
    chat.conversation.move_to(turns)
    chat.write_notice(tree_view.format_last_exchange(chat.conversation.history) or "This branch is empty.")


def tree(chat: ActiveChat, _argument: str) -> None:
    """Show all messages of all branches."""
    turns = chat.tree()
    if not turns:
        raise UsageError("there is no message yet", detail="Send a message first.")
    head, columns = chat.recorder.session.head, chat.columns
    saved = chat.recorder.is_saved
    chat.write_notice(tree_view.format_tree(turns, head, columns) if saved else tree_view.format_list(turns, columns))


BRANCH_COMMANDS = (
    SlashCommand("/fork", "continue in a new session that shares the messages (up to N)", fork, "[NAME [N]]"),
    SlashCommand("/branches", "list the branches, or go to that of message N", branches, "[N]"),
    SlashCommand("/tree", "show all messages with their numbers", tree),
)


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
    least = "" if usage.is_known else "at least "
    parts = [
        f"{chat.answers} answer{'s' * (chat.answers != 1)}",
        f"{least}{usage.prompt_tokens} prompt tokens, of which {usage.cached_tokens} were cached",
        f"{least}{usage.completion_tokens} tokens written",
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


CONTEXT_COMMANDS = (
    SlashCommand("/tokens", "show how much of the context is used", tokens),
    SlashCommand("/stats", "show tokens and speed of this chat", stats),
    SlashCommand("/compact", "send a summary instead of the older messages", compact),
)


_INVALID_NAME_CHARS = re.compile(r"[^A-Za-z0-9._-]+")
_MAX_MATCHES = 20
"""Lines of a search that are shown."""


def save(chat: ActiveChat, argument: str) -> None:
    """Save the conversation under another name, even if it was not saved before."""
    recorder, fresh = chat.recorder, not chat.recorder.saves
    try:
        recorder.rename(argument)
    except UsageError as error:
        raise explain_save_refusal(error, argument) from error
    if fresh:
        chat.conversation.save_to(recorder)
        recorder.flush_warnings()
    if not recorder.exit_code:
        when = "is saved" if recorder.is_saved else "will be saved after its first answer"
        chat.write_notice(f"This chat {when} as {recorder.session.name}.")


def explain_save_refusal(error: UsageError, name: str) -> UsageError:
    """Return the refusal of the ``name`` after /save with advice that works inside the chat."""
    allowed = _INVALID_NAME_CHARS.sub("-", name).strip(".-")[:80]
    other = f"{name}-2" if name and allowed == name else allowed
    return UsageError(error.subject, detail=f"Try: /save {other or 'NAME'}")


def load(chat: ActiveChat, argument: str) -> None:
    """Continue another saved chat; the current one stays as it is."""
    name = require_valid_name(require_argument("/load", argument, "/load NAME"))
    with open_read_only(chat.ctx.runtime.paths.sessions) as sessions:
        session = sessions.get(name)
        turns = sessions.load_turns(session)
    chat.use_session(session, turns)
    chat.write_notice(f"Continuing {name}: {len(turns)} messages.")
    chat.write_notice(tree_view.format_last_exchange(turns))


def reset(chat: ActiveChat, _argument: str) -> None:
    """Start a new chat; the previous one stays saved if it was."""
    saved = chat.recorder.refresh_saved_name()
    previous = (
        f"the previous one stays saved as {chat.recorder.session.name}" if saved else "the previous one was not saved"
    )
    chat.conversation.reset()
    chat.write_notice(f"A new chat begins; {previous}.")


def search(chat: ActiveChat, argument: str) -> None:
    """Show the lines of all saved chats that contain words."""
    words = require_argument("/search", argument, "/search invoice")
    with open_read_only(chat.ctx.runtime.paths.sessions) as sessions:
        found = list(sessions.search(words))
    if not found:
        raise MissingError(words, kind="line")
    for match in found[:_MAX_MATCHES]:
        row = chat_export.match_row(match, words)
        chat.write_notice(f"{row['name']} {row['message']} {row['role']}: {tree_view.shorten(row['line'])}")
    if len(found) > _MAX_MATCHES:
        chat.write_notice(f"and {len(found) - _MAX_MATCHES} more lines")


def export(chat: ActiveChat, argument: str) -> None:
    """Write the conversation to a file: as OpenAI's messages if its name ends in .json, else as Markdown."""
    from llmcli.files.atomic_file import atomic_write

    name = require_argument("/export", argument, "/export chat.md")
    if Path(name).exists():
        raise UsageError(f"{name} exists", detail="Name another file.")
    session, turns = chat.recorder.session, chat.conversation.history
    as_json = name.endswith(".json")
    text = (chat_export.session_as_messages if as_json else chat_export.session_as_markdown)(session, turns)
    with atomic_write(name, interrupt=chat.ctx.runtime.interrupt) as file:
        file.write(text.encode())
    chat.write_notice(f"Wrote {len(turns)} messages to {name}.")


SESSION_COMMANDS = (
    SlashCommand("/save", "save this chat under NAME", save, "NAME"),
    SlashCommand("/rename", "the same as /save", save, "NAME"),
    SlashCommand("/load", "continue another saved chat", load, "NAME", "sessions"),
    SlashCommand("/reset", "start a new chat; the previous one stays saved", reset),
    SlashCommand("/search", "find words in all saved chats", search, "TEXT"),
    SlashCommand("/export", "write this chat to a file (.md or .json)", export, "FILE", "files"),
)
