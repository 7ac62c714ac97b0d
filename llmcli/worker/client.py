"""HTTP over a worker's socket, as a client speaks it: single questions, and the exchange in which a command runs."""

from __future__ import annotations

import contextlib
import json
import os
import select
import socket
import struct
import threading
from collections.abc import Iterator
from typing import Any, BinaryIO

from llmcli.errors import AccessDenied, InternalError, RemoteError
from llmcli.interrupt import check, stop_requested
from llmcli.worker import wire

SESSION = "/llm/session"
_OK = 200
_LONGEST_LINE = 1 << 16
_SOON = 1.0
"""Seconds for a connection to be made; the queue of a socket is long."""
_LOOK_MS = 100
"""Milliseconds between looks at the interrupt while the worker takes nothing."""
_JSON = "application/json"
LINES = "application/x-ndjson"
_LOCAL_PEERCRED, _LOCAL_PEERPID = 1, 2  # macOS, sys/un.h


class Gone(Exception):  # nobody sees it: the caller starts another worker, or says why not
    """The worker does not answer: there is none, or it ended."""


def peer(connection: socket.socket) -> tuple[int, int]:
    """Return the process id and the user id of the other end of a Unix socket.

    SO_PEERCRED (unix(7)) on Linux; LOCAL_PEERPID, LOCAL_PEERCRED and its ``struct xucred`` on macOS.
    """
    if hasattr(socket, "SO_PEERCRED"):
        credentials = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
        pid, user, _ = struct.unpack("3i", credentials)
        return pid, user
    credentials = connection.getsockopt(0, _LOCAL_PEERCRED, struct.calcsize("2IH16I"))
    return connection.getsockopt(0, _LOCAL_PEERPID), int(struct.unpack_from("2I", credentials)[1])


def connect(path: str | os.PathLike[str], timeout: float | None = None) -> socket.socket:
    """Return a socket connected to the worker at ``path``; ``timeout`` in seconds, None to wait.

    Raises ``Gone`` where nobody listens, and ``AccessDenied`` where somebody else does.
    """
    connected = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        connected.settimeout(timeout)
        connected.connect(os.fspath(path))
        ours = peer(connected)[1] == os.getuid()
    except OSError as error:
        connected.close()
        raise Gone(str(error)) from error
    if not ours:
        connected.close()
        raise AccessDenied(str(path), detail="another user listens there")
    return connected


def listens(path: str | os.PathLike[str]) -> bool:
    """Return whether anybody listens at ``path``."""
    try:
        connect(path, _SOON).close()
    except Gone:
        return False
    except AccessDenied:
        return True
    return True


def ask(path: str | os.PathLike[str], method: str, target: str, body: Any = None, *, timeout: float = 5.0) -> Any:
    """Return the JSON answer of the worker at ``path``. Raises as ``connect``, and ``RemoteError`` for another answer."""
    content = b"" if body is None else json.dumps(body).encode()
    head = f"{method} {target} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Length: {len(content)}\r\n"
    with connect(path, timeout) as connected:
        try:
            connected.sendall(f"{head}Content-Type: {_JSON}\r\n\r\n".encode() + content)
            with connected.makefile("rb") as answer:
                status = _head(answer)
                content = answer.read()
        except OSError as error:
            raise Gone(str(error)) from error
    try:
        if status != _OK:
            raise ValueError(f"status {status}")  # noqa: TRY301
        return json.loads(content)
    except ValueError as error:
        raise RemoteError(str(path), detail=str(error)) from error


def _head(answer: BinaryIO) -> int:
    """Read the head of an answer (RFC 9112, section 4) and return its status. Raises ``Gone`` where there is none."""
    status = answer.readline(_LONGEST_LINE).split()
    while answer.readline(_LONGEST_LINE).strip():
        pass
    if len(status) < 2 or not status[1].isdigit():  # noqa: PLR2004
        raise Gone("no answer")
    return int(status[1])


class Session:
    """One exchange with a worker: lines go up and come down at the same time. ``send`` may be called by any thread.

    Both bodies are chunked (RFC 9112, section 7.1). ``http.client`` would read them too, but takes a tenth of a warm
    command to import.
    """

    def __init__(self, connected: socket.socket, start: dict[str, Any]) -> None:
        """Begin with the line ``start``. Raises ``Gone``."""
        self._socket = connected
        self._sending = threading.Lock()
        self.greeted = threading.Event()
        """The worker has begun to answer, or ended."""
        connected.settimeout(None)
        self._writable = select.poll()
        self._writable.register(connected, select.POLLOUT)
        headers = f"POST {SESSION} HTTP/1.1\r\nHost: localhost\r\nContent-Type: {LINES}\r\n"
        self._write(f"{headers}Transfer-Encoding: chunked\r\n\r\n".encode() + _chunk(wire.line(**start)))

    def send(self, *lines: bytes) -> None:
        """Send lines, awake for a stop while the worker does not take them. Raises ``Gone``."""
        self._write(_chunk(b"".join(lines)))

    def _write(self, data: bytes) -> None:
        try:
            with self._sending:
                rest = memoryview(data)
                while rest:
                    if self._writable.poll(_LOOK_MS):
                        rest = rest[self._socket.send(rest, socket.MSG_DONTWAIT) :]
                    elif stop_requested():
                        self.close()  # in the middle of a line, after which nothing more could be said
                        check()
        except OSError as error:
            raise Gone(str(error)) from error

    def __iter__(self) -> Iterator[dict[str, Any]]:
        """Yield the worker's messages until the exchange ends. Raises ``Gone`` then: the worker never ends it first.

        Raises ``InternalError`` for a line that is no message.
        """
        try:
            with self._socket, self._socket.makefile("rb") as answer:
                if _head(answer) != _OK:
                    raise Gone("refused")
                self.greeted.set()
                rest = b""
                while size := int(answer.readline(_LONGEST_LINE), 16):
                    *lines, rest = (rest + answer.read(size)).split(b"\n")
                    yield from map(_message, lines)
                    answer.readline(_LONGEST_LINE)
        except (OSError, ValueError) as error:
            raise Gone(str(error)) from error
        finally:
            self.greeted.set()
        raise Gone("the worker ended")

    def close(self) -> None:
        """End the exchange: what the worker still does for it is cancelled. The thread that reads finds its end."""
        with contextlib.suppress(OSError):  # it ended before
            self._socket.shutdown(socket.SHUT_RDWR)


def _message(line: bytes) -> dict[str, Any]:
    try:
        return wire.parse(line)
    except (ValueError, RecursionError) as error:
        raise unexpected(error) from error


def unexpected(error: Exception) -> InternalError:
    """Return the error for a message of the worker that cannot be read; ``error`` is what reading it raised."""
    return InternalError("the worker", detail=f"unexpected message: {type(error).__name__}: {error}")


def _chunk(data: bytes) -> bytes:
    """Return data as one chunk of a body."""
    return b"%x\r\n%b\r\n" % (len(data), data)
