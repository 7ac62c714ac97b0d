"""What is known of a server from its configuration."""

from __future__ import annotations

import pytest

from llmcli.backend_config import ServerConfig


@pytest.mark.parametrize(
    ("url", "here"),
    [
        ("http://localhost:1/v1", True),
        ("http://127.9.9.9/v1", True),
        ("http://[::1]:80/v1", True),
        ("http://a.localhost/v1", True),
        ("http://localhost.evil.com/v1", False),
        ("http://127.0.0.1.evil.com/v1", False),
        ("http://0.0.0.0/v1", False),
        ("http://10.0.0.1/v1", False),
    ],
)
def test_what_this_machine_is(url, here):
    """Names that only look like it are others."""
    assert ServerConfig(url).is_loopback == here
