"""Opening connections: through the proxy of the environment, with the certificates of the system.

A pool of httpcore2 is what servers and pages use. ``HttpTransport`` puts it under httpx2, whose redirects and responses
the Hub's client and engine packages need.
"""

from __future__ import annotations

import os
import ssl
import threading
from collections.abc import Iterator, Mapping

import httpcore2
import httpx2

from llmcli.errors import ConfigError
from llmcli.network.cancellation import CancellableNetwork, CancelToken, Exchange
from llmcli.network.failures import (
    PROXY_AUTH_REQUIRED,
    ConnectionFailure,
    classify_tunnel_status,
    raise_connection_failures,
)
from llmcli.network.proxies import Proxy, find_proxy

_DEFAULT_TIMEOUT_S = 20.0
CALL_EXTENSION = "llmcli.call"
"""The extension of a request that holds its ``CancelToken``."""


def create_tls_context() -> ssl.SSLContext:
    """Return a context that trusts the system's certificates, or those of ``SSL_CERT_FILE`` or ``SSL_CERT_DIR``.

    Raises ``ConfigError`` for a file or directory of certificates that cannot be read.
    """
    try:
        return httpcore2.default_ssl_context()
    except OSError as error:  # also of a file that has no certificates
        name = "SSL_CERT_FILE" if os.environ.get("SSL_CERT_FILE") else "SSL_CERT_DIR"
        detail = f"no certificates can be read from {os.environ.get(name, '')}"
        raise ConfigError(name, origin="environment", detail=detail) from error


def make_pool(
    network: httpcore2.NetworkBackend, proxy: Proxy | None, *, is_encrypted: bool
) -> httpcore2.ConnectionPool:
    """Return a pool that connects through ``network`` and ``proxy``; ``is_encrypted``: its servers use TLS.

    Raises as ``create_tls_context``.
    """
    tls = create_tls_context() if is_encrypted or (proxy is not None and proxy.is_encrypted) else None
    return httpcore2.ConnectionPool(
        ssl_context=tls,
        proxy=_pool_proxy(proxy, tls) if proxy else None,
        max_connections=None,
        network_backend=network,
    )


def _pool_proxy(proxy: Proxy, tls: ssl.SSLContext | None) -> httpcore2.Proxy:
    """Return the proxy as the connection pool takes it."""
    name, password = proxy.credentials or ("", "")
    return httpcore2.Proxy(
        httpcore2.URL(scheme=proxy.scheme, host=proxy.host, port=proxy.port, target="/"),
        auth=(name.encode(), password.encode()) if proxy.credentials else None,
        ssl_context=tls if proxy.is_encrypted else None,
    )


class _ResponseStream(httpx2.SyncByteStream):
    """The body of a response, whose failures are ``ConnectionFailure``."""

    def __init__(self, response: httpcore2.Response, exchange: Exchange, proxy: Proxy | None, origin: str) -> None:
        self._response = response
        self._exchange = exchange
        self._proxy = proxy
        self._origin = origin

    def __iter__(self) -> Iterator[bytes]:
        with raise_connection_failures(self._exchange, self._proxy, self._origin):
            yield from self._response.iter_stream()

    def close(self) -> None:
        self._response.close()


class HttpTransport(httpx2.BaseTransport):
    """Sends the requests of httpx2. Its failures are ``ConnectionFailure`` and ``ConfigError``."""

    def __init__(self, environ: Mapping[str, str]) -> None:
        """``environ`` may name proxies."""
        self._environ = environ
        self._network = CancellableNetwork()
        self._pools: dict[tuple[Proxy | None, bool], httpcore2.ConnectionPool] = {}
        self._lock = threading.Lock()

    def handle_request(self, request: httpx2.Request) -> httpx2.Response:
        url, timeouts = request.url, request.extensions.get("timeout", {})
        if url.scheme not in {"http", "https"}:
            raise httpx2.UnsupportedProtocol(f"{str(url)!r} does not begin with http:// or https://")
        origin = f"{url.scheme}://{url.netloc.decode('ascii')}"
        proxy = find_proxy(origin, self._environ)
        exchange = self._network.exchange = Exchange(
            request.extensions.get(CALL_EXTENSION) or CancelToken(),
            timeouts.get("connect") or _DEFAULT_TIMEOUT_S,
            timeouts.get("read") or _DEFAULT_TIMEOUT_S,
        )
        sent = httpcore2.Request(
            request.method,
            httpcore2.URL(scheme=url.raw_scheme, host=url.raw_host, port=url.port, target=url.raw_path),
            headers=request.headers.raw,
            content=request.stream,
            extensions={"trace": exchange.trace},
        )
        with raise_connection_failures(exchange, proxy, origin):
            response = self._open_pool(proxy, is_encrypted=url.scheme == "https").handle_request(sent)
        if response.status == PROXY_AUTH_REQUIRED and proxy is not None:  # of a request without a tunnel
            response.close()
            raise ConnectionFailure(classify_tunnel_status(proxy, response.status), origin, has_answered=False)
        stream = _ResponseStream(response, exchange, proxy, origin)
        return httpx2.Response(response.status, headers=response.headers, stream=stream, extensions=response.extensions)

    def close(self) -> None:
        for pool in self._pools.values():
            pool.close()

    def _open_pool(self, proxy: Proxy | None, *, is_encrypted: bool) -> httpcore2.ConnectionPool:
        with self._lock:
            key = (proxy, is_encrypted)
            if key not in self._pools:
                self._pools[key] = make_pool(self._network, proxy, is_encrypted=is_encrypted)
            return self._pools[key]


def open_client(environ: Mapping[str, str], *, connect_timeout_s: float, read_timeout_s: float) -> httpx2.Client:
    """Return a client that follows redirects; ``environ`` may name proxies.

    A request with a ``CancelToken`` as the extension ``CALL_EXTENSION`` ends when that is cancelled.
    """
    return httpx2.Client(
        transport=HttpTransport(environ),
        follow_redirects=True,
        timeout=httpx2.Timeout(read_timeout_s, connect=connect_timeout_s),
        trust_env=False,
    )
