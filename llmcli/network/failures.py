"""The failures of connections, and our errors for them: the same for the Hub, packages, servers and pages."""

from __future__ import annotations

import enum
import re
import socket
import ssl
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import NamedTuple

import httpcore2

from llmcli.errors import LlmError, RemoteError, TemporaryFailure, Unauthorized, UntrustedServer
from llmcli.fast_dataclass import frozen
from llmcli.network.cancellation import Exchange
from llmcli.network.proxies import Proxy
from llmcli.network.statuses import is_temporary_status

_PROXY_FORBIDDEN = 403
PROXY_AUTH_REQUIRED = 407
_PROXY_DENIALS = {
    _PROXY_FORBIDDEN: "it does not allow connections to that host",
    PROXY_AUTH_REQUIRED: "it does not accept the user name and password",
}
_QUOTED_BYTES = re.compile(r"bytearray\(b(.{0,100}).*\)")  # h11's message for a response that is not HTTP
_MAX_PROTOCOL_DETAIL_CHARS = 160


class FailureKind(enum.Enum):
    """What failed: the connection, proof of identity, a server that went silent, a connection that broke, HTTP."""

    UNREACHABLE = enum.auto()
    REFUSED = enum.auto()
    """Nothing listens at the address of the server."""
    UNTRUSTED = enum.auto()
    DENIED_BY_PROXY = enum.auto()
    STALLED = enum.auto()
    BROKEN = enum.auto()
    NOT_HTTP = enum.auto()


class FailureErrors(NamedTuple):
    """The errors of one client: each is called with a subject and ``detail=``."""

    unreachable: Callable[..., LlmError]
    stalled: Callable[..., LlmError]
    broken: Callable[..., LlmError] = TemporaryFailure
    untrusted: Callable[..., LlmError] = UntrustedServer
    not_http: Callable[..., LlmError] = RemoteError


@frozen
class NetworkFailure:
    """A failure and why; ``proxy``: the one that denied a connection."""

    kind: FailureKind
    detail: str
    proxy: Proxy | None = None

    def make_error(self, subject: str, errors: FailureErrors, *, where: str = "") -> LlmError:
        """Return our error about ``subject``; ``where`` names the server if the subject does not."""
        if self.kind is FailureKind.DENIED_BY_PROXY and self.proxy is not None:
            return Unauthorized(self.proxy.label, key=self.proxy.origin, detail=self.detail)
        make = {
            FailureKind.UNTRUSTED: errors.untrusted,
            FailureKind.STALLED: errors.stalled,
            FailureKind.BROKEN: errors.broken,
            FailureKind.NOT_HTTP: errors.not_http,
        }.get(self.kind, errors.unreachable)
        return make(subject, detail=f"{where}: {self.detail}" if where else self.detail)


class ConnectionFailure(Exception):
    """Carries a ``NetworkFailure`` of the server ``origin`` through a library that knows nothing about it.

    ``has_answered``: the server had sent something.
    """

    def __init__(self, failure: NetworkFailure, origin: str, *, has_answered: bool) -> None:
        super().__init__(failure.detail)
        self.failure = failure
        self.origin = origin
        self.has_answered = has_answered

    def make_error(self, subject: str, errors: FailureErrors) -> LlmError:
        """Return our error about ``subject``, which names the server."""
        return self.failure.make_error(subject, errors, where=self.origin)


def network_errors(proxy: Proxy | None) -> tuple[type[Exception], ...]:
    """Return the errors of sockets, TLS, and what a server or proxy sent."""
    errors = (OSError, httpcore2.RemoteProtocolError, httpcore2.ProxyError)
    if proxy is None or not proxy.is_socks:
        return errors
    import socksio

    return (*errors, socksio.ProtocolError)


@contextmanager
def raise_connection_failures(exchange: Exchange, proxy: Proxy | None, origin: str) -> Iterator[None]:
    """Raise ``ConnectionFailure`` for the errors of the network in the block."""
    try:
        yield
    except network_errors(proxy) as error:
        has_answered = exchange.is_connected and exchange.has_received
        failure = classify_failure(error, exchange, proxy)
        raise ConnectionFailure(failure, origin, has_answered=has_answered) from error


def classify_failure(error: Exception, exchange: Exchange, proxy: Proxy | None) -> NetworkFailure:
    """Return which failure ``error``, one of ``network_errors``, of an exchange through ``proxy`` is."""
    if isinstance(error, httpcore2.ProxyError) and proxy is not None:
        return _classify_proxy_error(proxy, str(error))
    if exchange.peer_closed and not exchange.is_connected and not isinstance(error, OSError):
        return NetworkFailure(FailureKind.UNREACHABLE, "Remote end closed connection without response")
    if isinstance(error, ssl.SSLError) and not isinstance(error, ssl.SSLEOFError | ssl.SSLZeroReturnError):
        return NetworkFailure(FailureKind.UNTRUSTED, _describe_tls_error(error))
    if isinstance(error, OSError):
        return _classify_os_error(error, exchange, proxy)
    if not isinstance(error, httpcore2.RemoteProtocolError):
        label = f"{proxy.label}: " if proxy else ""
        return NetworkFailure(FailureKind.NOT_HTTP, f"{label}its response is not SOCKS5")
    return _classify_protocol_error(error, exchange)


def _describe_tls_error(error: ssl.SSLError) -> str:
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"its certificate cannot be verified: {error.verify_message}"
    return f"TLS failed: {error.reason or error}"


def _classify_protocol_error(error: httpcore2.RemoteProtocolError, exchange: Exchange) -> NetworkFailure:
    if exchange.peer_closed:
        return NetworkFailure(FailureKind.BROKEN, "the connection broke")
    said = _QUOTED_BYTES.sub(r"\1", str(error))[:_MAX_PROTOCOL_DETAIL_CHARS] or type(error).__name__
    return NetworkFailure(FailureKind.NOT_HTTP, f"its response is not HTTP ({said})")


def _classify_os_error(error: OSError, exchange: Exchange, proxy: Proxy | None) -> NetworkFailure:
    is_late = isinstance(error, TimeoutError)
    if exchange.is_connected:
        if is_late:
            return NetworkFailure(FailureKind.STALLED, f"it sent nothing for {exchange.timeout:g} seconds")
        said = "" if isinstance(error, ssl.SSLError) else error.strerror  # its text names a line of OpenSSL
        return NetworkFailure(FailureKind.BROKEN, said or "the connection broke")
    if isinstance(error, ssl.SSLError):  # something answered
        return NetworkFailure(FailureKind.BROKEN, "the connection broke")
    if isinstance(error, socket.gaierror):
        detail = f"its name cannot be resolved ({error.strerror})"
    elif is_late:
        detail = f"no connection within {exchange.connect_timeout:g} seconds"
    else:
        detail = error.strerror or str(error)
    is_refused = isinstance(error, ConnectionRefusedError) and proxy is None
    if proxy is not None and exchange.stream is None:
        detail = f"{proxy.label}: {detail}"
    return NetworkFailure(FailureKind.REFUSED if is_refused else FailureKind.UNREACHABLE, detail)


def _classify_proxy_error(proxy: Proxy, said: str) -> NetworkFailure:
    """Return the failure of a proxy that refuses a connection."""
    if not proxy.is_socks:
        return classify_tunnel_status(proxy, int(said.split(maxsplit=1)[0]))
    if "password" in said or said.startswith("Requested"):
        return NetworkFailure(FailureKind.DENIED_BY_PROXY, _PROXY_DENIALS[PROXY_AUTH_REQUIRED], proxy)
    if "ruleset" in said:
        return NetworkFailure(FailureKind.DENIED_BY_PROXY, _PROXY_DENIALS[_PROXY_FORBIDDEN], proxy)
    reason = said.removeprefix("Proxy Server could not connect: ").rstrip(".")
    return NetworkFailure(FailureKind.UNREACHABLE, f"{proxy.label} cannot connect to it: {reason}")


def classify_tunnel_status(proxy: Proxy, status: int) -> NetworkFailure:
    """Return the failure of a proxy that refuses a tunnel with an HTTP status.

    Its message may repeat the password, so it is not shown.
    """
    if status in _PROXY_DENIALS:
        return NetworkFailure(FailureKind.DENIED_BY_PROXY, _PROXY_DENIALS[status], proxy)
    kind = FailureKind.UNREACHABLE if is_temporary_status(status) else FailureKind.NOT_HTTP
    return NetworkFailure(kind, f"{proxy.label} refused the connection: HTTP status {status}")
