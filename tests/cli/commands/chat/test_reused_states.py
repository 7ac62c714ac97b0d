"""The tokens that a chat evaluates, with a tiny model in the real engine."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import pytest


@pytest.fixture
def say(process):
    """Send messages in one run of ``llm chat``, in a process of its own; return the usages of the answers."""

    def run(*messages):
        argv = ("chat", "--session", "work", "--json", "--seed", "1", "--max-tokens", "8")
        child = process(*argv, stdin=subprocess.PIPE)
        out, err = child.communicate("".join(f"{message}\n" for message in messages).encode())
        assert (child.returncode, err) == (0, b"")
        return [json.loads(line)["usage"] for line in out.splitlines()]

    return run


def test_a_later_turn_evaluates_no_earlier_prompt_again(say):
    """While the chat runs, and after it was ended and continued: the evaluated state lies on the disk then.

    The answer may have other tokens as a part of the prompt, since these weights are random.
    """
    first, second = say("word " * 60, "And which came last?")
    (third,) = say("And which came first?")
    assert first["cached_tokens"] == 0 and first["prompt_tokens"] > 60
    assert second["cached_tokens"] >= first["prompt_tokens"] and third["cached_tokens"] >= second["prompt_tokens"]


def test_a_chat_without_its_state_is_evaluated_again(say):
    """A state that is damaged is not used, and nothing is said of it."""
    (first,) = say("word " * 60)
    for path in Path(os.environ["LLMCLI_CACHE_DIR"]).rglob("*"):
        if path.is_file():
            os.truncate(path, 10)
    (second,) = say("And which came last?")
    assert second["cached_tokens"] == 0 and second["prompt_tokens"] > first["prompt_tokens"]
