"""The client copes with servers whose HTTP is broken, hostile or merely unusual."""

from __future__ import annotations

import itertools
import socket
import threading
from collections.abc import Iterable
from contextlib import suppress

import pytest

from llmcli.backends.remote.transport.api_keys import ApiKey
from llmcli.backends.remote.transport.http_client import HttpClient
from llmcli.backends.remote.transport.remote_call import RemoteCall
from llmcli.config.backend_config import ServerConfig
from llmcli.errors import RemoteError, TemporaryFailure, Unauthorized

HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"


class RawServer:
    """Sends blocks of bytes as the answer to each request; ``num_connections`` counts. It closes after each answer."""

    def __init__(self, *blocks: bytes, endless: Iterable[bytes] = (), requests_per_connection: int = 1) -> None:
        self._blocks = blocks
        self._endless = endless
        self._requests_per_connection = requests_per_connection
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.num_connections = 0
        self.num_sent = 0
        self.url = f"http://127.0.0.1:{self._listening.getsockname()[1]}/v1"
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        with suppress(OSError):
            self._listening.shutdown(socket.SHUT_RDWR)
        self._listening.close()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                connected, _ = self._listening.accept()
                self.num_connections += 1
                with connected, suppress(OSError):
                    self._answer(connected)

    def _answer(self, connected: socket.socket) -> None:
        for _ in range(self._requests_per_connection):
            read = b""
            while b"\r\n\r\n{}" not in read:
                data = connected.recv(1 << 16)
                if not data:  # the client is gone
                    return
                read += data
            for block in itertools.chain(self._blocks, self._endless):
                connected.sendall(block)
                self.num_sent += len(block)


@pytest.fixture
def serve():
    """Return a function that starts a server and returns it with a client of it."""
    made = []

    def start(*blocks: bytes, **how) -> tuple[RawServer, HttpClient]:
        server = RawServer(*blocks, **how)
        made.append((server, HttpClient(ServerConfig(server.url, timeout=5), ApiKey(), None, headers={})))
        return made[-1]

    yield start
    for server, client in made:
        client.close()
        server.close()


def post(client: HttpClient) -> object:
    return client.request_json(RemoteCall(), "POST", "/x", {})


@pytest.mark.parametrize(
    "blocks",
    [
        (),
        (b"HTTP/1.1 200 OK\r\nX-",),
        (HEAD + b'Content-Length: 50\r\n\r\n{"a"',),
        (HEAD + b'Transfer-Encoding: chunked\r\n\r\n5\r\n{"a":',),
    ],
    ids=["nothing", "half of the headers", "half of the body", "half of a chunked body"],
)
def test_a_broken_connection(serve, blocks):
    """A short answer is never taken for a whole one; it can be tried again."""
    with pytest.raises(TemporaryFailure, match="the connection broke"):
        post(serve(*blocks)[1])


@pytest.mark.parametrize(
    "answer",
    [
        b"SSH-2.0-OpenSSH_9.9\r\n\r\n",
        HEAD + b"Content-Length: many\r\n\r\n{}",
        HEAD + b"Content-Length: 2\r\nContent-Length: 3\r\n\r\n{}",
        HEAD + b"Transfer-Encoding: chunked\r\n\r\nzz\r\n{}",
    ],
)
def test_an_answer_that_is_not_http(serve, answer):
    """Ambiguous lengths count as such."""
    with pytest.raises(RemoteError, match="not HTTP"):
        post(serve(answer)[1])


def test_an_error_whose_text_breaks_off(serve):
    """The status counts."""
    with pytest.raises(Unauthorized):
        post(serve(b"HTTP/1.1 401 Unauthorized\r\nContent-Length: 500\r\n\r\n<html>")[1])


def test_headers_without_an_end(serve):
    """They are refused after 100 KB or so."""
    server, client = serve(b"HTTP/1.1 200 OK\r\n", endless=(b"X-More: %d\r\n" % number for number in itertools.count()))
    with pytest.raises(RemoteError, match="not HTTP"):
        post(client)
    assert server.num_sent < 10_000_000  # what buffers hold


def test_a_body_without_an_end(serve):
    """It is refused after 16 MB."""
    _, client = serve(HEAD + b"\r\n", endless=itertools.repeat(b" " * 65_536))
    with pytest.raises(RemoteError, match="16,777,216 bytes"):
        post(client)


def test_a_redirect_is_not_followed(serve):
    """Nothing is sent to the other address."""
    other, _ = serve(HEAD + b"Content-Length: 2\r\n\r\n{}")
    moved = b"HTTP/1.1 307 Temporary Redirect\r\nLocation: %b\r\nContent-Length: 0\r\n\r\n" % other.url.encode()
    with pytest.raises(RemoteError):
        post(serve(moved)[1])
    assert other.num_connections == 0


def test_a_compressed_answer_is_refused(serve):
    """A few bytes of it could be gigabytes."""
    with pytest.raises(RemoteError, match="content coding that llm did not request"):
        post(serve(HEAD + b"Content-Encoding: gzip\r\nContent-Length: 2\r\n\r\n{}")[1])


def test_an_idle_connection_that_the_server_closed(serve):
    """The request goes over a new one."""
    server, client = serve(HEAD + b"Content-Length: 2\r\n\r\n{}", requests_per_connection=2)
    assert [post(client) for _ in range(5)] == [{}] * 5
    assert server.num_connections == 3
