"""The client side of a worker: finding or starting it, and the exchange in which a command runs, HTTP over its socket.

Bodies arrive in chunks, without trailers or extensions, as workers write them (RFC 9112, section 7.1).
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import socket
import threading
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from llmcli.errors import AccessDenied, InternalError, LlmError, RemoteError, TemporaryFailure
from llmcli.interrupt import check_interrupt, stop_requested
from llmcli.worker import protocol
from llmcli.worker.protocol import NDJSON_TYPE, STREAM_PATH
from llmcli.worker.runtime_dir import WorkerConfig, WorkerPaths, peer_credentials

if TYPE_CHECKING:
    import subprocess  # most commands find a worker, and it takes 2 ms to import

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
            raise ValueError(f"status {status}")  # noqa: TRY301 (it becomes ``RemoteError`` below)
        return json.loads(content)
    except ValueError as error:
        raise RemoteError(str(path), detail=str(error)) from error


def read_status(answer: BinaryIO) -> int:
    """Read the head of an answer (RFC 9112, section 4); return its status. Raises ``WorkerGone`` if there is none."""
    status = answer.readline(_MAX_LINE_BYTES).split()
    while answer.readline(_MAX_LINE_BYTES).strip():
        pass
    if len(status) < 2 or not status[1].isdigit():  # noqa: PLR2004 (a protocol and a status)
        raise WorkerGone("no answer")
    return int(status[1])


_WAIT_TIMEOUT_S = 5.0
"""Seconds to wait for another command that is starting a worker."""
_EXIT_WAIT_S = 0.02
"""Seconds in which a worker that has closed its connection ends."""


class WorkerLauncher:
    """Connects to the worker at ``paths``, which ``config`` describes; ``environ`` is this process's environment.

    The process that holds the lock binds the socket, begins to listen and hands it to the new process: from then on any
    client can connect, and waits in the socket's queue until the worker accepts. So no client polls, and if fifty
    commands start at once, forty-nine find a socket.

    ``before_start`` is called before a new worker is started: to free memory for it, or to refuse it.
    """

    def __init__(
        self,
        paths: WorkerPaths,
        config: WorkerConfig,
        environ: Mapping[str, str],
        before_start: Callable[[], None] = lambda: None,
    ) -> None:
        self.paths = paths
        self._before_start = before_start
        self.config = config
        self._environ = environ
        self.draft: Path | None = None
        """The file of the model that drafts for the worker's model."""
        self.served_name = config.name
        """The name of the model for clients of ``llm serve``."""
        self._child: subprocess.Popen[bytes] | None = None
        self.spawned = False
        """Whether the last connection was to a worker that this process started."""
        self.pid = 0
        """The process id of the last connection's peer; right after a start it may be that of the starting process."""

    def connect_running(self) -> socket.socket | None:
        """Return a connection to the worker, None if none runs. Raises ``AccessDenied``."""
        self.spawned = False
        try:
            connected = connect_socket(self.paths.socket)
        except WorkerGone:
            return None
        self.pid = peer_credentials(connected)[0]
        return connected

    def connect_or_start(self) -> socket.socket:
        """Return a connection to the worker, started if need be.

        Raises ``TemporaryFailure``, ``OutputError`` and ``AccessDenied`` if none can run; the caller then does without.
        """
        with self.paths.hold_lock(_WAIT_TIMEOUT_S) as ours:
            if not ours:
                raise TemporaryFailure(
                    str(self.paths.socket), detail="another command is starting a worker and makes no progress"
                )
            found = self.connect_running()
            if found is not None:
                return found
            from llmcli.worker.client import worker_process

            limit = worker_process.find_inherited_limit()
            if limit:
                raise TemporaryFailure(
                    "the worker", detail=f"it would inherit the {limit} of this command, and so would other commands"
                )
            self._before_start()
            listening = worker_process.bind_socket(self.paths.socket)
            try:
                self._child = worker_process.spawn_process(self.config, listening, self._environ)
                self.pid, self.spawned = self._child.pid, True
                return connect_socket(self.paths.socket)
            except (OSError, WorkerGone) as error:
                self.paths.socket.unlink(missing_ok=True)
                reason = (isinstance(error, OSError) and error.strerror) or str(error)
                raise TemporaryFailure("the worker", detail=f"it cannot be started: {reason}") from error
            finally:
                listening.close()

    def connect(self) -> socket.socket:
        """Return a connection to the worker, found or started. Raises as ``connect_or_start``."""
        return self.connect_running() or self.connect_or_start()

    def find_crash_reason(self, pid: int | None = None) -> LlmError:
        """Return why the worker with process id ``pid`` ended (default: the last one), from its log and exit code."""
        from llmcli.worker.client.worker_process import find_crash_reason

        pid = self.pid if pid is None else pid
        ours = self._child is not None and self._child.pid == pid
        return find_crash_reason(Path(self.config.log), self.child_exit_code() if ours else None, pid)

    def reap_child(self) -> None:
        """Reap the worker that this process started, if it has ended."""
        if self._child is not None:
            self._child.poll()

    def child_exit_code(self) -> int | None:
        """Return the exit code (``Popen.returncode``) of the worker that this process started.

        It is None if none has ended.
        """
        if self._child is None:
            return None
        import subprocess

        with contextlib.suppress(subprocess.TimeoutExpired):
            self._child.wait(_EXIT_WAIT_S)  # it has just closed the connection
        return self._child.poll()
