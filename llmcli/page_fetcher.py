"""Fetches one page over HTTP, within limits, from an address that was checked.

Each redirect is a request of its own, with its own check. The connection goes to the IP address that was checked; TLS
and the Host field have the name. A proxy of the environment resolves the name by itself; then a name is checked only if
it can be resolved here as well.
"""

from __future__ import annotations

import ipaddress
import socket
import time
import zlib
from collections.abc import Iterator, Mapping
from contextlib import suppress
from urllib.parse import quote, urljoin, urlsplit

import httpcore2

from llmcli import __version__
from llmcli.errors import AccessDenied, BadDocument, LlmError, MissingError, RemoteError, UsageError
from llmcli.errors.network_errors import PageUnavailable, UntrustedPage
from llmcli.fast_dataclass import frozen
from llmcli.network.cancellation import CancellableNetwork, CancelToken, DeadlineExceeded, Exchange
from llmcli.network.connections import make_pool
from llmcli.network.failures import (
    PROXY_AUTH_REQUIRED,
    FailureErrors,
    classify_failure,
    classify_tunnel_status,
    network_errors,
)
from llmcli.network.proxies import find_proxy
from llmcli.network.retry_policy import RetryCounter, RetryPolicy, parse_retry_after
from llmcli.network.statuses import is_denied_status, is_missing_status, is_temporary_status

_PORTS = {"http": 80, "https": 443}
_SAFE = "/%:=&?~#+!$,;'@()*[]|-._"
"""Characters that stay as they are in a path or query; others are percent-encoded."""


@frozen
class WebAddress:
    """An address without its fragment. ``host`` is ASCII in lower case; ``target`` is path and query."""

    scheme: str
    host: str
    port: int
    target: str

    @property
    def netloc(self) -> str:
        """Host and port as the Host field has them: no default port."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == _PORTS[self.scheme] else f"{host}:{self.port}"

    @property
    def origin(self) -> str:
        """Scheme, host and port."""
        return f"{self.scheme}://{self.netloc}"

    @property
    def url(self) -> str:
        """The whole address."""
        return self.origin + self.target

    def redirect(self, location: str) -> WebAddress:
        """Return the address that a redirect from here names. Raises ``UsageError`` for none that is of the web."""
        return parse_web_address(urljoin(self.url, location.strip()))


def parse_web_address(text: str) -> WebAddress:
    """Return a web address. Raises ``UsageError`` for a malformed one, and one with a user name or password."""
    problem = f"{text!r} is no web address"
    try:
        parts = urlsplit(text)
        port = parts.port
        host = _encode_host(parts.hostname or "")
    except ValueError as error:
        raise UsageError(problem, detail="Write it as https://HOST/PATH") from error
    if parts.scheme not in _PORTS or not host or port == 0:
        raise UsageError(problem, detail="Write it as https://HOST/PATH")
    if "@" in parts.netloc:
        raise UsageError("a web address with a user name or password is not read", detail="Save the page as a file.")
    target = quote(parts.path or "/", safe=_SAFE) + (f"?{quote(parts.query, safe=_SAFE)}" if parts.query else "")
    return WebAddress(parts.scheme, host, port or _PORTS[parts.scheme], target)


def _encode_host(host: str) -> str:
    """Return a host name in ASCII. Raises ``ValueError`` for one that cannot be encoded."""
    encoded = host if host.isascii() else host.encode("idna").decode("ascii")
    if not encoded.isprintable() or any(each in encoded for each in " /\\?#@<>"):
        raise ValueError(host)
    return encoded.lower()


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


def _resolve_host(host: str, port: int) -> list[str]:
    """Return the IP addresses of a host. Raises ``OSError`` for an unknown one."""
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(entry[4][0]) for entry in found))


def check_addresses(subject: str, host: str, addresses: list[str]) -> None:
    """Raise ``AccessDenied`` if one of the addresses of ``host`` is not public."""
    for address in addresses:
        if not is_public(address):
            leads = address if address == host else f"{host} is {address}"
            raise AccessDenied(
                subject,
                detail=f"{leads}, which is not a public address",
                message="{subject} is not read: {detail}",
                advice="To allow it: LLMCLI_WEB_ALLOW_PRIVATE=on, or llm config set web.allow_private on",
                type_name="PrivateAddress",
            )


RETRY_POLICY = RetryPolicy(max_tries=3)
"""Somebody waits for the page."""
_ERRORS = FailureErrors(PageUnavailable, PageUnavailable, PageUnavailable, UntrustedPage)
MAX_PAGE_BYTES = 32 << 20
_FETCH_TIMEOUT_S = 60.0
"""Seconds for a page with all its redirects."""
_CONNECT_TIMEOUT_S = 10.0
MAX_REDIRECTS = 5
_SILENCE_TIMEOUT_S = 20.0
_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_OK = 200
_CODINGS = frozenset({"gzip", "x-gzip", "deflate"})
_ANY_ZLIB = 32 + zlib.MAX_WBITS
"""The header of gzip or of zlib."""
_ACCEPTED = "text/html, application/xhtml+xml, text/plain, text/markdown, application/pdf, */*;q=0.5"


@frozen
class FetchedPage:
    """The page that ``address`` answered with, after redirects; ``media_type`` and ``charset`` are "" if unknown."""

    address: WebAddress
    media_type: str
    charset: str
    data: bytes


class PageFetcher:
    """Fetches pages. ``allows_private``: also from this machine and private networks."""

    def __init__(
        self,
        environ: Mapping[str, str],
        *,
        allows_private: bool = False,
        timeout: float = _FETCH_TIMEOUT_S,
        retry_policy: RetryPolicy | None = None,
    ) -> None:
        """``environ`` may name a proxy; ``timeout``: seconds for a page, with all attempts and redirects."""
        self._environ = environ
        self._allows_private = allows_private
        self._timeout = timeout
        self._call = CancelToken()
        self._retry_policy = retry_policy or RETRY_POLICY

    def fetch(self, name: str) -> FetchedPage:
        """Return the page at a web address.

        Raises ``UsageError`` (no web address), ``AccessDenied``, ``MissingError``, ``PageUnavailable`` (no connection,
        5xx, the time limit), ``UntrustedPage``, ``RemoteError``, ``BadDocument`` (too large) and ``Cancelled``.
        """
        address = parse_web_address(name)
        self._call.deadline = time.monotonic() + self._timeout
        for _ in range(MAX_REDIRECTS + 1):
            found = self._send(
                _PageRequest(name, address, self._call, self._environ, allows_private=self._allows_private)
            )
            if isinstance(found, FetchedPage):
                return found
            address = found
        raise RemoteError(name, detail=f"more than {MAX_REDIRECTS} redirects")

    def cancel(self) -> None:
        """End a fetch that runs in another thread, which then raises ``Cancelled``."""
        self._call.cancel()

    def _send(self, request: _PageRequest) -> FetchedPage | WebAddress:
        """Send a request, again after a failure that may pass, unless the pause would exceed the time for the page."""
        retries = RetryCounter(self._retry_policy, request.call.sleep)
        while True:
            try:
                return request.send()
            except PageUnavailable as error:
                retries.wait_or_raise(error, longest=request.call.remaining)


class _PageRequest:
    """One request of ``address`` for the page that the user named ``name``."""

    def __init__(
        self, name: str, address: WebAddress, call: CancelToken, environ: Mapping[str, str], *, allows_private: bool
    ) -> None:
        self._name = name
        self._address = address
        self.call = call
        self._proxy = find_proxy(address.origin, environ)
        self._allows_private = allows_private

    def send(self) -> FetchedPage | WebAddress:
        """Return the page, or the address to which it redirects."""
        network = CancellableNetwork(None if self._proxy else self._connect)
        network.exchange = exchange = Exchange(self.call, _CONNECT_TIMEOUT_S, _SILENCE_TIMEOUT_S)
        try:
            if self._proxy is not None:
                self._check_behind_proxy()
            with make_pool(network, self._proxy, is_encrypted=self._address.scheme == "https") as pool:
                response = pool.handle_request(self._request(exchange))
                try:
                    if response.status == PROXY_AUTH_REQUIRED and self._proxy is not None:
                        raise classify_tunnel_status(self._proxy, response.status).make_error(self._name, _ERRORS)
                    return self._read(response)
                finally:
                    self.call.attach_socket(None)
                    response.close()
        except DeadlineExceeded as error:
            raise self._late_error() from error
        except network_errors(self._proxy) as error:
            if self.call.remaining == 0:
                raise self._late_error() from error
            raise classify_failure(error, exchange, self._proxy).make_error(self._name, _ERRORS) from error
        finally:
            if exchange.stream is not None:
                exchange.stream.close()

    def _late_error(self) -> PageUnavailable:
        return PageUnavailable(self._name, detail="the page did not arrive in time")

    def _connect(self, host: str, port: int, timeout: float) -> httpcore2.NetworkStream:
        """Connect to a checked address of ``host``: the first one that answers."""
        addresses = _resolve_host(host, port)
        if not self._allows_private:
            check_addresses(self._name, host, addresses)
        failure: Exception = OSError("it has no address")
        for address in addresses:
            try:
                return httpcore2.SyncBackend().connect_tcp(address, port, timeout, socket_options=[])
            except (httpcore2.ConnectError, httpcore2.ConnectTimeout) as error:
                failure = error
        raise failure

    def _check_behind_proxy(self) -> None:
        if not self._allows_private:
            with suppress(OSError):  # a name that only the proxy knows
                check_addresses(self._name, self._address.host, _resolve_host(self._address.host, self._address.port))

    def _request(self, exchange: Exchange) -> httpcore2.Request:
        address = self._address
        url = httpcore2.URL(scheme=address.scheme, host=address.host, port=address.port, target=address.target)
        fields = {
            "Host": address.netloc,
            "User-Agent": f"llmcli/{__version__}",
            "Accept": _ACCEPTED,
            "Accept-Encoding": "gzip",
            "Connection": "close",
        }
        return httpcore2.Request("GET", url, headers=list(fields.items()), extensions={"trace": exchange.trace})

    def _read(self, response: httpcore2.Response) -> FetchedPage | WebAddress:
        fields = {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in response.headers}
        if response.status in _REDIRECTS and "location" in fields:
            return self._redirect(fields["location"])
        if response.status != _OK:
            raise self._status_error(response.status, fields)
        coding = fields.get("content-encoding", "identity").strip().lower() or "identity"
        if coding not in {"identity", *_CODINGS}:
            raise RemoteError(self._name, detail=f"a content coding that llm did not request ({coding[:40]})")
        blocks = response.iter_stream()
        data = self._collect(blocks if coding == "identity" else _decompress(blocks))
        media_type, _, parameters = fields.get("content-type", "").partition(";")
        return FetchedPage(self._address, media_type.strip().lower(), _find_charset(parameters), data)

    def _collect(self, blocks: Iterator[bytes]) -> bytes:
        data = bytearray()
        try:
            for block in blocks:
                data += block
                if len(data) > MAX_PAGE_BYTES:
                    raise BadDocument(self._name, detail=f"it is larger than {MAX_PAGE_BYTES >> 20} MiB")
        except zlib.error as error:
            raise RemoteError(self._name, detail=f"its compressed content is damaged ({error})") from error
        return bytes(data)

    def _redirect(self, location: str) -> WebAddress:
        try:
            address = self._address.redirect(location)
        except UsageError as error:
            raise UntrustedPage(self._name, detail=f"it redirects to {location[:200]!r}, no web address") from error
        if self._address.scheme == "https" and address.scheme != "https":
            raise UntrustedPage(self._name, detail=f"it redirects to {address.origin}, which is not encrypted")
        return address

    def _status_error(self, status: int, fields: Mapping[str, str]) -> LlmError:
        """Return the error for a status; ``fields`` of the header have lower-case names."""
        where = "" if self._address.url == self._name else f" of {self._address.url}"
        detail = f"HTTP status {status}{where}"
        if is_missing_status(status):
            return MissingError(
                self._name,
                kind="page",
                detail=detail,
                message="cannot read {subject}: {detail}",
                advice="Check the address.",
                type_name="PageMissing",
            )
        if is_denied_status(status):
            return AccessDenied(
                self._name,
                detail=detail,
                message="no access to {subject}: {detail}",
                advice="If you can see the page in a browser, save it as a file and name that.",
                type_name="PageDenied",
            )
        if is_temporary_status(status):
            return PageUnavailable(self._name, retry_after=parse_retry_after(fields), detail=detail)
        return RemoteError(self._name, detail=detail)


def _decompress(blocks: Iterator[bytes]) -> Iterator[bytes]:
    """Yield decompressed content in small pieces, so that little data cannot become very much at once."""
    stream = zlib.decompressobj(_ANY_ZLIB)
    for block in blocks:
        waiting = block
        while waiting and not stream.eof:
            yield stream.decompress(waiting, 1 << 20)
            waiting = stream.unconsumed_tail


def _find_charset(parameters: str) -> str:
    """Return the value of ``charset`` among the parameters of a media type."""
    for parameter in parameters.split(";"):
        key, _, value = parameter.partition("=")
        if key.strip().lower() == "charset":
            return value.strip().strip("\"'").lower()
    return ""
