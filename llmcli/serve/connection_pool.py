"""HTTP/1.1 to workers over their sockets, for the event loop: persistent connections, answers passed on as they arrive.

It implements the parts of RFC 9112 that workers use: bodies with a length, and chunked ones. An HTTP library would cost
several times as much per token.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator

from llmcli.worker.client.channel import ChunkedDecoder

_MAX_IDLE_CONNECTIONS = 8
"""Most idle connections kept to one worker."""
_READ_BYTES = 1 << 16


class ConnectionLost(Exception):  # never reaches the user: another connection is tried, or the cause is reported
    """The worker ended the connection."""


class WorkerConnection:
    """One connection to a worker; ``reused``: it was used before, so the worker may just be closing it."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer
        self.reused = False
        self.response_complete = False
        """The last answer was read to its end."""
        self._loop = asyncio.get_running_loop()
        self.last_active_at = self._loop.time()
        """When a request was last sent or data last received, by the loop's clock."""

    @classmethod
    async def from_socket(cls, connected: socket.socket) -> WorkerConnection:
        """Return a connection on a connected socket."""
        connected.setblocking(False)
        return cls(*await asyncio.open_unix_connection(sock=connected))

    @property
    def is_reusable(self) -> bool:
        """Whether it can take another request, as far as this side can tell."""
        return self.response_complete and not (self._reader.at_eof() or self._writer.is_closing())

    async def send_request(self, path: str, headers: str, body: bytes) -> tuple[int, list[tuple[bytes, bytes]]]:
        """Send a POST request; return status and headers of the answer. Raises ``ConnectionLost``."""
        self.response_complete = False
        self.last_active_at = self._loop.time()
        head = f"POST {path} HTTP/1.1\r\nHost: localhost\r\n{headers}Content-Length: {len(body)}\r\n\r\n"
        try:
            self._writer.write(head.encode("latin-1") + body)
            await self._writer.drain()
            first, *lines = (await self._reader.readuntil(b"\r\n\r\n")).split(b"\r\n")
            self.last_active_at = self._loop.time()
            fields = [line.partition(b":") for line in lines if line]
            self._headers = {name.lower(): value.strip() for name, _, value in fields}
            return int(first.split()[1]), list(self._headers.items())
        except (OSError, EOFError, ValueError, IndexError, asyncio.LimitOverrunError) as error:
            raise ConnectionLost(str(error)) from error

    async def iter_body(self) -> AsyncIterator[bytes]:
        """Yield the answer's body in pieces, as they arrive. Raises ``ConnectionLost`` when it is cut short."""
        try:
            if self._headers.get(b"transfer-encoding") == b"chunked":
                decoder = ChunkedDecoder()
                while not decoder.complete:
                    data = await self._reader.read(_READ_BYTES)
                    if not data:
                        raise EOFError  # noqa: TRY301 (it becomes ``ConnectionLost`` below)
                    self.last_active_at = self._loop.time()
                    piece = decoder.feed(data)
                    if piece:
                        yield piece
            else:
                left = int(self._headers.get(b"content-length", b"0"))
                while left:
                    piece = await self._reader.read(min(left, _READ_BYTES))
                    if not piece:
                        raise EOFError  # noqa: TRY301 (as above)
                    left -= len(piece)
                    self.last_active_at = self._loop.time()
                    yield piece
        except (OSError, EOFError, ValueError) as error:
            raise ConnectionLost(str(error)) from error
        self.response_complete = self._headers.get(b"connection", b"").lower() != b"close"

    def close(self) -> None:
        """End the connection at once; the worker cancels its request."""
        self._writer.transport.abort()


class WorkerConnectionPool:
    """The idle connections, by the worker's key."""

    def __init__(self) -> None:
        self._idle: dict[str, list[WorkerConnection]] = {}

    def acquire(self, key: str) -> WorkerConnection | None:
        """Return an idle connection, or None."""
        idle = self._idle.get(key, [])
        while idle:
            connection = idle.pop()
            if connection.is_reusable:
                connection.reused = True
                return connection
            connection.close()
        self._idle.pop(key, None)
        return None

    def release(self, key: str, connection: WorkerConnection) -> None:
        """Keep a connection for the next request, if it can take one."""
        idle = self._idle.setdefault(key, [])
        if connection.is_reusable and len(idle) < _MAX_IDLE_CONNECTIONS:
            idle.append(connection)
        else:
            connection.close()

    def close(self) -> None:
        """End all of them."""
        for connection in (connection for idle in self._idle.values() for connection in idle):
            with contextlib.suppress(RuntimeError):  # the loop is over
                connection.close()
        self._idle.clear()
