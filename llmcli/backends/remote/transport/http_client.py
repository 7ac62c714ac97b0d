"""HTTP to one server: persistent connections, time-outs, certificates, and our errors for all failures.

It uses the standard library's client, which follows no redirects, imports faster than others, and lets a call be
cancelled by closing its socket.
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
from llmcli.backend_config import ServerConfig, ServerUnreachable
from llmcli.backends.remote.transport.api_keys import ApiKey
from llmcli.backends.remote.transport.cancel import Cancelled, CancelToken
from llmcli.backends.remote.transport.cost_budget import CostAttempt
from llmcli.backends.remote.transport.error_mapping import ErrorParser, map_error_status, parse_error_fields
from llmcli.backends.remote.transport.proxies import Proxy
from llmcli.backends.remote.transport.server_message import describe_json_error
from llmcli.errors import LlmError, RemoteError, TemporaryFailure, Unauthorized, UntrustedServer

CONNECT_TIMEOUT_S = 10.0
"""Seconds to wait for a connection."""
_BLOCK_BYTES = 1 << 16
_MAX_BODY_BYTES = 16 << 20
"""Most bytes of an answer that is not streamed."""
_MAX_ERROR_BYTES = 1 << 16
_DRAIN_TIMEOUT_S = 0.2
_OK = 200
_TUNNEL_FAILURE = re.compile(r"Tunnel connection failed: ([0-9]+)")
_PROXY_AUTH_REQUIRED = 407
_PROXY_DENIALS = {
    403: "it does not allow connections to that host",
    _PROXY_AUTH_REQUIRED: "it does not accept the user name and password",
}


@dataclass(frozen=True, slots=True)
class HttpResponse:
    """A successful response: its content type, and its body as it arrives."""

    content_type: str
    body: http.client.HTTPResponse
    connection: http.client.HTTPConnection

    def iter_blocks(self) -> Iterator[bytes]:
        """Yield the body as it arrives."""
        while block := self.body.read1(_BLOCK_BYTES):
            yield block

    def read_all(self) -> bytes:
        """Return the body. Raises ``RemoteError`` for one that is too long."""
        body = self.body.read(_MAX_BODY_BYTES + 1)
        if len(body) > _MAX_BODY_BYTES:
            raise RemoteError(detail=f"an answer of more than {_MAX_BODY_BYTES:,} bytes")
        if self.body.length:
            raise http.client.IncompleteRead(body)
        return body

    def drain_end(self) -> None:
        """Read the rest of a body after its last event, so that the connection can be kept."""
        if self.connection.sock is not None:
            self.connection.sock.settimeout(_DRAIN_TIMEOUT_S)
        with suppress(OSError, http.client.HTTPException):  # then it is closed
            self.body.read(_BLOCK_BYTES)


class HttpClient:
    """Sends requests to ``server`` with its key. Safe to use from several threads."""

    def __init__(
        self,
        server: ServerConfig,
        key: ApiKey,
        proxy: Proxy | None,
        *,
        headers: Mapping[str, str],
        parse_error: ErrorParser = parse_error_fields,
    ) -> None:
        """``headers`` go with each request, the key's among them; ``parse_error`` reads the body of an error."""
        self.server = server
        self._key = key
        self._protocol_headers = dict(headers)
        self._parse_error = parse_error
        self._proxy = proxy
        self._idle: list[http.client.HTTPConnection] = []
        self._lock = threading.Lock()
        self._tls: ssl.SSLContext | None = None
        self._closed = False

    def close(self) -> None:
        """Close the idle connections."""
        with self._lock:
            self._closed = True
            idle, self._idle = self._idle, []
        for connection in idle:
            connection.close()

    def request_json(
        self, call: CancelToken, method: str, path: str, body: Any = None, *, root: bool = False, model: str = ""
    ) -> Any:
        """Return the JSON object that the server answers with. Raises as ``open``."""
        with self.open_response(call, method, path, body, root=root, model=model) as answer:
            return self.parse_json(answer, answer.read_all())

    def parse_json(self, answer: HttpResponse, body: bytes) -> Any:
        """Return the JSON object that is the body of an answer. Raises ``RemoteError``."""
        try:
            loaded = json.loads(body)
        except (ValueError, RecursionError) as error:
            page = "html" in answer.content_type
            detail = (
                "it sent a web page instead of an answer"
                if page
                else f"its answer is not JSON: {describe_json_error(error)}"
            )
            raise RemoteError(self.server.label, detail=detail) from error
        if not isinstance(loaded, dict):
            raise RemoteError(self.server.label, detail="its answer is not a JSON object")
        return loaded

    @contextmanager
    def open_response(
        self, call: CancelToken, method: str, path: str, body: Any = None, *, root: bool = False, model: str = ""
    ) -> Iterator[HttpResponse]:
        """Request ``path`` below the server's address, or with ``root`` below its host; yield a successful response.

        ``model`` is the one that the request needs.

        Raises ``TemporaryFailure`` for failures that may pass, ``RemoteError``, what ``map_error_status`` returns,
        ``Cancelled`` and ``DeadlineExceeded``.
        """
        base = self.server.origin if root else self.server.base_url
        data = None if body is None else json.dumps(body).encode()
        with self._translate_errors(call), self._reserve_cost(call, body, data) as attempt:
            connection, response = self._send_request(call, method, base + path, data)
            try:
                if response.status == _PROXY_AUTH_REQUIRED and self._proxy:
                    raise self._tunnel_error(self._proxy, response.status)
                if response.status != _OK:
                    headers = {name.lower(): value for name, value in response.getheaders()}
                    said = response.read(_MAX_ERROR_BYTES)
                    raise map_error_status(
                        self.server,
                        self._key,
                        model,
                        response.status,
                        headers=headers,
                        body=said,
                        parse=self._parse_error,
                    )
                attempt.charged = True
                coding = response.headers.get("content-encoding", "identity")
                if coding.strip().lower() not in {"", "identity"}:
                    raise RemoteError(
                        self.server.label,
                        detail=f"its answer uses a content coding that llm did not request ({coding[:40]})",
                    )
                yield HttpResponse(response.headers.get_content_type(), response, connection)
            finally:
                call.attach_socket(None)
                self._release_connection(connection, response)

    @contextmanager
    def _reserve_cost(self, call: CancelToken, body: Any, data: bytes | None) -> Iterator[CostAttempt]:
        """Reserve what a body may cost, where prices are known; questions without a body are free."""
        if call.cost is None or data is None:
            yield CostAttempt(0.0)
            return
        with call.cost.attempt(body, len(data), call.check) as attempt:
            yield attempt

    def _send_request(
        self, call: CancelToken, method: str, url: str, data: bytes | None
    ) -> tuple[http.client.HTTPConnection, http.client.HTTPResponse]:
        """Send a request, over an idle connection if there is one; return connection and response."""
        while True:
            call.check()
            with self._lock:
                connection = self._idle.pop() if self._idle else None
            fresh = connection is None
            connection = connection or self._connect(call)
            try:
                call.attach_socket(connection.sock)
                connection.sock.settimeout(call.limit_timeout(self.server.timeout))
                connection.request(method, self._request_target(url), data, self._headers(data))
                return connection, connection.getresponse()
            except (ConnectionError, http.client.RemoteDisconnected):
                connection.close()
                call.check()
                if fresh:
                    raise
                # the server closed an idle connection: the request itself did not fail
            except BaseException:
                connection.close()
                raise

    def _connect(self, call: CancelToken) -> http.client.HTTPConnection:
        parts, proxy = urlsplit(self.server.base_url), self._proxy
        host, port = (proxy.host, proxy.port) if proxy else (parts.hostname or "", parts.port)
        timeout = call.limit_timeout(CONNECT_TIMEOUT_S)
        connection: http.client.HTTPConnection
        if self.server.is_encrypted:
            connection = http.client.HTTPSConnection(host, port, timeout=timeout, context=self._tls_context())
            if proxy:
                connection.set_tunnel(parts.hostname or "", parts.port, headers=dict(proxy.headers))
        else:
            connection = http.client.HTTPConnection(host, port, timeout=timeout)
        try:
            connection.connect()
        except (OSError, http.client.HTTPException) as error:
            unreachable = connection.sock is None  # no server at the address
            connection.close()
            call.check()
            raise self._connection_error(error, unreachable=unreachable) from error
        return connection

    def _connection_error(self, error: Exception, *, unreachable: bool) -> LlmError:
        """Return the error for a failed connection; ``unreachable``: the server, or the proxy, was not reached."""
        refused = _TUNNEL_FAILURE.match(str(error))
        if self._proxy and refused:
            return self._tunnel_error(self._proxy, int(refused.group(1)))
        if isinstance(error, ssl.SSLError) or not isinstance(error, OSError):
            return self._map_exception(error)
        refusing = isinstance(error, ConnectionRefusedError) and not self._proxy
        return ServerUnreachable(
            self.server.label,
            address=self.server.base_url if refusing else "",
            detail=self._describe_os_error(error, self._proxy if unreachable else None),
        )

    def _tunnel_error(self, proxy: Proxy, status: int) -> LlmError:
        """Return the error for a proxy that refuses a tunnel; its message may repeat the password, so it is not shown."""
        if status in _PROXY_DENIALS:
            return Unauthorized(proxy.label, key=proxy.origin, detail=_PROXY_DENIALS[status])
        told = f"{proxy.label} refused the connection: HTTP status {status}"
        if status in {408, 429} or status >= 500:  # noqa: PLR2004
            return ServerUnreachable(self.server.label, detail=told)
        return RemoteError(self.server.label, detail=told)

    @staticmethod
    def _describe_os_error(error: OSError, proxy: Proxy | None) -> str:
        """Return why the server, or the proxy, was not reached."""
        if isinstance(error, socket.gaierror):
            detail = f"its name cannot be resolved ({error.strerror})"
        elif isinstance(error, TimeoutError):
            detail = f"no connection within {CONNECT_TIMEOUT_S:g} seconds"
        else:
            detail = error.strerror or str(error)
        return f"{proxy.label}: {detail}" if proxy else detail

    def _tls_context(self) -> ssl.SSLContext:
        with self._lock:
            if self._tls is None:
                self._tls = ssl.create_default_context()
                paths = ssl.get_default_verify_paths()
                if paths.cafile is None and paths.capath is None:  # this Python does not know the system's certificates
                    with suppress(ImportError):
                        import certifi

                        self._tls.load_verify_locations(certifi.where())
            return self._tls

    def _request_target(self, url: str) -> str:
        """Return the request target: the full address for a proxy (RFC 9112, section 3.2.2)."""
        if self._proxy and not self.server.is_encrypted:
            return url
        return url.removeprefix(f"{urlsplit(url).scheme}://{urlsplit(url).netloc}") or "/"

    def _headers(self, data: bytes | None) -> dict[str, str]:
        headers = {
            "Host": urlsplit(self.server.base_url).netloc,
            "User-Agent": f"llmcli/{__version__}",
            "Accept": "text/event-stream, application/json",
            "Accept-Encoding": "identity",
            **self._protocol_headers,
        }
        if data is not None:
            headers["Content-Type"] = "application/json"
        if self._proxy and not self.server.is_encrypted:
            headers.update(self._proxy.headers)
        return headers

    def _release_connection(self, connection: http.client.HTTPConnection, response: http.client.HTTPResponse) -> None:
        """Keep a connection whose answer was read to its end; otherwise close it."""
        done = response.isclosed()
        response.close()
        with self._lock:
            if done and connection.sock is not None and not self._closed:
                self._idle.append(connection)
                return
        connection.close()

    @contextmanager
    def _translate_errors(self, call: CancelToken) -> Iterator[None]:
        """Translate the libraries' errors into ours; any error of a cancelled call counts as its cancellation."""
        try:
            yield
        except (LlmError, Cancelled):
            raise
        except (OSError, http.client.HTTPException, ValueError) as error:
            call.check()
            raise self._map_exception(error) from error

    def _map_exception(self, error: Exception) -> LlmError:
        label = self.server.label
        if isinstance(error, ssl.SSLCertVerificationError):
            return UntrustedServer(label, detail=f"its certificate cannot be verified: {error.verify_message}")
        if isinstance(error, ssl.SSLError) and not isinstance(error, ssl.SSLEOFError | ssl.SSLZeroReturnError):
            return UntrustedServer(label, detail=f"TLS failed: {error.reason or error}")
        if isinstance(error, http.client.IncompleteRead | http.client.RemoteDisconnected):
            return TemporaryFailure(label, detail="the connection broke")
        if isinstance(error, http.client.HTTPException):
            return RemoteError(label, detail=f"its response is not HTTP ({type(error).__name__})")
        if isinstance(error, OSError):
            silent = f"it sent nothing for {self.server.timeout:g} seconds" if isinstance(error, TimeoutError) else ""
            said = "" if isinstance(error, ssl.SSLError) else error.strerror  # its text names a line of OpenSSL
            return TemporaryFailure(label, detail=silent or said or "the connection broke")
        raise error
