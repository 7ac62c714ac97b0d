"""Servers as the configuration describes them."""

from __future__ import annotations

import pytest

from llmcli.config.backend_config import ServerConfig


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
def test_addresses_of_this_machine(url, here):
    """Similar names mean other machines."""
    assert ServerConfig(url).is_loopback == here
