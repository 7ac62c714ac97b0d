"""A proxy on loopback that opens tunnels (RFC 9110, section 9.3.6), correctly or not, and records what it sees.

``script`` has a function of the socket for each of the next connections; later ones use ``usual``.
"""

from __future__ import annotations

import select
import socket
import ssl
import threading
from collections.abc import Callable
from contextlib import suppress

Behaviour = Callable[["FakeProxy", socket.socket], None]


class FakeProxy:
    """The proxy. Every tunnel leads to ``port`` on this machine, whatever name was requested.

    ``heads``: the heads of received requests, as text. ``seen``: all bytes in both directions.
    """

    def __init__(self, port: int, tls: ssl.SSLContext | None = None) -> None:
        self.port_behind = port
        self._tls = tls
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
        with (
            suppress(OSError),
            self._tls.wrap_socket(connected, server_side=True) if self._tls else connected as client,
        ):
            self.converse(client)

    def converse(self, connected: socket.socket) -> None:
        """Read the request for a tunnel and behave."""
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
            relay(proxy, client, server, most)

    return behave


def relay(proxy: FakeProxy, client: socket.socket, server: socket.socket, most: int | None = None) -> None:
    """Pass on the bytes of both sides until one of them ends."""
    said = 0
    while not proxy.over.is_set():
        decrypted = isinstance(client, ssl.SSLSocket) and client.pending()
        for source in [client] if decrypted else select.select([client, server], [], [], 0.1)[0]:
            piece = source.recv(1 << 16)
            proxy.seen += piece
            said += len(piece) if source is server else 0
            if not piece or (most is not None and said > most):
                return
            (client if source is server else server).sendall(piece)


class FakeSocksProxy(FakeProxy):
    """A SOCKS5 proxy (RFC 1928, RFC 1929) that leads to ``port``.

    ``credentials``: the user name and password that it wants. ``replies``: bytes that it sends instead of its own, one
    for each of the client's messages. ``targets``: the names that were asked for, with their ports.
    """

    def __init__(
        self, port: int, credentials: tuple[bytes, bytes] | None = None, replies: tuple[bytes, ...] = ()
    ) -> None:
        super().__init__(port)
        self._credentials = credentials
        self._replies = replies
        self.targets: list[tuple[str, int]] = []

    def converse(self, connected: socket.socket) -> None:
        for reply in self._replies:
            connected.recv(1 << 10)
            connected.sendall(reply)
        if self._replies:
            return
        connected.recv(1 << 10)
        connected.sendall(b"\x05\x02" if self._credentials else b"\x05\x00")
        if self._credentials:
            name, password = self._credentials
            wanted = b"\x01" + bytes([len(name)]) + name + bytes([len(password)]) + password
            right = connected.recv(1 << 10) == wanted
            connected.sendall(b"\x01\x00" if right else b"\x01\x01")
            if not right:
                return
        request = connected.recv(1 << 10)
        self.targets.append((request[5:-2].decode(), int.from_bytes(request[-2:])))
        with socket.create_connection(("127.0.0.1", self.port_behind)) as server:
            connected.sendall(b"\x05\x00\x00\x01" + bytes(6))
            relay(self, connected, server)


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
