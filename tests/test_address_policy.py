"""Addresses of this machine and of private networks are not public, however they are written."""

from __future__ import annotations

import pytest
from row_table import all_rows

from llmcli.errors import AccessDenied
from llmcli.page_fetcher import check_addresses, is_public


@all_rows(
    "address",
    [
        "127.0.0.1",
        "127.8.8.8",
        "0.0.0.0",
        "10.1.2.3",
        "172.16.0.1",
        "192.168.1.1",
        "169.254.169.254",
        "100.64.0.1",
        "192.0.2.1",
        "198.18.0.1",
        "224.0.0.1",
        "224.0.1.1",
        "240.0.0.1",
        "255.255.255.255",
        "::",
        "::1",
        "::7f00:1",
        "fe80::1",
        "fe80::1%eth0",
        "fec0::1",
        "fc00::1",
        "ff02::1",
        "2001:db8::1",
        "::ffff:127.0.0.1",
        "::ffff:10.0.0.1",
        "64:ff9b::127.0.0.1",
        "64:ff9b::a9fe:a9fe",
        "2002:7f00:1::",
        "2001:0:7f00:1::",
    ],
)
def test_private_addresses(address):
    """Loopback, private, link-local, shared, reserved and multicast; IPv4 inside IPv6 as well."""
    assert not is_public(address)


@pytest.mark.parametrize(
    "address", ["93.184.215.14", "8.8.8.8", "2606:4700::1111", "::ffff:8.8.8.8", "64:ff9b::808:808"]
)
def test_public_addresses(address):
    """Those of the internet."""
    assert is_public(address)


def test_one_private_address_of_several_is_refused():
    """A name may have both; which one would be used is left to chance otherwise."""
    check_addresses("https://a.b/", "a.b", ["8.8.8.8"])
    with pytest.raises(AccessDenied) as refused:
        check_addresses("https://a.b/", "a.b", ["8.8.8.8", "10.0.0.1"])
    assert "10.0.0.1" in refused.value.detail
