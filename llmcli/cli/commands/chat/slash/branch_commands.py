"""Slash commands about the branches of a session."""

from __future__ import annotations

from typing import TYPE_CHECKING

from llmcli.cli.commands.chat import tree_view
from llmcli.cli.commands.chat.session_files import name_taken, require_valid_name
from llmcli.cli.commands.chat.slash.slash_command import SlashCommand, parse_number
from llmcli.errors import UsageError

if TYPE_CHECKING:
    from llmcli.cli.commands.chat.active_chat import ActiveChat


def _require_saved(chat: ActiveChat) -> None:
    if not chat.recorder.is_saved:
        raise UsageError("this chat is not saved, so it has no branches", detail="Save it first: /save NAME")


def fork(chat: ActiveChat, argument: str) -> None:
    """Continue in a new session that shares the messages so far."""
    _require_saved(chat)
    name, _, at = argument.partition(" ")
    number = parse_number("/fork", at.strip())
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


COMMANDS = (
    SlashCommand("/fork", "continue in a new session that shares the messages (up to N)", fork, "[NAME [N]]"),
    SlashCommand("/branches", "list the branches, or go to that of message N", branches, "[N]"),
    SlashCommand("/tree", "show all messages with their numbers", tree),
)
