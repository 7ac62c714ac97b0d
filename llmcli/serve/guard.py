"""Who may ask, and how much: host, origin, token, size and number of requests, before anything is done for them.

A page that a browser shows may send requests to loopback, under its own origin or, once its name is made to mean our
address (DNS rebinding), under its own host: both are refused before the token is looked at. Source of the headers: the
Fetch standard, "CORS protocol"; RFC 9110 for the status codes; RFC 6750 for the token.
"""

from __future__ import annotations

import asyncio
import contextlib
import hmac
import ipaddress
import re
from collections.abc import Callable
from dataclasses import dataclass

from starlette.datastructures import Headers
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from llmcli.worker.answers import error

OPEN = "/health"
"""The path that needs no token."""
LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1"})
_BODIES = 4
"""Bodies of the largest size that may be on their way at once."""
_LINGER = 1.0
"""Seconds for which the rest of a refused body is thrown away, so that the client gets to read the refusal."""
_ORIGIN = re.compile(
    r"(?P<scheme>[A-Za-z][A-Za-z0-9+.-]*)://(?P<host>[A-Za-z0-9._~-]+|\[[0-9A-Fa-f:.]+\])(?::(?P<port>[0-9]{1,5}))?/?"
)
_USUAL = {"http": 80, "https": 443}
_HIGHEST_PORT = 65535
_ANSWERED = {"authorization", "content-type"}


@dataclass(frozen=True, slots=True)
class Rules:
    """What is let in. ``hosts``: names that we are called by; ``addresses``: any IP address is one, too.

    ``origins``: of the pages that may ask; ``body``: bytes at most; ``requests``: at most at once; ``patience``:
    seconds for a body to come.
    """

    token: str
    hosts: frozenset[str] = LOOPBACK
    addresses: bool = False
    origins: frozenset[str] = frozenset()
    body: int = 16 << 20
    requests: int = 64
    patience: float = 60.0


class _Refused(Exception):
    """The request gets ``response``."""

    def __init__(self, response: Response) -> None:
        super().__init__()
        self.response = response


class Guard:
    """ASGI middleware around ``app``, which gets bodies whole. ``running``: requests with a body that are answered now.

    After ``closing`` was set, what comes is refused; ``say`` is told about bugs.
    """

    def __init__(self, app: ASGIApp, rules: Rules, say: Callable[[str], None] = lambda _: None) -> None:
        self._app = app
        self._rules = rules
        self._say = say
        self._token = rules.token.encode()
        self._held = 0
        self.running = 0
        self.closing = False

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Refuse a request or hand it on."""
        headers = Headers(scope=scope)
        origin = headers.get("origin")
        allowed = origin is None or self._is_allowed(origin)
        if origin is not None and allowed:
            send = _with_origin(send, origin)
        try:
            preflight = self._check(scope, headers, origin, allowed=allowed)
            if preflight is not None:
                await preflight(scope, receive, send)
            elif scope["method"] != "POST":
                await self._call(scope, receive, send)
            else:
                await self._post(scope, headers, receive, send)
        except _Refused as refused:
            await _refuse(refused.response, headers, receive, send)

    def _check(self, scope: Scope, headers: Headers, origin: str | None, *, allowed: bool) -> Response | None:
        """Return the answer to a browser's question whether it may ask, None for other requests. Raises ``_Refused``."""
        if not self._is_ours(headers.get("host", "")):
            raise _Refused(error(403, "this server is not called by that host name", code="host_refused"))
        if not allowed:
            raise _Refused(error(403, "pages of that origin may not ask here", code="origin_refused"))
        if self.closing:
            raise _Refused(error(503, "the server is ending", code="ending", headers={"Retry-After": "5"}))
        if origin is not None and scope["method"] == "OPTIONS":
            methods = {"Access-Control-Allow-Methods": "GET, POST", "Access-Control-Max-Age": "600"}
            return Response(status_code=204, headers={**methods, "Access-Control-Allow-Headers": ", ".join(_ANSWERED)})
        kind, _, given = headers.get("authorization", "").partition(" ")
        matches = hmac.compare_digest(given.strip().encode(), self._token) and kind.lower() == "bearer"
        if not matches and scope["path"] != OPEN:
            words = "the token is missing or wrong: send it as Authorization: Bearer TOKEN"
            raise _Refused(error(401, words, code="invalid_api_key", headers={"WWW-Authenticate": "Bearer"}))
        return None

    def _is_allowed(self, origin: str) -> bool:
        try:
            return origin_of(origin) in self._rules.origins
        except ValueError:
            return False

    def _is_ours(self, host: str) -> bool:
        name, found, port = host.lower().rpartition(":")
        if not (found and (port.isdecimal() or not port) and not name.endswith(":")):
            name = host.lower()
        name = name.removeprefix("[").removesuffix("]") if name.startswith("[") else name
        return name in self._rules.hosts or (self._rules.addresses and _is_address(name))

    async def _post(self, scope: Scope, headers: Headers, receive: Receive, send: Send) -> None:
        body = await self._body(headers, receive)
        if body is None:
            return
        if self.running >= self._rules.requests:
            words = f"{self.running} requests are running, which is as many as there may be"
            raise _Refused(error(429, words, code="too_many_requests", headers={"Retry-After": "1"}))
        if self.closing:  # meanwhile
            raise _Refused(error(503, "the server is ending", code="ending", headers={"Retry-After": "5"}))
        self.running += 1
        try:
            await self._call(scope, _again(body, receive), send)
        finally:
            self.running -= 1

    async def _body(self, headers: Headers, receive: Receive) -> bytes | None:
        """Return the body; None where the client went before its end. Raises ``_Refused``."""
        most, body = self._rules.body, bytearray()
        too_large = error(413, f"the body is larger than {most} bytes", code="body_too_large")
        announced = headers.get("content-length", "0")
        if not announced.isdecimal() or int(announced[:20]) > most:
            raise _Refused(too_large)
        try:
            async with asyncio.timeout(self._rules.patience):
                more = True
                while more:
                    message = await receive()
                    if message["type"] == "http.disconnect":
                        return None
                    piece, more = message.get("body", b""), message.get("more_body", False)
                    body += piece
                    self._held += len(piece)
                    if len(body) > most:
                        raise _Refused(too_large)
                    if self._held > _BODIES * most:
                        raise _Refused(error(429, "too many large bodies at once", headers={"Retry-After": "1"}))
        except TimeoutError:
            raise _Refused(error(408, "the body did not come in time", code="body_too_slow")) from None
        finally:
            self._held -= len(body)
        return bytes(body)

    async def _call(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Call the application; a bug in it is an answer, and is told."""
        started = False

        async def sending(message: Message) -> None:
            nonlocal started
            started = True
            await send(message)

        try:
            await self._app(scope, receive, sending)
        except Exception as problem:  # noqa: BLE001 (a bug becomes a 500, and a line for who runs the server)
            self._say(f"internal error: {type(problem).__name__}: {problem}")
            if not started:
                await error(500, "internal error")(scope, receive, send)


def origin_of(text: str) -> str:
    """Return an origin as browsers write it (RFC 6454, section 6.2). Raises ``ValueError`` for what is none."""
    found = _ORIGIN.fullmatch(text)
    port = int(found["port"] or 0) if found else 0
    if not found or port > _HIGHEST_PORT:
        raise ValueError(f"{text} is not the origin of a page")
    scheme, host = found["scheme"].lower(), found["host"].lower()
    return f"{scheme}://{host}" + (f":{port}" if port not in {0, _USUAL.get(scheme)} else "")


def _is_address(name: str) -> bool:
    """No page can make a number in its address mean another machine."""
    with contextlib.suppress(ValueError):
        return bool(ipaddress.ip_address(name))
    return False


def _with_origin(send: Send, origin: str) -> Send:
    """Let a browser show the answer to pages of ``origin``."""
    headers = [(b"access-control-allow-origin", origin.encode("latin-1")), (b"vary", b"Origin")]

    async def sending(message: Message) -> None:
        if message["type"] == "http.response.start":
            message["headers"] = [*message["headers"], *headers]
        await send(message)

    return sending


def _again(body: bytes, receive: Receive) -> Receive:
    """Return a ``receive`` that gives a body that was read already, and then what comes."""
    messages: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]

    async def receiving() -> Message:
        return messages.pop() if messages else await receive()

    return receiving


async def _refuse(response: Response, headers: Headers, receive: Receive, send: Send) -> None:
    """Send a refusal and end the connection, on which the rest of a body may still come."""
    response.headers["connection"] = "close"
    await send({"type": "http.response.start", "status": response.status_code, "headers": response.raw_headers})
    await send({"type": "http.response.body", "body": bytes(response.body), "more_body": True})
    expects = headers.get("expect", "").lower() == "100-continue"
    if not expects and (headers.get("content-length", "0") != "0" or "transfer-encoding" in headers):
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_LINGER):
                message: Message = {"more_body": True}
                while message.get("more_body"):
                    message = await receive()
    await send({"type": "http.response.body", "body": b"", "more_body": False})
