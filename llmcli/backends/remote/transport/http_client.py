"""HTTP to one server: persistent connections, time-outs, certificates, and our errors for all failures.

It uses httpcore2, the layer under httpx2: it follows no redirects, reads no environment and decodes no compressed
bodies.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import Any
from urllib.parse import urlsplit

import httpcore2

from llmcli import __version__
from llmcli.backends.remote.transport.api_keys import ApiKey
from llmcli.backends.remote.transport.cost_budget import CostAttempt
from llmcli.backends.remote.transport.error_mapping import (
    ErrorParser,
    describe_json_error,
    map_error_status,
    parse_error_fields,
)
from llmcli.backends.remote.transport.remote_call import RemoteCall
from llmcli.config.backend_config import ServerConfig
from llmcli.errors import LlmError, RemoteError
from llmcli.errors.network_errors import ServerStalled, ServerUnreachable
from llmcli.fast_dataclass import frozen
from llmcli.network.cancellation import CancellableNetwork, Exchange
from llmcli.network.connections import make_pool
from llmcli.network.failures import (
    PROXY_AUTH_REQUIRED,
    FailureErrors,
    FailureKind,
    NetworkFailure,
    classify_failure,
    classify_tunnel_status,
    network_errors,
)
from llmcli.network.proxies import Proxy

CONNECT_TIMEOUT_S = 10.0
"""Seconds to wait for a connection."""
_MAX_BODY_BYTES = 16 << 20
"""Most bytes of an answer that is not streamed."""
_MAX_ERROR_BYTES = 1 << 16
_MAX_DRAIN_BYTES = 1 << 16
_DRAIN_TIMEOUT_S = 0.2
_OK = 200
_ERRORS = FailureErrors(ServerUnreachable, ServerStalled)


@frozen
class HttpResponse:
    """A successful response of ``server``: its content type, and its body as it arrives."""

    server: str
    content_type: str
    blocks: Iterator[bytes]
    exchange: Exchange

    def iter_blocks(self) -> Iterator[bytes]:
        """Yield the body as it arrives."""
        yield from self.blocks

    def read_all(self) -> bytes:
        """Return the body. Raises ``RemoteError`` for one that is too long."""
        body = _read_most(self.blocks, _MAX_BODY_BYTES + 1)
        if len(body) > _MAX_BODY_BYTES:
            raise RemoteError(self.server, detail=f"an answer of more than {_MAX_BODY_BYTES:,} bytes")
        return body

    def drain_end(self) -> None:
        """Read the rest of a body after its last event, so that the connection can be kept."""
        self.exchange.timeout = _DRAIN_TIMEOUT_S
        with suppress(OSError, httpcore2.RemoteProtocolError):  # then it is closed
            _read_most(self.blocks, _MAX_DRAIN_BYTES)


def _read_most(blocks: Iterator[bytes], limit: int, *, or_part: bool = False) -> bytes:
    """Return a body, or the first blocks of one that is longer than ``limit`` bytes; ``or_part``: or that broke off."""
    body = bytearray()
    try:
        for block in blocks:
            body += block
            if len(body) >= limit:
                break
    except httpcore2.RemoteProtocolError:
        if not or_part:
            raise
    return bytes(body)


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
        self._network = CancellableNetwork()
        self._lock = threading.Lock()
        self._pool: httpcore2.ConnectionPool | None = None
        self._closed = False

    def close(self) -> None:
        """Close the idle connections; the others are closed when their requests end."""
        with self._lock:
            self._closed = True
        self._close_idle()

    def _close_idle(self) -> None:
        for connection in self._pool.connections if self._pool else ():
            if connection.is_idle():
                connection.close()

    def request_json(
        self, call: RemoteCall, method: str, path: str, body: Any = None, *, root: bool = False, model: str = ""
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
        self, call: RemoteCall, method: str, path: str, body: Any, *, root: bool = False, model: str = ""
    ) -> Iterator[HttpResponse]:
        """Request ``path`` below the server's address, or with ``root`` below its host; yield a successful response.

        ``model`` is the one that the request needs.

        Raises ``TemporaryFailure`` for failures that may pass, ``RemoteError``, what ``map_error_status`` returns,
        ``Cancelled`` and ``DeadlineExceeded``.
        """
        base = self.server.origin if root else self.server.base_url
        data = None if body is None else json.dumps(body).encode()
        with self._translate_errors(call), self._reserve_cost(call, body, data) as attempt:
            exchange, response = self._send_request(call, method, base + path, data)
            try:
                blocks = response.iter_stream()
                headers = {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in response.headers}
                if response.status == PROXY_AUTH_REQUIRED and self._proxy:
                    raise self._make_error(classify_tunnel_status(self._proxy, response.status))
                if response.status != _OK:
                    raise map_error_status(
                        self.server,
                        self._key,
                        model,
                        response.status,
                        headers=headers,
                        body=_read_most(blocks, _MAX_ERROR_BYTES, or_part=True)[:_MAX_ERROR_BYTES],
                        parse=self._parse_error,
                    )
                attempt.charged = True
                coding = headers.get("content-encoding", "identity")
                if coding.strip().lower() not in {"", "identity"}:
                    raise RemoteError(
                        self.server.label,
                        detail=f"its answer uses a content coding that llm did not request ({coding[:40]})",
                    )
                content_type = headers.get("content-type", "text/plain").partition(";")[0].strip().lower()
                yield HttpResponse(self.server.label, content_type, blocks, exchange)
            finally:
                call.attach_socket(None)
                response.close()  # keeps a connection whose answer was read to its end
                if self._closed:
                    self._close_idle()

    @contextmanager
    def _reserve_cost(self, call: RemoteCall, body: Any, data: bytes | None) -> Iterator[CostAttempt]:
        """Reserve what a body may cost, where prices are known; questions without a body are free."""
        if call.cost is None or data is None:
            yield CostAttempt(0.0)
            return
        with call.cost.attempt(body, len(data), call.check) as attempt:
            yield attempt

    def _send_request(
        self, call: RemoteCall, method: str, url: str, data: bytes | None
    ) -> tuple[Exchange, httpcore2.Response]:
        """Send a request, over an idle connection if there is one; return the response."""
        while True:
            call.check()
            exchange = self._network.exchange = Exchange(call, CONNECT_TIMEOUT_S, self.server.timeout)
            request = httpcore2.Request(
                method,
                url,
                headers=list(self._headers(data).items()),
                content=data,
                extensions={"trace": exchange.trace},
            )
            try:
                response = self._open_pool().handle_request(request)
                if exchange.has_received:
                    return exchange, response
                response.close()  # it came before the request, behind the answer to another one
            except network_errors(self._proxy) as error:
                call.check()
                if not exchange.is_connected:
                    raise self._make_error(classify_failure(error, exchange, self._proxy)) from error
                closed = exchange.peer_closed or isinstance(error, ConnectionError)
                if exchange.is_new or exchange.has_received or not closed or not call.may_resend:
                    raise
                # the server closed an idle connection, as a rule before it had the request; one that closes it because
                # of the request gets no more than the usual number of attempts
                call.may_resend = False
                call.num_resent += 1
            finally:
                if exchange.stream is not None and not exchange.is_connected:
                    exchange.stream.close()

    def _open_pool(self) -> httpcore2.ConnectionPool:
        with self._lock:
            if self._pool is None:
                self._pool = make_pool(self._network, self._proxy, is_encrypted=self.server.is_encrypted)
            return self._pool

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
            headers["Content-Length"] = str(len(data))
        return headers

    @contextmanager
    def _translate_errors(self, call: RemoteCall) -> Iterator[None]:
        """Translate the libraries' errors into ours; any error of a cancelled call counts as its cancellation."""
        try:
            yield
        except (OSError, httpcore2.RemoteProtocolError) as error:
            call.check()
            raise self._make_error(classify_failure(error, self._network.exchange, self._proxy)) from error

    def _make_error(self, failure: NetworkFailure) -> LlmError:
        label = self.server.label
        if failure.kind is FailureKind.REFUSED:
            return ServerUnreachable(label, address=self.server.base_url, detail=failure.detail)
        return failure.make_error(label, _ERRORS)
