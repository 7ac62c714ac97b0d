"""Keys are never shown."""

from __future__ import annotations

from llmcli.backends.remote.transport.api_keys import ApiKey


def test_a_key_is_not_in_its_repr():
    """No log of objects contains it."""
    key = ApiKey("secret", "VAR")
    assert "secret" not in repr(key) and key.redact("a secret!") == "a ***!"
