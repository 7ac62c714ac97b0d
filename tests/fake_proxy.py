"""A proxy on loopback that opens tunnels (RFC 9110, section 9.3.6), correctly or not, and records what it sees.

``script`` has a function of the socket for each of the next connections; later ones use ``usual``.
"""

from __future__ import annotations

import select
import socket
import threading
from collections.abc import Callable
from contextlib import suppress

Behaviour = Callable[["FakeProxy", socket.socket], None]


class FakeProxy:
    """The proxy. Every tunnel leads to ``port`` on this machine, whatever name was requested.

    ``heads``: the heads of received requests, as text. ``seen``: all bytes in both directions.
    """

    def __init__(self, port: int) -> None:
        self.port_behind = port
        self.script: list[Behaviour] = []
        self.usual: Behaviour = open_tunnel()
        self.heads: list[str] = []
        self.seen = bytearray()
        self.over = threading.Event()  # ends stalled connections
        self._listening = socket.create_server(("127.0.0.1", 0), backlog=64)
        self.port = self._listening.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        self.over.set()
        with suppress(OSError):
            self._listening.shutdown(socket.SHUT_RDWR)
        self._listening.close()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                connected, _ = self._listening.accept()
                threading.Thread(target=self._serve, args=(connected,), daemon=True).start()

    def _serve(self, connected: socket.socket) -> None:
        with connected, suppress(OSError):
            head = b""
            while not head.endswith(b"\r\n\r\n") and (piece := connected.recv(1)):  # no byte after it
                head += piece
            if head:
                self.heads.append(head.decode())
                behaviour = self.script.pop(0) if self.script else self.usual
                behaviour(self, connected)


def open_tunnel(most: int | None = None) -> Behaviour:
    """Open a tunnel, which breaks after this many bytes from the server."""

    def behave(proxy: FakeProxy, client: socket.socket) -> None:
        with socket.create_connection(("127.0.0.1", proxy.port_behind)) as server:
            client.sendall(b"HTTP/1.1 200 Connection established\r\n\r\n")
            said = 0
            while not proxy.over.is_set():
                for source in select.select([client, server], [], [], 0.1)[0]:
                    piece = source.recv(1 << 16)
                    proxy.seen += piece
                    said += len(piece) if source is server else 0
                    if not piece or (most is not None and said > most):
                        return
                    (client if source is server else server).sendall(piece)

    return behave


def reply_lines(*lines: str, body: str = "") -> Behaviour:
    """Answer with these lines and close."""
    data = "".join(f"{line}\r\n" for line in lines) + f"\r\n{body}"
    return lambda _proxy, client: client.sendall(data.encode())


def impersonate_server(text: bytes = b"a page that wants to be logged in to, where TLS should be") -> Behaviour:
    """Open a tunnel without a server, and reply to data that comes through it."""

    def behave(_proxy: FakeProxy, client: socket.socket) -> None:
        client.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
        client.recv(1 << 16)
        client.sendall(text)

    return behave


def stall() -> Behaviour:
    """Send nothing."""
    return lambda proxy, _client: proxy.over.wait(20) and None
