"""A worker's socket: connections to it, and single HTTP requests."""

from __future__ import annotations

import json
import os
import socket
from typing import Any, BinaryIO

from llmcli.errors import AccessDenied, RemoteError
from llmcli.worker.runtime_dir import peer_credentials

OK = 200
_MAX_LINE_BYTES = 1 << 16
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
            raise ValueError(f"status {status}")  # noqa: TRY301
        return json.loads(content)
    except ValueError as error:
        raise RemoteError(str(path), detail=str(error)) from error


def read_status(answer: BinaryIO) -> int:
    """Read the head of an answer (RFC 9112, section 4); return its status. Raises ``WorkerGone`` if there is none."""
    status = answer.readline(_MAX_LINE_BYTES).split()
    while answer.readline(_MAX_LINE_BYTES).strip():
        pass
    if len(status) < 2 or not status[1].isdigit():  # noqa: PLR2004
        raise WorkerGone("no answer")
    return int(status[1])
