"""Estimates of token counts are rather too high than too low."""

from __future__ import annotations

import pytest

from llmcli.backends.remote.remote_backend import estimate_tokens
from llmcli.types import Message, Request, Role


@pytest.mark.parametrize(
    ("text", "tokens"), [("", 24), ("word " * 70, 124), ("字" * 100, 124), ("é" * 10 + "x" * 35, 44)]
)
def test_characters_become_tokens(text, tokens):
    """3.5 characters of ASCII a token, one of any other, and some for each message and request."""
    assert estimate_tokens(Request("a", (Message(Role.USER, text),))) == tokens


def test_texts_to_embed_count():
    """All of them."""
    assert estimate_tokens(Request("a", (), embeds=("word " * 70, "字" * 100))) == 16 + 100 + 100
