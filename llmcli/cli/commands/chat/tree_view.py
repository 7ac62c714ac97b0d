"""The messages of a session as a tree: text for people, rows for programs."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

from llmcli.cli.commands.chat.chat_export import iso_utc
from llmcli.cli.console import sanitize, wrapping
from llmcli.store.session import MAX_SESSION_NAME_CHARS, StoredMessage
from llmcli.store.session_store import SessionStore
from llmcli.types import Role

_MAX_SHOWN_CHARS = 60
_MIN_QUESTION_COLUMNS = 20
"""Columns that a question has in a list of branches, at the cost of what follows it."""
_MAX_SHOWN_LINES = 12
"""Lines of the last exchange that are shown."""


def branch_to(tree: Sequence[StoredMessage], head: int) -> list[StoredMessage]:
    """Return the messages from the first one to the one with the id ``head``; [] for 0."""
    by_id = {turn.id: turn for turn in tree}
    branch = []
    while head:
        branch.append(by_id[head])
        head = by_id[head].parent
    return branch[::-1]


def newest_branch(tree: Sequence[StoredMessage], turn: int) -> list[StoredMessage]:
    """Return the branch through a message that was continued last."""
    followers = _children(tree)
    below = {turn}
    newest = turn
    for each in tree:  # parents come before their children
        if each.parent in below:
            below.add(each.id)
            if each.id not in followers:
                newest = each.id
    return branch_to(tree, newest)


def branch_ends(tree: Sequence[StoredMessage]) -> list[tuple[int, StoredMessage]]:
    """Return number and message of each end of a branch."""
    followers = _children(tree)
    return [(number, turn) for number, turn in enumerate(tree, 1) if turn.id not in followers]


def format_tree(tree: Sequence[StoredMessage], head: int, columns: int) -> str:
    """Return the tree as lines that fit ``columns``; messages of the current branch have a star.

    Only branches are indented.
    """
    numbers = {turn.id: number for number, turn in enumerate(tree, 1)}
    by_id, followers = {turn.id: turn for turn in tree}, _children(tree)
    current = {turn.id for turn in branch_to(tree, head)}
    lines: list[str] = []
    stack = [(turn, "", "") for turn in reversed(followers[0])] if len(followers[0]) == 1 else []
    stack = stack or _fan_out(followers[0], "")
    while stack:
        turn, first, rest = stack.pop()
        lines.append(first + _format_turn(by_id[turn], numbers[turn], current=turn in current))
        below = followers.get(turn, [])
        stack += [(below[0], rest, rest)] if len(below) == 1 else _fan_out(below, rest)
    return _truncate_lines(lines, columns)


def _truncate_lines(lines: Sequence[str], columns: int) -> str:
    return "\n".join(wrapping.truncate(line, columns) for line in lines)


def _fan_out(turns: Sequence[int], prefix: str) -> list[tuple[int, str, str]]:
    """Return the entries of several branches, the first one at the end, with the text before their lines."""
    entries = [(turn, f"{prefix}├─ ", f"{prefix}│  ") for turn in turns[:-1]]
    entries += [(turn, f"{prefix}└─ ", f"{prefix}   ") for turn in turns[-1:]]
    return entries[::-1]


def _children(tree: Sequence[StoredMessage]) -> dict[int, list[int]]:
    children: dict[int, list[int]] = defaultdict(list)
    for turn in tree:
        children[turn.parent].append(turn.id)
    return children


def format_list(turns: Sequence[StoredMessage], columns: int) -> str:
    """Return messages that are not saved, one a line of ``columns`` at most."""
    return _truncate_lines([_format_turn(turn, number, current=True) for number, turn in enumerate(turns, 1)], columns)


def _format_turn(turn: StoredMessage, number: int, *, current: bool) -> str:
    marks = "".join(
        f" ({mark})" for mark, given in (("interrupted", turn.interrupted), ("pinned", turn.pinned)) if given
    )
    return f"{'*' if current else ' '} {number} {turn.role}{marks}: {shorten(turn.content)}"


def shorten(text: str) -> str:
    """Return the beginning of a text in one line, without control sequences."""
    return sanitize.shorten_line(text, _MAX_SHOWN_CHARS)


def format_branches(tree: Sequence[StoredMessage], head: int, columns: int) -> str:
    """Return a line of at most ``columns`` for each branch: its last message's number, last question and length."""
    lines = []
    for number, turn in branch_ends(tree):
        branch = branch_to(tree, turn.id)
        question = next((each.content for each in reversed(branch) if each.role is Role.USER), "")
        mark = "*" if turn.id == head else " "
        head_text, count = f"{mark} {number}: ", f" ({len(branch)} messages)"
        room = max(_MIN_QUESTION_COLUMNS, columns - len(head_text) - len(count))
        lines.append(f"{head_text}{wrapping.truncate(shorten(question), room)}{count}")
    return _truncate_lines(lines, columns)


def tree_rows(tree: Sequence[StoredMessage], head: int) -> list[Mapping[str, Any]]:
    """Return a row for each message; ``parent`` is the number of the message before it, None for a first one."""
    numbers = {turn.id: number for number, turn in enumerate(tree, 1)}
    current = {turn.id for turn in branch_to(tree, head)}
    return [
        {
            "number": numbers[turn.id],
            "parent": numbers.get(turn.parent),
            "role": str(turn.role),
            "current": turn.id in current,
            "pinned": turn.pinned,
            "interrupted": turn.interrupted,
            "time": iso_utc(turn.time),
            "content": turn.content,
        }
        for turn in tree
    ]


def format_last_exchange(turns: Sequence[StoredMessage]) -> str:
    """Return the last question and its answer as a resumed chat shows them, "" without any."""
    shown = [f"{'> ' if turn.role is Role.USER else ''}{_first_lines(turn)}" for turn in turns[-2:]]
    return "\n".join(shown)


def _first_lines(turn: StoredMessage) -> str:
    lines = turn.content.strip().splitlines()
    kept = "\n".join(lines[:_MAX_SHOWN_LINES])
    more = len(lines) - _MAX_SHOWN_LINES
    return kept + (f"\n… ({more} more lines)" if more > 0 else "") + (" … (interrupted)" if turn.interrupted else "")


def free_fork_name(sessions: SessionStore, name: str) -> str:
    """Return the first free name of NAME-fork, NAME-fork-2, ..."""
    taken = {each.session.name for each in sessions.list()}
    base = name[: MAX_SESSION_NAME_CHARS - 10]
    tried, number = f"{base}-fork", 1
    while tried in taken:
        number += 1
        tried = f"{base}-fork-{number}"
    return tried
