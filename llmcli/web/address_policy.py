"""Which IP addresses a page may come from: public ones, unless the user allows private ones.

Without this check, an address on the command line of a script could read pages of the machine itself, of its network, or
of a cloud's metadata service. A name is resolved once, and the connection goes to an address that was checked, so that a
second answer of the name server (DNS rebinding) changes nothing.
"""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Iterator

from llmcli.errors.network_errors import PrivateAddress

IPAddress = ipaddress.IPv4Address | ipaddress.IPv6Address
_NAT64 = ipaddress.ip_network("64:ff9b::/96")
_IPV4_COMPATIBLE = ipaddress.ip_network("::/96")
_IPV4_BITS = 0xFFFFFFFF


def is_public(text: str) -> bool:
    """Whether an IP address is one of the public internet; so must be an IPv4 address that is inside an IPv6 one."""
    address = ipaddress.ip_address(text)
    if isinstance(address, ipaddress.IPv6Address):
        embedded = list(_embedded_addresses(address))
        if embedded and not all(is_public(str(each)) for each in embedded):
            return False
        if address.ipv4_mapped is not None or address in _NAT64:
            return True
        if address.is_site_local or address in _IPV4_COMPATIBLE:
            return False
    return address.is_global and not (address.is_multicast or address.is_reserved or address.is_unspecified)


def _embedded_addresses(address: ipaddress.IPv6Address) -> Iterator[ipaddress.IPv4Address]:
    """Yield the IPv4 addresses to which packets for an IPv6 address may go."""
    if address.ipv4_mapped is not None:
        yield address.ipv4_mapped
    if address.sixtofour is not None:
        yield address.sixtofour
    if address.teredo is not None:
        yield from address.teredo
    if address in _NAT64:
        yield ipaddress.IPv4Address(int(address) & _IPV4_BITS)


def resolve_host(host: str, port: int) -> list[str]:
    """Return the IP addresses of a host. Raises ``OSError`` for an unknown one."""
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(entry[4][0]) for entry in found))


def check_addresses(subject: str, host: str, addresses: list[str]) -> None:
    """Raise ``PrivateAddress`` if one of the addresses of ``host`` is not public."""
    for address in addresses:
        if not is_public(address):
            leads = address if address == host else f"{host} is {address}"
            raise PrivateAddress(subject, detail=f"{leads}, which is not a public address")
