"""HTTP to one server: connections that are kept, time-outs, certificates, and our errors for all that goes wrong.

On the standard library's client: it never follows a redirect by itself, is quicker to import than others, and a call can
be ended by closing its socket.
"""

from __future__ import annotations

import http.client
import json
import re
import socket
import ssl
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from llmcli import __version__
from llmcli.backends.remote.call import Call, Ended
from llmcli.backends.remote.keys import Key
from llmcli.backends.remote.proxies import Proxy
from llmcli.backends.remote.refusals import not_json, refusal
from llmcli.errors import KeyRefused, LlmError, RemoteError, TryAgain, Untrusted
from llmcli.servers import Server, Unreachable

CONNECT = 10.0
"""Seconds to wait for a connection."""
_BLOCK = 1 << 16
_MOST = 16 << 20
"""Bytes of an answer that comes as a whole."""
_MOST_ERROR = 1 << 16
_DRAIN = 0.2
_OK = 200
_NO_TUNNEL = re.compile(r"Tunnel connection failed: ([0-9]+)")
_PROXY_DENIES = 407
_DENIED = {403: "it lets nobody through to there", _PROXY_DENIES: "it wants another name and password"}


@dataclass(frozen=True)
class Answer:
    """A success: its type of content, and its body as it comes."""

    kind: str
    body: http.client.HTTPResponse
    connection: http.client.HTTPConnection

    def blocks(self) -> Iterator[bytes]:
        """Yield the body as it comes."""
        while block := self.body.read1(_BLOCK):
            yield block

    def whole(self) -> bytes:
        """Return the body. Raises ``RemoteError`` for one that is too long."""
        body = self.body.read(_MOST + 1)
        if len(body) > _MOST:
            raise RemoteError(detail=f"an answer of more than {_MOST:,} bytes")
        if self.body.length:
            raise http.client.IncompleteRead(body)
        return body

    def drain(self) -> None:
        """Read what belongs to a body that has said its last word, so that the connection can be kept."""
        if self.connection.sock is not None:
            self.connection.sock.settimeout(_DRAIN)
        with suppress(OSError, http.client.HTTPException):  # then it is closed
            self.body.read(_BLOCK)


class Client:
    """Asks ``server``, with its key. Safe to use from several threads."""

    def __init__(self, server: Server, key: Key, proxy: Proxy | None) -> None:
        self.server = server
        self._key = key
        self._proxy = proxy
        self._idle: list[http.client.HTTPConnection] = []
        self._lock = threading.Lock()
        self._tls: ssl.SSLContext | None = None
        self._closed = False

    def close(self) -> None:
        """Close the connections that are kept."""
        with self._lock:
            self._closed = True
            idle, self._idle = self._idle, []
        for connection in idle:
            connection.close()

    def ask(self, call: Call, method: str, path: str, body: Any = None, *, root: bool = False) -> Any:
        """Return the JSON object that the server answers with. Raises as ``open``."""
        with self.open(call, method, path, body, root=root) as answer:
            return self.parsed(answer, answer.whole())

    def parsed(self, answer: Answer, body: bytes) -> Any:
        """Return the JSON object that is the body of an answer. Raises ``RemoteError``."""
        try:
            loaded = json.loads(body)
        except (ValueError, RecursionError) as error:
            page = "html" in answer.kind
            detail = "a web page came instead of an answer" if page else f"its answer is not JSON: {not_json(error)}"
            raise RemoteError(self.server.label, detail=detail) from error
        if not isinstance(loaded, dict):
            raise RemoteError(self.server.label, detail="its answer is no JSON object")
        return loaded

    @contextmanager
    def open(self, call: Call, method: str, path: str, body: Any = None, *, root: bool = False) -> Iterator[Answer]:
        """Ask for ``path`` below the address of the server, or with ``root`` below its host; yields a success.

        Raises ``TryAgain`` for what may pass, ``RemoteError``, what ``refusals.refusal`` returns, and ``Ended`` and
        ``Late``.
        """
        base = self.server.origin if root else self.server.base_url
        model = str(body.get("model", "")) if isinstance(body, Mapping) else ""
        data = None if body is None else json.dumps(body).encode()
        with self._translated(call):
            connection, response = self._exchange(call, method, base + path, data)
            try:
                if response.status == _PROXY_DENIES and self._proxy:
                    raise self._no_tunnel(self._proxy, response.status)
                if response.status != _OK:
                    headers = {name.lower(): value for name, value in response.getheaders()}
                    said = response.read(_MOST_ERROR)
                    raise refusal(self.server, self._key, model, response.status, headers=headers, body=said)
                coding = response.headers.get("content-encoding", "identity")
                if coding.strip().lower() not in {"", "identity"}:
                    raise RemoteError(self.server.label, detail=f"its answer is encoded ({coding[:40]}), unasked")
                yield Answer(response.headers.get_content_type(), response, connection)
            finally:
                call.watch(None)
                self._put(connection, response)

    def _exchange(
        self, call: Call, method: str, url: str, data: bytes | None
    ) -> tuple[http.client.HTTPConnection, http.client.HTTPResponse]:
        """Send a request, over a connection that was kept if there is one, and return what comes."""
        while True:
            call.check()
            with self._lock:
                connection = self._idle.pop() if self._idle else None
            fresh = connection is None
            connection = connection or self._connect(call)
            try:
                call.watch(connection.sock)
                connection.sock.settimeout(call.patience(self.server.timeout))
                connection.request(method, self._target(url), data, self._headers(data))
                return connection, connection.getresponse()
            except (ConnectionError, http.client.RemoteDisconnected):
                connection.close()
                call.check()
                if fresh:
                    raise
                # the server closed a connection that had been idle: that says nothing about this request
            except BaseException:
                connection.close()
                raise

    def _connect(self, call: Call) -> http.client.HTTPConnection:
        parts, proxy = urlsplit(self.server.base_url), self._proxy
        host, port = (proxy.host, proxy.port) if proxy else (parts.hostname or "", parts.port)
        timeout = call.patience(CONNECT)
        connection: http.client.HTTPConnection
        if self.server.encrypted:
            connection = http.client.HTTPSConnection(host, port, timeout=timeout, context=self._context())
            if proxy:
                connection.set_tunnel(parts.hostname or "", parts.port, headers=dict(proxy.headers))
        else:
            connection = http.client.HTTPConnection(host, port, timeout=timeout)
        try:
            connection.connect()
        except (OSError, http.client.HTTPException) as error:
            nobody = connection.sock is None  # where we connect to; else it spoke, or should have
            connection.close()
            call.check()
            raise self._unconnected(error, nobody=nobody) from error
        return connection

    def _unconnected(self, error: Exception, *, nobody: bool) -> LlmError:
        """Return the error for a connection that did not come about; with a proxy, ``nobody`` is there in its place."""
        refused = _NO_TUNNEL.match(str(error))
        if self._proxy and refused:
            return self._no_tunnel(self._proxy, int(refused.group(1)))
        if isinstance(error, ssl.SSLError) or not isinstance(error, OSError):
            return self._error(error)
        refusing = isinstance(error, ConnectionRefusedError) and not self._proxy
        return Unreachable(
            self.server.label,
            address=self.server.base_url if refusing else "",
            detail=self._why(error, self._proxy if nobody else None),
        )

    def _no_tunnel(self, proxy: Proxy, status: int) -> LlmError:
        """Return the error for a proxy that lets nothing through; its words may repeat its password, so they are not told."""
        if status in _DENIED:
            return KeyRefused(proxy.label, key=proxy.origin, detail=_DENIED[status])
        told = f"{proxy.label} opens no connection: HTTP status {status}"
        if status in {408, 429} or status >= 500:  # noqa: PLR2004
            return Unreachable(self.server.label, detail=told)
        return RemoteError(self.server.label, detail=told)

    @staticmethod
    def _why(error: OSError, proxy: Proxy | None) -> str:
        """Return why nobody was reached, or not the proxy."""
        if isinstance(error, socket.gaierror):
            detail = f"its name is not known ({error.strerror})"
        elif isinstance(error, TimeoutError):
            detail = f"no connection in {CONNECT:g} seconds"
        else:
            detail = error.strerror or str(error)
        return f"{proxy.label}: {detail}" if proxy else detail

    def _context(self) -> ssl.SSLContext:
        with self._lock:
            if self._tls is None:
                self._tls = ssl.create_default_context()
                paths = ssl.get_default_verify_paths()
                if paths.cafile is None and paths.capath is None:  # a Python that knows none of the system's
                    with suppress(ImportError):
                        import certifi

                        self._tls.load_verify_locations(certifi.where())
            return self._tls

    def _target(self, url: str) -> str:
        """Return what stands in the request's first line: for a proxy the whole address (RFC 9112, section 3.2.2)."""
        if self._proxy and not self.server.encrypted:
            return url
        return url.removeprefix(f"{urlsplit(url).scheme}://{urlsplit(url).netloc}") or "/"

    def _headers(self, data: bytes | None) -> dict[str, str]:
        headers = {
            "Host": urlsplit(self.server.base_url).netloc,
            "User-Agent": f"llmcli/{__version__}",
            "Accept": "text/event-stream, application/json",
            "Accept-Encoding": "identity",
            **self._key.headers(),
        }
        if data is not None:
            headers["Content-Type"] = "application/json"
        if self._proxy and not self.server.encrypted:
            headers.update(self._proxy.headers)
        return headers

    def _put(self, connection: http.client.HTTPConnection, response: http.client.HTTPResponse) -> None:
        """Keep a connection whose answer was read to its end; close it else."""
        done = response.isclosed()
        response.close()
        with self._lock:
            if done and connection.sock is not None and not self._closed:
                self._idle.append(connection)
                return
        connection.close()

    @contextmanager
    def _translated(self, call: Call) -> Iterator[None]:
        """Raise our errors for those of the libraries; whatever a call that was ended ran into is its end."""
        try:
            yield
        except (LlmError, Ended):
            raise
        except (OSError, http.client.HTTPException, ValueError) as error:
            call.check()
            raise self._error(error) from error

    def _error(self, error: Exception) -> LlmError:
        label = self.server.label
        if isinstance(error, ssl.SSLCertVerificationError):
            return Untrusted(label, detail=f"its certificate does not verify: {error.verify_message}")
        if isinstance(error, ssl.SSLError) and not isinstance(error, ssl.SSLEOFError | ssl.SSLZeroReturnError):
            return Untrusted(label, detail=f"no encrypted connection: {error.reason or error}")
        if isinstance(error, http.client.IncompleteRead | http.client.RemoteDisconnected):
            return TryAgain(label, detail="the connection broke")
        if isinstance(error, http.client.HTTPException):
            return RemoteError(label, detail=f"what came is not HTTP ({type(error).__name__})")
        if isinstance(error, OSError):
            silent = f"nothing came in {self.server.timeout:g} seconds" if isinstance(error, TimeoutError) else ""
            said = "" if isinstance(error, ssl.SSLError) else error.strerror  # which would name a line of OpenSSL
            return TryAgain(label, detail=silent or said or "the connection broke")
        raise error
