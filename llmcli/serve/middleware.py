"""Access control: host, origin, token, size and number of requests, checked before any work is done.

A web page may send requests to loopback, under its own origin or, by DNS rebinding, under its own host name: both are
refused before the token is checked. Source of the headers: the Fetch standard, "CORS protocol"; RFC 9110 for the status
codes; RFC 9112, section 6.1, for the length of a body; RFC 6750 for the token.
"""

from __future__ import annotations

import asyncio
import contextlib
import hmac
import ipaddress
import re
import secrets
from collections.abc import Callable, Mapping

from starlette.datastructures import Headers
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from llmcli.anthropic_api.anthropic_http_errors import adapt_error
from llmcli.control_characters import is_visible_ascii
from llmcli.errors import ConfigError, MissingError
from llmcli.fast_dataclass import frozen
from llmcli.files import private_files
from llmcli.openai_api.http_errors import error_response

_PUBLIC_PATH = "/health"
"""The path that needs no token."""
LOOPBACK_HOSTS = frozenset({"localhost", "127.0.0.1", "::1"})
_MAX_CONCURRENT_BODIES = 4
"""How many bodies of the largest size may be in transfer at once."""
_LINGER_S = 1.0
"""Seconds for which the rest of a refused body is discarded, so that the client can read the refusal."""
_ORIGIN = re.compile(
    r"(?P<scheme>[A-Za-z][A-Za-z0-9+.-]*)://(?P<host>[A-Za-z0-9._~-]+|\[[0-9A-Fa-f:.]+\])(?::(?P<port>[0-9]{1,5}))?/?"
)
_DEFAULT_PORTS = {"http": 80, "https": 443}
_MAX_PORT = 65535
_ALLOWED_HEADERS = ("authorization", "content-type", "x-api-key", "anthropic-version")


@frozen
class AccessPolicy:
    """Which requests are accepted. ``hosts``: host names of this server; ``allow_ip_hosts``: any IP address, too.

    ``origins``: of the pages that may send requests; ``max_requests``: at once; ``body_timeout_s``: for a body to
    arrive. ``upload_path``: the path whose bodies the application reads, and limits, itself.
    """

    token: str
    hosts: frozenset[str] = LOOPBACK_HOSTS
    allow_ip_hosts: bool = False
    origins: frozenset[str] = frozenset()
    max_body_bytes: int = 16 << 20
    max_requests: int = 64
    body_timeout_s: float = 60.0
    upload_path: str | None = None


class _RequestDenied(Exception):
    """The request gets ``response``."""

    def __init__(self, response: Response) -> None:
        super().__init__()
        self.response = response


class AccessMiddleware:
    """ASGI middleware around ``app``, which gets bodies whole, except uploads.

    ``num_running``: requests with a body in progress.

    Once ``closing`` is set, new requests are refused; ``write_error`` takes a line about a bug.
    """

    def __init__(self, app: ASGIApp, policy: AccessPolicy, write_error: Callable[[str], None]) -> None:
        self._app = app
        self._policy = policy
        self._write_error = write_error
        self._token = policy.token.encode()
        self._buffered_bytes = 0
        self.num_running = 0
        self.closing = False

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Refuse a request or forward it."""
        headers = Headers(scope=scope)
        origin = headers.get("origin")
        allowed = origin is None or self._is_origin_allowed(origin)
        if origin is not None and allowed:
            send = _add_cors_headers(send, origin)
        try:
            preflight = self._authorize(scope, headers, origin, allowed=allowed)
            if preflight is not None:
                await preflight(scope, receive, send)
            elif scope["method"] != "POST":
                await self._call_app(scope, receive, send)
            else:
                await self._handle_post(scope, headers, receive, send)
        except _RequestDenied as refused:
            await send_denial(adapt_error(refused.response, scope), headers, receive, send)

    def _authorize(self, scope: Scope, headers: Headers, origin: str | None, *, allowed: bool) -> Response | None:
        """Return the response to a CORS preflight request, None for other requests. Raises ``_RequestDenied``."""
        if "transfer-encoding" in headers and "content-length" in headers:  # a proxy may see another end of the body
            words = "a request has either Content-Length or Transfer-Encoding"
            raise _RequestDenied(error_response(400, words, code="ambiguous_length"))
        if not self._is_host_allowed(headers.get("host", "")):
            raise _RequestDenied(error_response(403, "this server does not accept that host name", code="host_refused"))
        if not allowed:
            raise _RequestDenied(
                error_response(403, "this server does not accept requests from that origin", code="origin_refused")
            )
        if self.closing:
            raise _RequestDenied(
                error_response(503, "the server is shutting down", code="ending", headers={"Retry-After": "5"})
            )
        if origin is not None and scope["method"] == "OPTIONS":
            methods = {"Access-Control-Allow-Methods": "GET, POST, DELETE", "Access-Control-Max-Age": "600"}
            return Response(
                status_code=204, headers={**methods, "Access-Control-Allow-Headers": ", ".join(_ALLOWED_HEADERS)}
            )
        if not self._has_token(headers) and scope["path"] != _PUBLIC_PATH:
            words = "the token is missing or wrong: send it as Authorization: Bearer TOKEN, or as x-api-key: TOKEN"
            raise _RequestDenied(
                error_response(401, words, code="invalid_api_key", headers={"WWW-Authenticate": "Bearer"})
            )
        return None

    def _has_token(self, headers: Headers) -> bool:
        """Return whether the token came, as OpenAI's clients send it or as Anthropic's do."""
        kind, _, bearer = headers.get("authorization", "").partition(" ")
        given = [bearer.strip() if kind.lower() == "bearer" else "", headers.get("x-api-key", "")]
        return any([hmac.compare_digest(token.encode(), self._token) for token in given])  # noqa: C419 (in constant time)

    def _is_origin_allowed(self, origin: str) -> bool:
        try:
            return normalize_origin(origin) in self._policy.origins
        except ValueError:
            return False

    def _is_host_allowed(self, host: str) -> bool:
        name, found, port = host.lower().rpartition(":")
        if not (found and (port.isdecimal() or not port) and not name.endswith(":")):
            name = host.lower()
        name = name.removeprefix("[").removesuffix("]") if name.startswith("[") else name
        return name in self._policy.hosts or (self._policy.allow_ip_hosts and _is_ip_address(name))

    async def _handle_post(self, scope: Scope, headers: Headers, receive: Receive, send: Send) -> None:
        if scope["path"] != self._policy.upload_path:
            body = await self._read_body(headers, receive)
            if body is None:
                return
            receive = _replay_body(body, receive)
        if self.num_running >= self._policy.max_requests:
            words = f"the server is at its limit of {self._policy.max_requests} concurrent requests"
            raise _RequestDenied(error_response(429, words, code="too_many_requests", headers={"Retry-After": "1"}))
        if self.closing:  # it may have begun to shut down while the body arrived
            raise _RequestDenied(
                error_response(503, "the server is shutting down", code="ending", headers={"Retry-After": "5"})
            )
        self.num_running += 1
        try:
            await self._call_app(scope, receive, send)
        finally:
            self.num_running -= 1

    async def _read_body(self, headers: Headers, receive: Receive) -> bytes | None:
        """Return the body; None if the client left before its end. Raises ``_RequestDenied``."""
        most, body = self._policy.max_body_bytes, bytearray()
        too_large = error_response(413, f"the body is larger than {most} bytes", code="body_too_large")
        announced = headers.get("content-length", "0")
        if not announced.isdecimal() or int(announced[:20]) > most:
            raise _RequestDenied(too_large)
        try:
            async with asyncio.timeout(self._policy.body_timeout_s):
                more = True
                while more:
                    message = await receive()
                    if message["type"] == "http.disconnect":
                        return None
                    piece, more = message.get("body", b""), message.get("more_body", False)
                    body += piece
                    self._buffered_bytes += len(piece)
                    if len(body) > most:
                        raise _RequestDenied(too_large)
                    if self._buffered_bytes > _MAX_CONCURRENT_BODIES * most:
                        raise _RequestDenied(
                            error_response(429, "too many large bodies at once", headers={"Retry-After": "1"})
                        )
        except TimeoutError:
            raise _RequestDenied(error_response(408, "the body did not arrive in time", code="body_too_slow")) from None
        finally:
            self._buffered_bytes -= len(body)
        return bytes(body)

    async def _call_app(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Call the application; a bug in it becomes a response and is reported."""
        started = False

        async def sending(message: Message) -> None:
            nonlocal started
            started = True
            await send(message)

        try:
            await self._app(scope, receive, sending)
        except Exception as problem:  # noqa: BLE001 (a bug becomes a 500, and a line for who runs the server)
            self._write_error(f"internal error: {type(problem).__name__}: {problem}")
            if not started:
                await adapt_error(error_response(500, "internal error"), scope)(scope, receive, send)


def normalize_origin(text: str) -> str:
    """Return an origin as browsers write it (RFC 6454, section 6.2). Raises ``ValueError`` for anything else."""
    found = _ORIGIN.fullmatch(text)
    port = int(found["port"] or 0) if found else 0
    if not found or port > _MAX_PORT:
        raise ValueError(f"{text} is not an origin")
    scheme, host = found["scheme"].lower(), found["host"].lower()
    return f"{scheme}://{host}" + (f":{port}" if port not in {0, _DEFAULT_PORTS.get(scheme)} else "")


def _is_ip_address(name: str) -> bool:
    """Return whether a host is an IP address, which DNS rebinding cannot point elsewhere."""
    with contextlib.suppress(ValueError):
        return bool(ipaddress.ip_address(name))
    return False


def _add_cors_headers(send: Send, origin: str) -> Send:
    """Let a browser show the answer to pages of ``origin``."""
    headers = [(b"access-control-allow-origin", origin.encode("latin-1")), (b"vary", b"Origin")]

    async def sending(message: Message) -> None:
        if message["type"] == "http.response.start":
            message["headers"] = [*message["headers"], *headers]
        await send(message)

    return sending


def _replay_body(body: bytes, receive: Receive) -> Receive:
    """Return a ``receive`` that replays a body already read, and then continues."""
    messages: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]

    async def receiving() -> Message:
        return messages.pop() if messages else await receive()

    return receiving


async def send_denial(response: Response, headers: Headers, receive: Receive, send: Send) -> None:
    """Send a refusal and end the connection, since the rest of a body may still arrive on it."""
    response.headers["connection"] = "close"
    await send({"type": "http.response.start", "status": response.status_code, "headers": response.raw_headers})
    await send({"type": "http.response.body", "body": bytes(response.body), "more_body": True})
    expects = headers.get("expect", "").lower() == "100-continue"
    if not expects and (headers.get("content-length", "0") != "0" or "transfer-encoding" in headers):
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_LINGER_S):
                message: Message = {"more_body": True}
                while message.get("more_body"):
                    message = await receive()
    await send({"type": "http.response.body", "body": b"", "more_body": False})


_TOKEN_VARIABLE = "LLMCLI_SERVE_TOKEN"  # noqa: S105 (the name of a variable)
_MAX_TOKEN_FILE_BYTES = 4096
_TOKEN_BYTES = 24


def find_token(file: str | None, environ: Mapping[str, str]) -> str | None:
    """Return the user's token, None if there is none; ``file`` overrides the environment.

    Raises ``MissingError`` for a file that cannot be read or holds no token, ``AccessDenied`` for one that others may read
    or write, and ``ConfigError`` for a variable that holds no valid token.
    """
    if file is not None:
        token = private_files.read_secret(file, kind="token file", max_bytes=_MAX_TOKEN_FILE_BYTES)
        if not is_visible_ascii(token):
            raise MissingError(file, kind="token file", detail="expected one line of visible ASCII characters")
        return token
    token = environ.get(_TOKEN_VARIABLE, "")
    if token and not is_visible_ascii(token):
        raise ConfigError(_TOKEN_VARIABLE, origin="environment", detail="expected visible ASCII characters")
    return token or None


def generate_token() -> str:
    """Return a new token."""
    return secrets.token_urlsafe(_TOKEN_BYTES)
