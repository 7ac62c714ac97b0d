"""A reverse proxy on loopback that spoils the first responses of the server behind it, whatever that serves."""

from __future__ import annotations

import select
import socket
import ssl
import struct
import threading
from collections.abc import Callable
from contextlib import suppress

Spoil = Callable[["FaultProxy", socket.socket], None]
"""Answers the request that has arrived on a socket, wrongly."""


class FaultProxy:
    """The proxy of the server at ``port``. ``faults``: for each of the next connections; ``usual``: for later ones.

    ``num_connections``: how many were made.
    """

    def __init__(self, port: int, tls: ssl.SSLContext | None = None) -> None:
        self.port_behind = port
        self._tls = tls
        self.faults: list[Spoil] = []
        self.usual: Spoil | None = None
        self.num_connections = 0
        self.over = threading.Event()  # ends stalled connections
        self._listening = socket.create_server(("127.0.0.1", 0), backlog=64)
        self.port = self._listening.getsockname()[1]
        self.url = f"{'https' if tls else 'http'}://127.0.0.1:{self.port}"
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
                self.num_connections += 1
                threading.Thread(target=self._serve, args=(connected,), daemon=True).start()

    def _serve(self, connected: socket.socket) -> None:
        with (
            suppress(OSError),
            self._tls.wrap_socket(connected, server_side=True) if self._tls else connected as client,
        ):
            fault = self.faults.pop(0) if self.faults else self.usual
            if fault is None:
                self.relay(client)
            else:
                fault(self, client)

    def relay(self, client: socket.socket, most: int | None = None) -> None:
        """Pass on the bytes of both sides until one of them ends, or ``most`` bytes of a response's body were sent."""
        with socket.create_connection(("127.0.0.1", self.port_behind)) as server:
            response = b""
            while not self.over.is_set():
                for source in select.select([client, server], [], [], 0.1)[0]:
                    piece = source.recv(1 << 16)
                    if not piece:
                        return
                    if source is client:
                        server.sendall(piece)
                    elif most is None:
                        client.sendall(piece)
                    else:
                        response += piece
                        head, end, body = response.partition(b"\r\n\r\n")
                        if end and len(body) >= most:
                            client.sendall(head + end + body[:most])
                            return


def read_request(client: socket.socket) -> None:
    """Read a request with its body."""
    head = b""
    while b"\r\n\r\n" not in head and (piece := client.recv(1 << 16)):
        head += piece
    head, _, body = head.partition(b"\r\n\r\n")
    length = next((int(line[15:]) for line in head.splitlines() if line.lower().startswith(b"content-length:")), 0)
    while len(body) < length and (piece := client.recv(1 << 16)):
        body += piece


def reply_status(status: int, **fields: str) -> Spoil:
    """Answer with a status and these fields of the header."""

    def spoil(_proxy: FaultProxy, client: socket.socket) -> None:
        read_request(client)
        header = "".join(f"{name.replace('_', '-')}: {value}\r\n" for name, value in fields.items())
        client.sendall(f"HTTP/1.1 {status} Fault\r\n{header}Content-Length: 0\r\nConnection: close\r\n\r\n".encode())

    return spoil


def truncate_body(proxy: FaultProxy, client: socket.socket, most: int = 5) -> None:
    """End the connection after ``most`` bytes of the body."""
    proxy.relay(client, most)


def reset_connection(proxy: FaultProxy, client: socket.socket, most: int = 5) -> None:
    """Reset the connection (RST) after ``most`` bytes of the body."""
    proxy.relay(client, most)
    client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


def stall_body(proxy: FaultProxy, client: socket.socket) -> None:
    """Send nothing after a few bytes of the body."""
    proxy.relay(client, most=5)
    proxy.over.wait(20)


def hang_up(_proxy: FaultProxy, client: socket.socket) -> None:
    """End the connection without an answer."""
    read_request(client)
