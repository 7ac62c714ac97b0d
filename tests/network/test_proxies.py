"""The proxy that a server is reached through."""

from __future__ import annotations

import pytest

from llmcli.errors import ConfigError
from llmcli.network.proxies import find_proxy


@pytest.mark.parametrize(
    ("environ", "found"),
    [
        ({}, None),
        ({"HTTPS_PROXY": "http://p:3128"}, ("p", 3128)),
        ({"https_proxy": "p:3128", "HTTPS_PROXY": "http://q:1"}, ("p", 3128)),
        ({"ALL_PROXY": "http://p"}, ("p", 80)),
        ({"ALL_PROXY": "https://p"}, ("p", 443)),
        ({"ALL_PROXY": "socks5://p"}, ("p", 1080)),
        ({"ALL_PROXY": "socks5h://user:word@p:1081"}, ("p", 1081)),
        ({"HTTP_PROXY": "http://p:3128"}, None),
        ({"HTTPS_PROXY": "http://p:3128", "NO_PROXY": "example.com"}, None),
        ({"HTTPS_PROXY": "http://p:3128", "NO_PROXY": ".example.com, x"}, None),
        ({"HTTPS_PROXY": "http://p:3128", "NO_PROXY": "*"}, None),
        ({"HTTPS_PROXY": "http://p:3128", "NO_PROXY": "ample.com"}, ("p", 3128)),
        ({"HTTPS_PROXY": "http://p:3128", "NO_PROXY": "api.example.com:8443"}, ("p", 3128)),
    ],
)
def test_the_proxy_of_the_environment(environ, found):
    """With curl's rules."""
    proxy = find_proxy("https://api.example.com/v1", environ)
    assert (proxy and (proxy.host, proxy.port)) == found
    assert find_proxy("https://localhost/v1", environ) is None


def test_an_unsupported_proxy_is_refused():
    """78 instead of bypassing it."""
    with pytest.raises(ConfigError):
        find_proxy("https://api.example.com/v1", {"ALL_PROXY": "socks4://p:1080"})
