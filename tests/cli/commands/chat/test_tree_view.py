"""The list of a chat's branches, and the arguments of slash commands."""

from __future__ import annotations

import pytest

from llmcli.cli.commands.chat import tree_view
from llmcli.cli.commands.chat.slash.slash_command import split_argument
from llmcli.cli.console import wrapping
from llmcli.fast_dataclass import replace
from llmcli.store.session import StoredMessage
from llmcli.types import Role


@pytest.fixture
def tree():
    """Return two branches with a long question each."""
    texts = ["What is the capital of the country of Bhutan?", "Thimphu.", "And what is its largest river called?", "?"]
    texts += ["And which languages are spoken there?", "Dzongkha."]
    roles = [Role.USER, Role.ASSISTANT] * 3
    parents = [0, 1, 2, 3, 2, 5]
    messages = (StoredMessage(role, text) for role, text in zip(roles, texts, strict=True))
    return [
        replace(message, id=number, parent=parent)
        for number, (message, parent) in enumerate(zip(messages, parents, strict=True), 1)
    ]


@pytest.mark.parametrize("columns", [40, 60, 80])
def test_a_branch_shows_its_question_at_any_width(tree, columns):
    """The question comes before the count, and is what is cut."""
    lines = tree_view.format_branches(tree, 6, columns).splitlines()
    assert [line[:16] for line in lines] == ["  4: And what is", "* 6: And which l"]
    assert all(line.endswith(" (4 messages)") and wrapping.display_width(line) <= columns for line in lines)


@pytest.mark.parametrize(
    ("argument", "parts"),
    [("", ("", "")), ("seed", ("seed", "")), ("seed 5", ("seed", "5")), ("3\nnew\ntext", ("3", "new\ntext"))],
)
def test_a_line_break_ends_a_word_as_a_space_does(argument, parts):
    """Otherwise the message about it would show words that look right."""
    assert split_argument(argument) == parts
