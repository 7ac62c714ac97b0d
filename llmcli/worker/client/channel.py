"""The client side of the exchange in which a command runs: HTTP over a worker's socket.

Bodies arrive in chunks, without trailers or extensions, as workers write them (RFC 9112, section 7.1).
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import socket
import threading
from collections.abc import Iterator
from typing import Any, BinaryIO

from llmcli.errors import AccessDenied, InternalError, RemoteError
from llmcli.interrupt import check_interrupt, stop_requested
from llmcli.worker import protocol
from llmcli.worker.protocol import NDJSON_TYPE, STREAM_PATH
from llmcli.worker.runtime_dir import peer_credentials

_MAX_LINE_BYTES = 1 << 16


def encode_chunk(data: bytes) -> bytes:
    """Return data as one chunk of a body."""
    return b"%x\r\n%b\r\n" % (len(data), data)


class ChunkedDecoder:
    """Decodes the body from a connection's bytes, however they are split."""

    def __init__(self) -> None:
        self.complete = False
        """Whether the last chunk has arrived."""
        self._bytes_left = 0  # of the current chunk's data
        self._line = b""  # the beginning of a line
        self._in_last_chunk = False

    def feed(self, data: bytes) -> bytes:
        """Return the part of the body that ``data`` contains. Raises ``ValueError`` for a malformed chunk."""
        pieces = []
        data, self._line, position = self._line + data, b"", 0
        while position < len(data) and not self.complete:
            if self._bytes_left:
                piece = data[position : position + self._bytes_left]
                self._bytes_left -= len(piece)
                position += len(piece)
                pieces.append(piece)
                continue
            end = data.find(b"\r\n", position)
            if end < 0:
                self._line = data[position:]
                if len(self._line) > _MAX_LINE_BYTES:
                    raise ValueError("the line is too long")
                break
            self._start_chunk(data[position:end])
            position = end + 2
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    def _start_chunk(self, line: bytes) -> None:
        """Take a line: the size of a chunk, or nothing after the data of one."""
        if line and not self._in_last_chunk:
            self._bytes_left = int(line, 16)
            self._in_last_chunk = not self._bytes_left
        elif self._in_last_chunk:
            self.complete = True


_READ_BYTES = 1 << 13
_POLL_MS = 100
"""Milliseconds between checks for an interrupt while the worker reads nothing."""


class Channel:
    """One exchange with a worker: lines go up and come down at the same time. ``send`` may be called by any thread.

    Both bodies are chunked (RFC 9112, section 7.1). ``http.client`` would read them too, but takes a tenth of a warm
    command to import.
    """

    def __init__(self, connected: socket.socket, start: dict[str, Any]) -> None:
        """Begin with the line ``start``. Raises ``WorkerGone``."""
        self._socket = connected
        self._send_lock = threading.Lock()
        self.response_started = threading.Event()
        """The worker has begun to answer, or ended."""
        connected.settimeout(None)
        self._writable_poll = select.poll()
        self._writable_poll.register(connected, select.POLLOUT)
        headers = f"POST {STREAM_PATH} HTTP/1.1\r\nHost: localhost\r\nContent-Type: {NDJSON_TYPE}\r\n"
        self._send_all(
            f"{headers}Transfer-Encoding: chunked\r\n\r\n".encode() + encode_chunk(protocol.encode_message(**start))
        )

    def send(self, *lines: bytes) -> None:
        """Send lines; an interrupt ends the wait for a worker that does not read. Raises ``WorkerGone``."""
        self._send_all(encode_chunk(b"".join(lines)))

    def _send_all(self, data: bytes) -> None:
        try:
            with self._send_lock:
                rest = memoryview(data)
                while rest:
                    if self._writable_poll.poll(_POLL_MS):
                        rest = rest[self._socket.send(rest, socket.MSG_DONTWAIT) :]
                    elif stop_requested():
                        self.close()  # stopped in the middle of a line: the exchange is unusable
                        check_interrupt()
        except OSError as error:
            raise WorkerGone(str(error)) from error

    def __iter__(self) -> Iterator[dict[str, Any]]:
        """Yield the worker's messages until the exchange ends. Raises ``WorkerGone`` then: the client ends it first.

        Raises ``InternalError`` for a line that is no message.
        """
        try:
            with self._socket, self._socket.makefile("rb") as answer:
                if read_status(answer) != OK:
                    raise WorkerGone("refused")
                self.response_started.set()
                rest, decoder = b"", ChunkedDecoder()
                while not decoder.complete and (data := answer.read1(_READ_BYTES)):
                    *lines, rest = (rest + decoder.feed(data)).split(b"\n")
                    yield from map(_decode_line, lines)
        except (OSError, ValueError) as error:
            raise WorkerGone(str(error)) from error
        finally:
            self.response_started.set()
        raise WorkerGone("the worker ended")

    def close(self) -> None:
        """End the exchange; the worker cancels its requests, and the reader thread sees the end."""
        with contextlib.suppress(OSError):  # it ended before
            self._socket.shutdown(socket.SHUT_RDWR)


def _decode_line(line: bytes) -> dict[str, Any]:
    try:
        return protocol.decode_message(line)
    except (ValueError, RecursionError) as error:
        raise unexpected_message(error) from error


def unexpected_message(error: Exception) -> InternalError:
    """Return the error for a message of the worker that cannot be parsed; ``error`` is the parser's."""
    return InternalError("the worker", detail=f"unexpected message: {type(error).__name__}: {error}")


OK = 200
_CONNECT_TIMEOUT_S = 1.0
"""Seconds to wait for a connection; the queue of a socket is long."""
_JSON_TYPE = "application/json"


class WorkerGone(Exception):  # never reaches the user: the caller starts another worker, or reports why not
    """The worker does not answer: none runs, or it ended."""


def connect_socket(path: str | os.PathLike[str], timeout: float | None = None) -> socket.socket:
    """Return a socket connected to the worker at ``path``; ``timeout`` in seconds, None to wait.

    Raises ``WorkerGone`` if no process listens, and ``AccessDenied`` if another user's process does.
    """
    connected = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        connected.settimeout(timeout)
        connected.connect(os.fspath(path))
        ours = peer_credentials(connected)[1] == os.getuid()
    except OSError as error:
        connected.close()
        raise WorkerGone(str(error)) from error
    if not ours:
        connected.close()
        raise AccessDenied(str(path), detail="another user listens there")
    return connected


def is_listening(path: str | os.PathLike[str]) -> bool:
    """Return whether a process listens at ``path``."""
    try:
        connect_socket(path, _CONNECT_TIMEOUT_S).close()
    except WorkerGone:
        return False
    except AccessDenied:
        return True
    return True


def request_json(
    path: str | os.PathLike[str], method: str, target: str, body: Any = None, *, timeout: float = 5.0
) -> Any:
    """Return the JSON answer of the worker at ``path``. Raises as ``connect_socket``, and ``RemoteError``."""
    content = b"" if body is None else json.dumps(body).encode()
    head = f"{method} {target} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Length: {len(content)}\r\n"
    with connect_socket(path, timeout) as connected:
        try:
            connected.sendall(f"{head}Content-Type: {_JSON_TYPE}\r\n\r\n".encode() + content)
            with connected.makefile("rb") as answer:
                status = read_status(answer)
                content = answer.read()
        except OSError as error:
            raise WorkerGone(str(error)) from error
    try:
        if status != OK:
            raise ValueError(f"status {status}")  # noqa: TRY301
        return json.loads(content)
    except ValueError as error:
        raise RemoteError(str(path), detail=str(error)) from error


def read_status(answer: BinaryIO) -> int:
    """Read the head of an answer (RFC 9112, section 4); return its status. Raises ``WorkerGone`` if there is none."""
    status = answer.readline(_MAX_LINE_BYTES).split()
    while answer.readline(_MAX_LINE_BYTES).strip():
        pass
    if len(status) < 2 or not status[1].isdigit():  # noqa: PLR2004
        raise WorkerGone("no answer")
    return int(status[1])
