"""HTTP/1.1 to workers over their sockets, for the event loop: connections that are kept, answers passed on as they come.

Of RFC 9112 it reads what workers write: bodies with a length, and chunked ones. A library for HTTP would do the same at
several times the cost of a token.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator

_IDLE = 8
"""Connections to one worker that are kept without use."""
_PIECE = 1 << 16


class Lost(Exception):  # nobody sees it: another connection is tried, or the cause of the end is told
    """The worker ended the connection."""


class Link:
    """One connection to a worker; ``kept``: it was used before, so that the worker may just be closing it."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer
        self.kept = False
        self.whole = False
        """The last answer was read to its end."""
        self._loop = asyncio.get_running_loop()
        self.heard = self._loop.time()
        """When it was asked, or last said something, by the loop's clock."""

    @classmethod
    async def on(cls, connected: socket.socket) -> Link:
        """Return a link on a connected socket."""
        connected.setblocking(False)
        return cls(*await asyncio.open_unix_connection(sock=connected))

    @property
    def usable(self) -> bool:
        """It can be asked again, as far as can be seen from here."""
        return self.whole and not (self._reader.at_eof() or self._writer.is_closing())

    async def ask(self, path: str, headers: str, body: bytes) -> tuple[int, list[tuple[bytes, bytes]]]:
        """Send a POST request; return status and headers of the answer. Raises ``Lost``."""
        self.whole = False
        self.heard = self._loop.time()
        head = f"POST {path} HTTP/1.1\r\nHost: localhost\r\n{headers}Content-Length: {len(body)}\r\n\r\n"
        try:
            self._writer.write(head.encode("latin-1") + body)
            await self._writer.drain()
            first, *lines = (await self._reader.readuntil(b"\r\n\r\n")).split(b"\r\n")
            self.heard = self._loop.time()
            fields = [line.partition(b":") for line in lines if line]
            self._headers = {name.lower(): value.strip() for name, _, value in fields}
            return int(first.split()[1]), list(self._headers.items())
        except (OSError, EOFError, ValueError, IndexError, asyncio.LimitOverrunError) as error:
            raise Lost(str(error)) from error

    async def body(self) -> AsyncIterator[bytes]:
        """Yield the answer's body in pieces, as they come. Raises ``Lost`` when it ends before its end."""
        try:
            if self._headers.get(b"transfer-encoding") == b"chunked":
                while size := int(await self._reader.readuntil(b"\r\n"), 16):
                    self.heard = self._loop.time()
                    yield (await self._reader.readexactly(size + 2))[:-2]
                await self._reader.readuntil(b"\r\n")
            else:
                left = int(self._headers.get(b"content-length", b"0"))
                while left:
                    piece = await self._reader.read(min(left, _PIECE))
                    if not piece:
                        raise EOFError  # noqa: TRY301
                    left -= len(piece)
                    self.heard = self._loop.time()
                    yield piece
        except (OSError, EOFError, ValueError) as error:
            raise Lost(str(error)) from error
        self.whole = self._headers.get(b"connection", b"").lower() != b"close"

    def close(self) -> None:
        """End the connection at once: what the worker still does for it is cancelled."""
        self._writer.transport.abort()


class Links:
    """The connections without use, by the worker's key."""

    def __init__(self) -> None:
        self._idle: dict[str, list[Link]] = {}

    def take(self, key: str) -> Link | None:
        """Return a connection that is kept, None where there is none."""
        idle = self._idle.get(key, [])
        while idle:
            link = idle.pop()
            if link.usable:
                link.kept = True
                return link
            link.close()
        self._idle.pop(key, None)
        return None

    def give(self, key: str, link: Link) -> None:
        """Keep a connection for the next request, if it is good for one."""
        idle = self._idle.setdefault(key, [])
        if link.usable and len(idle) < _IDLE:
            idle.append(link)
        else:
            link.close()

    def close(self) -> None:
        """End all of them."""
        for link in (link for idle in self._idle.values() for link in idle):
            with contextlib.suppress(RuntimeError):  # the loop is over
                link.close()
        self._idle.clear()
