"""/prompt, and the completion of slash commands, on a terminal with a scripted model."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

REVIEW = """\
description: Review a text
system: You are a reviewer.
user: "Review this {{ tone }} text: {{ text }}"
variables:
  tone: {default: formal}
  text: {}
"""


@pytest.fixture
def review():
    """Write a prompt file of the user, as a kind of text."""
    path = Path(os.environ["LLMCLI_CONFIG_DIR"], "prompts", "generate", "review.yaml")
    path.parent.mkdir(parents=True)
    path.write_text(REVIEW)


@pytest.fixture
def asked(llm):
    """Return the questions of a saved chat."""

    def questions(name):
        shown = json.loads(llm("sessions", "show", name, "--json").out)["messages"]
        return [message["content"] for message in shown if message["role"] == "user"]

    return questions


@pytest.mark.usefixtures("review")
def test_a_prompt_is_sent_as_a_message(chat_on_terminal, asked, tmp_path):
    """With its instructions, its variables, and a text: what is typed, else the attached files."""
    (tmp_path / "notes.txt").write_text("apples")
    chat = chat_on_terminal("--session", "work")
    chat.prompt()
    assert "Review this kind text: good day" in chat.say('/prompt review tone="kind" good day')
    chat.say("/file notes.txt")
    chat.say("/prompt review")
    chat.say("and then?")
    chat.type("/exit\r")
    assert chat.wait() == 0
    assert asked("work") == [
        "You are a reviewer.\n\nReview this kind text: good day",
        "You are a reviewer.\n\nReview this formal text: apples",
        "and then?",
    ]


def test_a_prompt_of_ones_own_is_sent_too(chat_on_terminal, asked):
    """Not only a kind of text; it may use text without declaring it."""
    path = Path(os.environ["LLMCLI_CONFIG_DIR"], "prompts", "mine.yaml")
    path.parent.mkdir(parents=True)
    path.write_text("description: d\nuser: 'Mine: {{ text }}'\n")
    chat = chat_on_terminal("--session", "work")
    chat.prompt()
    assert "Mine: good day" in chat.say("/prompt mine good day")
    chat.type("/exit\r")
    assert chat.wait() == 0 and asked("work") == ["Mine: good day"]


@pytest.mark.usefixtures("review")
def test_a_prompt_that_cannot_be_sent_is_explained(chat_on_terminal):
    """Unknown names, missing variables, a text too many; the chat goes on."""
    chat = chat_on_terminal("--no-save")
    chat.prompt()
    assert "/prompt needs an argument" in chat.say("/prompt")
    assert "no prompt called revue" in (shown := chat.say("/prompt revue")) and "review" in shown
    assert "no prompt called translate" in chat.say("/prompt translate x")
    assert "review: missing variables: text Try: /prompt review text=..." in chat.say("/prompt review")
    assert "the prompt email takes no text" in chat.say("/prompt email topic=x text=a b")
    chat.type("/exit\r")
    assert chat.wait() == 0


@pytest.mark.usefixtures("review")
def test_tab_completes_commands_and_their_arguments(chat_on_terminal, llm, tmp_path):
    """Commands, files, models, prompts and saved chats."""
    llm("chat", "--session", "invoices", stdin=b"x\n")
    (tmp_path / "weather.txt").write_text("rain")
    chat = chat_on_terminal("--no-save")
    chat.prompt()
    for typed, shown in (
        ("/tok\t", "tokens of the context"),
        ("/file wea\t", "weather.txt goes with your next message"),
        ("/prompt rev\t good", "Review this formal text: good"),
        ("/load inv\t", "Continuing invoices"),
    ):
        assert shown in chat.say(typed), typed
    chat.type("/model smollm2-1\t\r")
    chat.child.expect(r"smollm2-135m \(98.4 MB\) is not on this machine. Download it")
    assert "llm models pull smollm2-135m" in chat.say("n")
    chat.type("/exit\r")
    assert chat.wait() == 0
