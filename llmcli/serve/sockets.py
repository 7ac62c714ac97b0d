"""The socket that a server listens on: a TCP address or a path."""

from __future__ import annotations

import contextlib
import ipaddress
import os
import socket
import stat
from collections.abc import Iterator
from pathlib import Path

from llmcli.errors import CannotListen

_LISTEN_BACKLOG = 1024


@contextlib.contextmanager
def listen_tcp(host: str, port: int) -> Iterator[socket.socket]:
    """Yield a socket that listens on ``host`` (an address or a name of this machine). Raises ``CannotListen``."""
    where = f"{host}:{port}"
    with contextlib.ExitStack() as stack:
        try:
            found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
            family, address = min((item[0], item[4]) for item in found)  # IPv4 where a name means both
            listening = stack.enter_context(socket.create_server(address[:2], family=family, backlog=_LISTEN_BACKLOG))
        except (OSError, UnicodeError) as error:
            reason = _os_error_text(error)
            raise CannotListen(where, detail=reason[:1].lower() + reason[1:]) from error
        yield listening


@contextlib.contextmanager
def listen_unix(path: Path) -> Iterator[socket.socket]:
    """Yield a socket that listens at ``path`` for this user only; remove it afterwards. Raises ``CannotListen``.

    A socket that a server left behind when it was killed is replaced.
    """
    listening = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    with listening:
        before = os.umask(0o177)  # the file is private from its creation on
        try:
            _remove_stale_socket(path)
            listening.bind(os.fspath(path))
            listening.listen(_LISTEN_BACKLOG)
        except OSError as error:
            raise CannotListen(str(path), detail=(error.strerror or str(error)).lower()) from error
        finally:
            os.umask(before)
        try:
            yield listening
        finally:
            path.unlink(missing_ok=True)


def _os_error_text(error: OSError | UnicodeError) -> str:
    """Return the system's message without Python's additions; name resolution has its own error numbers."""
    if isinstance(error, OSError) and error.errno and not isinstance(error, socket.gaierror):
        return os.strerror(error.errno)
    return (isinstance(error, OSError) and error.strerror) or str(error)


def _remove_stale_socket(path: Path) -> None:
    with contextlib.suppress(FileNotFoundError):
        if not stat.S_ISSOCK(path.lstat().st_mode):
            raise CannotListen(str(path), detail="a file of that name exists")
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as trial:
            try:
                trial.connect(os.fspath(path))
            except ConnectionRefusedError:
                path.unlink()
                return
        raise CannotListen(str(path), detail="another process listens there")


def is_loopback(listening: socket.socket) -> bool:
    """Return whether the socket can be reached from this machine alone."""
    return listening.family == socket.AF_UNIX or ipaddress.ip_address(listening.getsockname()[0]).is_loopback


def is_wildcard(listening: socket.socket) -> bool:
    """Return whether it listens on all addresses of the machine."""
    return listening.family != socket.AF_UNIX and ipaddress.ip_address(listening.getsockname()[0]).is_unspecified


def socket_url(listening: socket.socket) -> str:
    """Return where to reach it: ``http://ADDRESS:PORT``, or ``unix:PATH``."""
    if listening.family == socket.AF_UNIX:
        return f"unix:{listening.getsockname()}"
    host, port = listening.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
