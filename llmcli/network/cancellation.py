"""Cancellation of a running request by another thread, and the network on which each wait then ends at once.

This network is under httpcore2's connection pool. Connecting and resolving a name happen in a thread that a cancelled
request leaves behind. All later waits, for TLS, for a proxy and for the server, end when ``CancelToken.cancel`` shuts
the socket down.
"""

from __future__ import annotations

import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, wait
from contextlib import contextmanager, suppress
from typing import Any, Self

import httpcore2

from llmcli.fast_dataclass import slotted


class Cancelled(Exception):
    """The call was cancelled: no consumer waits for it any more."""


class DeadlineExceeded(Exception):
    """The call's deadline passed."""


class CancelToken:
    """Cancels a call; ``deadline`` is a ``time.monotonic()`` value. ``received``: the server has sent anything."""

    def __init__(self, deadline: float | None = None) -> None:
        self.deadline = deadline
        self.received = False
        self._children: set[CancelToken] = set()
        self._cancelled = threading.Event()
        self._lock = threading.Lock()
        self._socket: socket.socket | None = None

    def cancel(self) -> None:
        """Cancel the call: a thread that waits for its socket wakes up."""
        with self._lock:
            self._cancelled.set()
            if self._socket is not None:
                with suppress(OSError):  # it is closed already
                    socket.socket.shutdown(self._socket, socket.SHUT_RDWR)  # below TLS, which another thread reads
            for child in self._children:
                child.cancel()

    @contextmanager
    def child(self) -> Iterator[Self]:
        """Give a token for a part of the call, which is cancelled with it and can be cancelled alone."""
        made = self._make_child()
        with self._lock:
            self._children.add(made)
            if self.is_cancelled:
                made.cancel()
        try:
            yield made
        finally:
            with self._lock:
                self._children.discard(made)

    def _make_child(self) -> Self:
        return type(self)(self.deadline)

    @property
    def is_cancelled(self) -> bool:
        """Whether it was cancelled."""
        return self._cancelled.is_set()

    def check(self) -> None:
        """Raise ``Cancelled`` or ``DeadlineExceeded``, if either applies."""
        if self.is_cancelled:
            raise Cancelled
        if self.deadline is not None and time.monotonic() >= self.deadline:
            raise DeadlineExceeded

    def attach_socket(self, used: socket.socket | None) -> None:
        """Remember the socket that the call waits for, None when it waits for none. Raises as ``check``."""
        with self._lock:
            self._socket = used
        if used is not None:
            self.check()

    @property
    def remaining(self) -> float | None:
        """Seconds until the deadline (never negative), or None without one."""
        return None if self.deadline is None else max(0.0, self.deadline - time.monotonic())

    def limit_timeout(self, seconds: float) -> float:
        """Return how long to wait for the server: ``seconds``, less where the deadline comes before."""
        if self.deadline is None:
            return seconds
        return max(0.001, min(seconds, self.deadline - time.monotonic()))

    def sleep(self, seconds: float) -> None:
        """Wait. Raises as ``check``."""
        self._cancelled.wait(self.limit_timeout(seconds))
        self.check()


Connect = Callable[[str, int, float], httpcore2.NetworkStream]
"""Opens a connection to a host and port within so many seconds."""
_POLL_S = 0.02
"""Seconds between two looks at the token while a connection is made."""


@slotted
class Exchange:
    """The state of one attempt to send a request and read its answer.

    ``is_new``: it opened a connection. ``is_connected``: that leads to the server, through any proxy and TLS.
    ``has_received``: the other side sent something. ``peer_closed``: it ended the connection.
    """

    call: CancelToken
    connect_timeout: float
    timeout: float
    is_new: bool = False
    is_connected: bool = False
    has_received: bool = False
    peer_closed: bool = False
    stream: CancellableStream | None = None

    def trace(self, event: str, info: dict[str, Any]) -> None:
        """Note the first byte to the server; the pool calls this."""
        if event == "http11.send_request_headers.started" and info["request"].method != b"CONNECT":
            self.is_connected = True

    def limit_timeout(self) -> float:
        """Return how long to wait now."""
        return self.call.limit_timeout(self.timeout if self.is_connected else self.connect_timeout)


class CancellableNetwork(httpcore2.NetworkBackend):
    """Opens connections for the thread's ``exchange``."""

    def __init__(self, connect: Connect | None = None) -> None:
        """``connect`` opens a connection in a thread of its own; by default that of httpcore2."""
        self._local = threading.local()
        self._connect = connect or _connect_directly

    @property
    def exchange(self) -> Exchange:
        """What the current thread sends and reads."""
        exchange: Exchange = self._local.exchange
        return exchange

    @exchange.setter
    def exchange(self, exchange: Exchange) -> None:
        self._local.exchange = exchange

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,  # noqa: ARG002 (the exchange knows the deadline)
        local_address: str | None = None,  # noqa: ARG002 (httpcore's)
        socket_options: Iterable[httpcore2.SOCKET_OPTION] | None = None,  # noqa: ARG002 (httpcore's)
    ) -> httpcore2.NetworkStream:
        exchange = self.exchange
        exchange.is_new = True
        connecting: Future[httpcore2.NetworkStream] = Future()
        seconds = exchange.limit_timeout()
        arguments = (connecting, self._connect, host, port, seconds)
        threading.Thread(target=_run_connect, args=arguments, name="connect", daemon=True).start()
        try:
            while not wait([connecting], _POLL_S).done:
                exchange.call.check()
            with _unwrap_os_errors():
                stream = connecting.result()
            exchange.stream = CancellableStream(self, stream, stream.get_extra_info("socket").dup())
        except BaseException:  # also an interrupt: a connection that comes late is closed
            connecting.add_done_callback(_close_late)
            raise
        return exchange.stream


class CancellableStream(httpcore2.NetworkStream):
    """A stream whose reads and writes ``CancelToken.cancel`` ends through ``handle``, a duplicate of its socket.

    TLS takes the socket itself away from the stream below.
    """

    def __init__(self, network: CancellableNetwork, stream: httpcore2.NetworkStream, handle: socket.socket) -> None:
        self._network = network
        self._stream = stream
        self._handle = handle

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:  # noqa: ARG002 (the exchange knows it)
        exchange = self._attached_exchange()
        with _unwrap_os_errors():
            data = self._stream.read(max_bytes, exchange.limit_timeout())
        if data:
            exchange.has_received = True
            exchange.call.received = exchange.call.received or exchange.is_connected
        else:
            exchange.call.check()  # a cancelled request ends its own connection
            exchange.peer_closed = True
        return data

    def write(self, buffer: bytes, timeout: float | None = None) -> None:  # noqa: ARG002 (httpcore's)
        exchange = self._attached_exchange()
        try:
            self._stream.write(buffer, exchange.limit_timeout())
        except httpcore2.WriteTimeout as error:
            raise TimeoutError from error  # after other errors, the pool reads the answer of a server that refused

    def start_tls(
        self,
        ssl_context: ssl.SSLContext,
        server_hostname: str | None = None,
        timeout: float | None = None,  # noqa: ARG002 (httpcore's)
    ) -> httpcore2.NetworkStream:
        exchange = self._attached_exchange()
        with _unwrap_os_errors():
            stream = self._stream.start_tls(ssl_context, server_hostname, exchange.limit_timeout())
        exchange.stream = CancellableStream(self._network, stream, self._handle)
        return exchange.stream

    def close(self) -> None:
        self._stream.close()
        self._handle.close()

    def get_extra_info(self, info: str) -> Any:
        return self._stream.get_extra_info(info)

    def _attached_exchange(self) -> Exchange:
        exchange = self._network.exchange
        exchange.call.attach_socket(self._handle)
        return exchange


def _connect_directly(host: str, port: int, timeout: float) -> httpcore2.NetworkStream:
    return httpcore2.SyncBackend().connect_tcp(host, port, timeout, socket_options=[])


def _run_connect(
    connecting: Future[httpcore2.NetworkStream], connect: Connect, host: str, port: int, timeout: float
) -> None:
    try:
        connecting.set_result(connect(host, port, timeout))
    except Exception as error:  # noqa: BLE001 (raised by the thread that waits)
        connecting.set_exception(error)


def _close_late(connecting: Future[httpcore2.NetworkStream]) -> None:
    """Close a connection that was established after its request was cancelled."""
    if connecting.exception() is None:
        connecting.result().close()


@contextmanager
def _unwrap_os_errors() -> Iterator[None]:
    """Raise the error of the socket instead of the library's."""
    try:
        yield
    except (httpcore2.NetworkError, httpcore2.TimeoutException) as error:
        raise error.__cause__ or error from None
