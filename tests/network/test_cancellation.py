"""A cancelled request ends soon, whatever it waits for."""

from __future__ import annotations

import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

import pytest

from llmcli.backends.remote.transport.api_keys import ApiKey
from llmcli.backends.remote.transport.http_client import HttpClient
from llmcli.backends.remote.transport.remote_call import RemoteCall
from llmcli.config.backend_config import ServerConfig
from llmcli.network.cancellation import Cancelled, DeadlineExceeded
from llmcli.network.proxies import Proxy

MAX_LATENCY_S = 5.0
"""Most seconds between the cancellation and the end of the request, on a machine under any load; without cancellation
the request waits for ``TIMEOUT_S``."""
TIMEOUT_S = 60.0
STREAM_HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n"


class SilentServer:
    """Accepts a connection, sends some bytes after the first data of the client, and then nothing."""

    def __init__(self, reply: bytes = b"") -> None:
        self._reply = reply
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.port = self._listening.getsockname()[1]
        self.is_silent = threading.Event()
        """Set when the client waits for more."""
        self.saw_end = threading.Event()
        threading.Thread(target=self._serve, daemon=True).start()

    def close(self) -> None:
        self._listening.close()

    def _serve(self) -> None:
        with suppress(OSError):
            connected, _ = self._listening.accept()
            with connected:
                connected.recv(1 << 16)
                connected.sendall(self._reply)
                self.is_silent.set()
                with suppress(ConnectionResetError):
                    while connected.recv(1 << 16):
                        pass
                self.saw_end.set()


@contextmanager
def black_hole() -> Iterator[int]:
    """Yield a port where no connection is accepted or refused, since the queue of the listener is full."""
    listening = socket.create_server(("127.0.0.1", 0), backlog=0)
    port, queued = listening.getsockname()[1], []
    try:
        for _ in range(4):
            filler = socket.socket()
            filler.setblocking(False)
            filler.connect_ex(("127.0.0.1", port))
            queued.append(filler)
        time.sleep(0.05)
        yield port
    finally:
        for filler in [*queued, listening]:
            filler.close()


def request(url: str, call: RemoteCall, proxy: Proxy | None = None) -> BaseException | None:
    """Send a request and read its answer; return how it failed."""
    client = HttpClient(ServerConfig(url, timeout=TIMEOUT_S), ApiKey(), proxy, headers={})
    try:
        with client.open_response(call, "POST", "/chat/completions", {}) as answer:
            for _ in answer.iter_blocks():
                pass
    except Exception as error:  # noqa: BLE001 (the test says which it must be)
        return error
    finally:
        client.close()
    return None


def cancel_when(waiting: Callable[[], object], url: str, proxy: Proxy | None = None) -> float:
    """Cancel a request when ``waiting`` returns; return the seconds until it ended."""
    call, ended = RemoteCall(), []
    thread = threading.Thread(target=lambda: ended.append(request(url, call, proxy)), daemon=True)
    thread.start()
    waiting()
    time.sleep(0.05)
    assert thread.is_alive()
    started = time.monotonic()
    call.cancel()
    thread.join(TIMEOUT_S)
    assert isinstance(ended[0], Cancelled), ended
    return time.monotonic() - started


def test_while_it_connects():
    """The connection is neither accepted nor refused."""
    with black_hole() as port:
        assert cancel_when(lambda: time.sleep(0.1), f"http://127.0.0.1:{port}/v1") < MAX_LATENCY_S


def test_while_the_name_is_resolved(monkeypatch):
    """The resolver of the system cannot be interrupted; the request does not wait for it."""
    resolving, over = threading.Event(), threading.Event()

    def resolve(*_args: object) -> list:
        resolving.set()
        over.wait(TIMEOUT_S)
        raise socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution")

    monkeypatch.setattr(socket, "getaddrinfo", resolve)
    try:
        assert cancel_when(resolving.wait, "http://models.invalid/v1") < MAX_LATENCY_S
    finally:
        over.set()


@pytest.mark.parametrize(
    ("scheme", "reply"),
    [("https", b""), ("http", b""), ("http", b"HTTP/1.1 200 OK\r\nX-"), ("http", STREAM_HEAD + b"data: {}\n\n")],
    ids=["TLS handshake", "headers", "half of the headers", "stream"],
)
def test_while_the_server_is_silent(scheme, reply):
    """The request ends at once, and the server sees the end of the connection."""
    server = SilentServer(reply)
    try:
        assert cancel_when(server.is_silent.wait, f"{scheme}://127.0.0.1:{server.port}/v1") < MAX_LATENCY_S
        assert server.saw_end.wait(MAX_LATENCY_S)
    finally:
        server.close()


@pytest.mark.parametrize("reply", [b"", b"HTTP/1.1 200 OK\r\n\r\n"], ids=["no answer", "TLS handshake"])
def test_while_the_proxy_is_silent(reply):
    """Also a proxy that opens no tunnel, or one that leads nowhere."""
    server = SilentServer(reply)
    try:
        proxy = Proxy("127.0.0.1", server.port, "HTTPS_PROXY")
        assert cancel_when(server.is_silent.wait, "https://models.invalid/v1", proxy) < MAX_LATENCY_S
        assert server.saw_end.wait(MAX_LATENCY_S)
    finally:
        server.close()


@pytest.mark.parametrize("scheme", ["http", "https"])
def test_the_deadline_ends_it_too(scheme):
    """``--timeout`` covers the handshake and the wait for the headers."""
    server = SilentServer()
    try:
        started = time.monotonic()
        failure = request(f"{scheme}://127.0.0.1:{server.port}/v1", RemoteCall(started + 0.2))
        assert isinstance(failure, DeadlineExceeded) and 0.1 < time.monotonic() - started < MAX_LATENCY_S
    finally:
        server.close()


def test_the_certificate_of_the_cancelled_server_does_not_matter():
    """A handshake that the client ended itself is not reported as a failure of TLS."""
    server = SilentServer()
    try:
        call = RemoteCall()
        threading.Timer(0.2, call.cancel).start()
        failure = request(f"https://127.0.0.1:{server.port}/v1", call)
        assert isinstance(failure, Cancelled) and not isinstance(failure, ssl.SSLError)
    finally:
        server.close()


def test_a_part_of_a_call_ends_with_it_or_alone():
    """A part that begins after the end of the call has ended, too."""
    call = RemoteCall()
    with call.child() as first, call.child() as second:
        first.cancel()
        assert (first.is_cancelled, second.is_cancelled, call.is_cancelled) == (True, False, False)
        call.cancel()
        assert second.is_cancelled
    with call.child() as late:
        assert late.is_cancelled


def test_a_call_knows_whether_the_server_has_sent_anything():
    """As little as the first line of a response."""
    for reply, received in ((b"", False), (STREAM_HEAD, True)):
        server = SilentServer(reply)
        call = RemoteCall()
        client = HttpClient(ServerConfig(f"http://127.0.0.1:{server.port}"), ApiKey(), None, headers={})

        def ask(client=client, call=call) -> None:
            with suppress(Cancelled), client.open_response(call, "POST", "/x", {}) as answer:
                list(answer.iter_blocks())

        thread = threading.Thread(target=ask, daemon=True)
        thread.start()
        assert server.is_silent.wait(TIMEOUT_S)
        until = time.monotonic() + MAX_LATENCY_S
        while received and not call.received and time.monotonic() < until:
            time.sleep(0.01)
        assert call.received == received
        call.cancel()
        thread.join(TIMEOUT_S)
        server.close()
