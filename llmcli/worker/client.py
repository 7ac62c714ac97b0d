"""HTTP over a worker's socket, as a client speaks it: single questions, and the exchange in which a command runs."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import socket
import struct
import threading
from collections.abc import Iterator
from typing import Any

from llmcli.errors import AccessDenied, RemoteError
from llmcli.worker import wire

SESSION = "/llm/session"
_BLOCK = 1 << 16
_JSON = "application/json"
LINES = "application/x-ndjson"
_LOCAL_PEERCRED = 1  # macOS, sys/un.h


class Gone(Exception):  # nobody sees it: the caller starts another worker, or says why not
    """The worker does not answer: there is none, or it ended."""


def peer(connection: socket.socket) -> int:
    """Return the user id of the process at the other end of a Unix socket.

    SO_PEERCRED (unix(7)) on Linux, LOCAL_PEERCRED and its ``struct xucred`` on macOS.
    """
    if hasattr(socket, "SO_PEERCRED"):
        credentials = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
        return int(struct.unpack("3i", credentials)[1])
    credentials = connection.getsockopt(0, _LOCAL_PEERCRED, struct.calcsize("2IH16I"))
    return int(struct.unpack_from("2I", credentials)[1])


class _Connection(http.client.HTTPConnection):
    """HTTP over a Unix socket that is connected already."""

    def __init__(self, connected: socket.socket) -> None:
        super().__init__("localhost")
        self.sock = connected


def connect(path: str | os.PathLike[str], timeout: float | None = None) -> socket.socket:
    """Return a socket connected to the worker at ``path``; ``timeout`` in seconds, None to wait.

    Raises ``Gone`` where nobody listens, and ``AccessDenied`` where somebody else does.
    """
    connected = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        connected.settimeout(timeout)
        connected.connect(os.fspath(path))
        ours = peer(connected) == os.getuid()
    except OSError as error:
        connected.close()
        raise Gone(str(error)) from error
    if not ours:
        connected.close()
        raise AccessDenied(str(path), detail="another user listens there")
    return connected


def ask(path: str | os.PathLike[str], method: str, target: str, body: Any = None, *, timeout: float = 5.0) -> Any:
    """Return the JSON answer of the worker at ``path``. Raises as ``connect``, and ``RemoteError`` for another answer."""
    connection = _Connection(connect(path, timeout))
    try:
        content = None if body is None else json.dumps(body).encode()
        connection.request(method, target, content, {"Content-Type": _JSON} if content else {})
        answer = connection.getresponse()
        content = answer.read()
    except (OSError, http.client.HTTPException) as error:
        raise Gone(str(error)) from error
    finally:
        connection.close()
    if answer.status != http.HTTPStatus.OK:
        raise RemoteError(str(path), detail=f"status {answer.status}")
    try:
        return json.loads(content)
    except ValueError as error:
        raise RemoteError(str(path), detail=str(error)) from error


class Session:
    """One exchange with a worker: lines go up and come down at the same time. ``send`` may be called by any thread."""

    def __init__(self, connected: socket.socket, start: dict[str, Any]) -> None:
        """Begin with the line ``start``. Raises ``Gone``."""
        self._connection = _Connection(connected)
        self._sending = threading.Lock()
        connected.settimeout(None)
        headers = f"POST {SESSION} HTTP/1.1\r\nHost: localhost\r\nContent-Type: {LINES}\r\n"
        self._write(f"{headers}Transfer-Encoding: chunked\r\n\r\n".encode() + _chunk(wire.line(**start)))

    def send(self, *lines: bytes) -> None:
        """Send lines. Raises ``Gone``."""
        self._write(_chunk(b"".join(lines)))

    def _write(self, data: bytes) -> None:
        try:
            with self._sending:
                self._connection.sock.sendall(data)
        except OSError as error:
            raise Gone(str(error)) from error

    def __iter__(self) -> Iterator[dict[str, Any]]:
        """Yield the worker's messages until it ends the exchange. Raises ``Gone`` when it ends without having said so."""
        try:
            answer = http.client.HTTPResponse(self._connection.sock, method="POST")
            answer.begin()
            if answer.status != http.HTTPStatus.OK:
                raise Gone(f"status {answer.status}")
            rest = b""
            while block := answer.read1(_BLOCK):
                *lines, rest = (rest + block).split(b"\n")
                yield from map(wire.parse, lines)
        except (OSError, http.client.HTTPException, ValueError) as error:
            raise Gone(str(error)) from error
        raise Gone("the worker ended")

    def close(self) -> None:
        """End the exchange: what the worker still does for it is cancelled. The thread that reads finds its end."""
        with contextlib.suppress(OSError):  # it ended before
            self._connection.sock.shutdown(socket.SHUT_RDWR)


def _chunk(data: bytes) -> bytes:
    """Return data as one chunk of a body (RFC 9112, section 7.1)."""
    return b"%x\r\n%b\r\n" % (len(data), data)
