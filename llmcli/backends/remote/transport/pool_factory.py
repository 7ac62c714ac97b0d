"""Connection pools of httpcore2: their certificates and their proxy."""

from __future__ import annotations

import ssl
from contextlib import suppress

import httpcore2

from llmcli.backends.remote.transport.proxies import Proxy


def make_pool(
    network: httpcore2.NetworkBackend, proxy: Proxy | None, *, is_encrypted: bool
) -> httpcore2.ConnectionPool:
    """Return a pool that connects through ``network`` and ``proxy``; ``is_encrypted``: its servers use TLS."""
    tls = _create_tls_context() if is_encrypted or (proxy is not None and proxy.is_encrypted) else None
    return httpcore2.ConnectionPool(
        ssl_context=tls,
        proxy=_pool_proxy(proxy, tls) if proxy else None,
        max_connections=None,
        network_backend=network,
    )


def network_errors(proxy: Proxy | None) -> tuple[type[Exception], ...]:
    """Return the errors of sockets, TLS, and what a server or proxy sent."""
    errors = (OSError, httpcore2.RemoteProtocolError, httpcore2.ProxyError)
    if proxy is None or not proxy.is_socks:
        return errors
    import socksio

    return (*errors, socksio.ProtocolError)


def _create_tls_context() -> ssl.SSLContext:
    """Return a context that trusts the system's certificates, or those of ``SSL_CERT_FILE`` and ``SSL_CERT_DIR``."""
    tls = ssl.create_default_context()
    paths = ssl.get_default_verify_paths()
    if paths.cafile is None and paths.capath is None:  # this Python does not know the system's certificates
        with suppress(ImportError):
            import certifi

            tls.load_verify_locations(certifi.where())
    return tls


def _pool_proxy(proxy: Proxy, tls: ssl.SSLContext | None) -> httpcore2.Proxy:
    """Return the proxy as the connection pool takes it."""
    name, password = proxy.credentials or ("", "")
    return httpcore2.Proxy(
        httpcore2.URL(scheme=proxy.scheme, host=proxy.host, port=proxy.port, target="/"),
        auth=(name.encode(), password.encode()) if proxy.credentials else None,
        ssl_context=tls if proxy.is_encrypted else None,
    )
