"""The commands of a chat."""

from __future__ import annotations

import re

import pytest
from terminal import PROMPT, ended

from llmcli.cli.commands.chat import chat_commands
from llmcli.cli.commands.chat.slash import conversation_commands
from llmcli.errors import UsageError
from llmcli.store.session import ALLOWED_NAME_TEXT, is_session_name

COMMANDS = ("/help", "/reset", "/save", "/exit", "/quit", "/bye")


@pytest.mark.parametrize(
    ("text", "sent"),
    [
        ("hello", "hello"),
        ("a /reset", "a /reset"),
        ("/etc/passwd is what?", "/etc/passwd is what?"),
        ("/ means root", "/ means root"),
        ("//reset", "/reset"),
        ("//etc", "/etc"),
        ("// a comment", "/ a comment"),
    ],
)
def test_messages(text, sent):
    """Paths, a lone slash and texts that begin with two slashes go to the model."""
    assert chat_commands.parse_chat_command(text) == ("", sent)


@pytest.mark.parametrize("command", COMMANDS)
def test_commands_are_listed_and_recognized(command):
    """Each listed command is recognized, and nothing else is."""
    assert chat_commands.parse_chat_command(command) == (command, "")
    assert command in chat_commands.format_help(79) or command in {"/quit", "/bye"}


def test_save_takes_a_name():
    """Everything after it is the name."""
    assert chat_commands.parse_chat_command("/save  a b") == ("/save", "a b")


@pytest.mark.parametrize(
    ("text", "said", "advice"),
    [
        ("/sav work", "/sav is not a command of a chat", "Did you mean /save?"),
        ("/rest", "/rest is not a command of a chat", "Did you mean /reset?"),
        ("/clear", "/clear is not a command of a chat", "Try: /reset; /help lists the commands"),
        ("/attach a.txt", "/attach is not a command of a chat", "Try: /file PATH; /help lists"),
        ("/?", "/? is not a command of a chat", "Try: /help"),
        ("/", "/ is not a command of a chat", "two slashes"),
        ("/Reset", "/Reset is not a command of a chat", "Did you mean /reset?"),
        ("/x1!\nand more", "/x1! is not a command of a chat", "two slashes"),
        ("/reset now", "/reset takes no argument", "two slashes"),
        ("/exit\nplease", "/exit takes no argument", "two slashes"),
    ],
)
def test_what_is_no_command_is_refused(text, said, advice):
    """The error names the nearest command, the list of commands, and how to send the text as a message."""
    with pytest.raises(UsageError) as caught:
        chat_commands.parse_chat_command(text)
    assert caught.value.subject == said and advice in caught.value.detail


@pytest.mark.parametrize("name", ["my chat", "../x", "é", "", "work", "x" * 200, "a.", "x" * 99])
def test_a_refused_name_comes_with_an_allowed_one(name):
    """The suggestion can be typed in the chat."""
    advice = conversation_commands.explain_save_refusal(UsageError(ALLOWED_NAME_TEXT), name).detail
    other = advice.removeprefix("Try: /save ")
    assert other not in {advice, name} and is_session_name(other)


def test_an_unknown_command_is_neither_sent_nor_saved(person, llm):
    """Not even with arguments; a wrong name of /save gets an error for the chat."""
    child = person("chat", "--max-tokens", "5", "--seed", "1")
    for typed, shown in (
        ("/summarise this text", "/summarise is not a command"),
        ("/save my chat", r"Try: /save my-chat"),
        ("/reset the counter", "/reset takes no argument"),
    ):
        child.expect(PROMPT)
        child.sendline(typed)
        child.expect(shown)
        assert "llm --help" not in child.before
    child.expect(PROMPT)
    child.sendline("/exit")
    assert ended(child) == 0 and "--help" not in child.before
    assert llm("sessions", "list").out == ""


@pytest.mark.slow
def test_two_slashes_are_sent_as_one(person, llm):
    """The saved message has one slash."""
    child = person("chat", "--max-tokens", "5", "--seed", "1")
    child.expect(PROMPT)
    child.sendline("//reset is a command")
    child.expect(PROMPT)
    child.sendline("/save work")
    child.expect("saved as work")
    child.expect(PROMPT)
    child.sendline("/exit")
    assert ended(child) == 0
    assert re.search(r"^/reset is a command$", llm("sessions", "show", "work").out, re.MULTILINE)
