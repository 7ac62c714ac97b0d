"""Servers as the configuration describes them."""

from __future__ import annotations

import pytest

from llmcli.config.backend_config import ServerConfig, make_server_config, parse_backends


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


def test_several_servers_are_members():
    """With everything but the address in common; results that are kept name the backend, since servers come and go."""
    described = parse_backends({"farm": {"type": "openai", "base_urls": ["http://a", "http://b/x/"], "timeout": 3}})
    server = make_server_config("farm", described["farm"])
    assert [(each.base_url, each.name, each.timeout, each.members) for each in server.members] == [
        (url, "farm", 3.0, (each,)) for url, each in zip(("http://a/v1", "http://b/x"), server.members, strict=True)
    ]
    assert (server.label, server.identity) == ("farm (2 servers)", "farm")
    assert server.members[0].label == "farm (http://a)" and server.origin == "http://a, http://b"


@pytest.mark.parametrize(
    ("urls", "here"),
    [(["http://localhost:1", "http://127.0.0.1:2"], True), (["http://localhost:1", "http://b"], False)],
)
def test_several_servers_are_here_if_all_are(urls, here):
    """Otherwise data may leave this machine."""
    described = parse_backends({"farm": {"type": "openai", "base_urls": urls}})
    assert make_server_config("farm", described["farm"]).is_loopback == here


def test_other_protocols_have_no_usual_path():
    """Their addresses are complete."""
    described = parse_backends({"farm": {"type": "anthropic", "base_urls": ["http://a"]}})
    assert described["farm"]["base_urls"] == ["http://a"]


@pytest.mark.parametrize("urls", ["http://a", [], [1], ["http://a", "ftp://b"]])
def test_addresses_are_a_list(urls):
    """Each of them an address."""
    with pytest.raises(ValueError, match=r"^farm\.base_urls: expected"):
        parse_backends({"farm": {"type": "openai", "base_urls": urls}})
