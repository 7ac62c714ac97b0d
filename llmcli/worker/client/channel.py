"""The client side of the exchange in which a command runs: HTTP over a worker's socket."""

from __future__ import annotations

import contextlib
import select
import socket
import threading
from collections.abc import Iterator
from typing import Any

from llmcli.errors import InternalError
from llmcli.interrupt import check_interrupt, stop_requested
from llmcli.worker import protocol
from llmcli.worker.chunked_coding import ChunkedDecoder, encode_chunk
from llmcli.worker.client.worker_socket import OK, WorkerGone, read_status
from llmcli.worker.protocol import NDJSON_TYPE, STREAM_PATH

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
