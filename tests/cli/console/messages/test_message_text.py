"""The building blocks of messages."""

from __future__ import annotations

from llmcli.cli.console.messages.message_text import suggest_names


def test_a_name_is_suggested_once():
    """Several workers may run one model."""
    assert suggest_names(("smollm2-135m", "smollm2-135m", "other")) == "Did you mean smollm2-135m, other?"
    assert suggest_names(()) == ""
