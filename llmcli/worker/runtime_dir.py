"""The directory of workers: only this user can enter it, and it has a socket and a lock for each key.

A key stands for everything that a worker cannot change while it runs: the model's file (by device, inode, size and
time, so that a file that was replaced has another key), its adapters (by hash and scale), the layers on the GPU, and
the versions of llmcli, of the binding and of the library of llama.cpp. So a client that connects to a socket has found
a matching worker.
"""

from __future__ import annotations

import json
import os
import resource
import stat
import sys
import zlib
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from importlib.machinery import PathFinder
from pathlib import Path
from typing import TYPE_CHECKING

import llmcli
from llmcli.engine_library import RUNTIME_ENV_DEFAULTS, RUNTIME_ENV_PREFIXES, find_library
from llmcli.errors import AccessDenied, OutputError, UnusableDirectory
from llmcli.fast_dataclass import frozen
from llmcli.files import private_files

if TYPE_CHECKING:
    import socket

MAX_SOCKET_PATH_BYTES = 100
"""Bytes of a socket's path: the system allows 104 to 108."""
_SOCKET_SUFFIX = ".sock"
_KEY_DIGITS = 16
"""Digits of a key."""
_USUAL_TEMP_DIR = "/tmp"  # noqa: S108 (the directory in it is checked as any other)
_TEMP_DIR_VARIABLES = ("TMPDIR", "TEMP", "TMP")
"""The variables that ``tempfile`` looks up before it takes the usual directory."""
_LOCK_POLL_S = 0.01
"""Seconds between attempts to take a lock."""


def find_runtime_dir(environ: Mapping[str, str]) -> Path:
    """Return the directory of this user's workers, created if need be.

    It is ``llmcli`` in XDG_RUNTIME_DIR if that is private and its path short enough, otherwise ``llmcli-UID`` in the
    directory for temporary files; LLMCLI_RUNTIME_DIR overrides both. Raises ``AccessDenied`` if others could enter the
    directory, ``OutputError`` if it cannot be created or its path is too long for a socket.
    """
    given, session = environ.get("LLMCLI_RUNTIME_DIR"), environ.get("XDG_RUNTIME_DIR")
    if given:
        return _make_private_dir(Path(given).absolute())
    if session:
        with suppress(AccessDenied, OutputError):
            _check_private_dir(Path(session))
            return _make_private_dir(Path(session) / "llmcli")
    return _make_private_dir(Path(environ.get("TMPDIR") or _temp_dir()) / _directory_name())


def _directory_name() -> str:
    return f"llmcli-{os.getuid()}"


def _temp_dir() -> str:
    """Return the directory for temporary files: that of earlier commands, else the first that can be written to."""
    if Path(_USUAL_TEMP_DIR, _directory_name()).is_dir() and not any(map(os.environ.get, _TEMP_DIR_VARIABLES)):
        return _USUAL_TEMP_DIR
    import tempfile  # takes as long as a tenth of a warm command's imports

    try:
        return tempfile.gettempdir()
    except FileNotFoundError as error:  # all candidates are full or not writable
        raise UnusableDirectory("the directory for temporary files", detail=error.strerror or "") from error


def _make_private_dir(path: Path) -> Path:
    room = MAX_SOCKET_PATH_BYTES - 1 - _KEY_DIGITS - len(_SOCKET_SUFFIX)
    if len(os.fsencode(path)) > room:
        raise UnusableDirectory(str(path), detail=f"its path is longer than {room} bytes")
    try:
        private_files.make_directory(path)
    except OSError as error:
        raise UnusableDirectory(str(path), detail=error.strerror or str(error)) from error
    _check_private_dir(path)
    return path


def _check_private_dir(path: Path) -> None:
    """Refuse a path that is not a private directory of this user."""
    try:
        status = path.lstat()
    except OSError as error:
        raise UnusableDirectory(str(path), detail=error.strerror or str(error)) from error
    if not stat.S_ISDIR(status.st_mode) or status.st_uid != os.getuid() or status.st_mode & 0o077:
        import shlex

        raise AccessDenied(
            str(path),
            detail="not a directory that you own with mode 0700",
            message="{subject} is not safe for the sockets of workers: {detail}",
            advice=f"Try: chmod 700 {shlex.quote(str(path))} (if it is yours),"
            " or set LLMCLI_RUNTIME_DIR to your own directory",
            type_name="UnsafeDirectory",
        )


def worker_key(model: Path, gpu_layers: int | None, environ: Mapping[str, str], adapters: str = "") -> str:
    """Return the key of the worker for a model file, 16 hexadecimal digits. Raises ``OSError`` for a missing file.

    ``adapters`` identifies those of the model, "" if it has none.
    """
    status = model.stat()
    steering = {name: value for name, value in environ.items() if name.startswith(RUNTIME_ENV_PREFIXES)}
    fixed = (
        str(model),
        (status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns),
        gpu_layers,
        sorted((RUNTIME_ENV_DEFAULTS | steering).items()),  # the worker inherits them
        _scheduling_state(),
        llmcli.__version__,
        sys.prefix,
        _install_times(environ),
        adapters,
    )
    text = json.dumps(fixed).encode()
    return (
        f"{zlib.crc32(text):08x}{zlib.adler32(text):08x}"  # no security depends on it, and hashlib takes 3 ms to import
    )


def _scheduling_state() -> tuple[int, list[int]]:
    """Return niceness and CPU affinity of this process, which a worker inherits."""
    cores = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else []
    return os.getpriority(os.PRIO_PROCESS, 0), cores


def _install_times(environ: Mapping[str, str]) -> list[tuple[str, int]]:
    """Return where the program, the binding and its library are, and when they were installed."""
    spec = PathFinder.find_spec("llama_cpp")  # on the disk, whether it was imported or not
    library = find_library(environ)
    files = [llmcli.__file__, spec.origin if spec else None, str(library.main_file) if library else None]
    return [(file, Path(file).stat().st_mtime_ns) for file in files if file and private_files.exists(Path(file))]


class WorkerPaths:
    """The files of the worker with ``key`` in ``directory``: its socket, and the lock of its start and its end."""

    def __init__(self, directory: Path, key: str) -> None:
        self.key = key
        self.socket = directory / f"{key}{_SOCKET_SUFFIX}"
        self._lock_path = directory / f"{key}.lock"

    @contextmanager
    def hold_lock(self, timeout_s: float = 0.0) -> Iterator[bool]:
        """Hold the lock; yield False if another process still has it after ``timeout_s`` seconds.

        Raises ``OutputError`` if the directory cannot be written or locks do not work.
        """
        from llmcli.files.file_lock import hold_lock

        lock = hold_lock(self._lock_path, timeout_s=timeout_s, poll_s=_LOCK_POLL_S, removable=True)
        with ExitStack() as stack:
            with translate_os_errors(self._lock_path):
                ours = stack.enter_context(lock)
            yield ours

    def remove_files(self) -> None:
        """Remove socket and lock. The caller holds the lock; no process can take it afterwards."""
        for path in (self.socket, self._lock_path):
            with suppress(OSError):
                path.unlink()


@contextmanager
def translate_os_errors(path: Path) -> Iterator[None]:
    """Turn an ``OSError`` about ``path`` into ``OutputError``."""
    try:
        yield
    except OSError as error:
        raise OutputError(str(path), detail=error.strerror or str(error)) from error


def list_worker_paths(directory: Path) -> list[WorkerPaths]:
    """Return the paths of all workers that have a socket in ``directory``, of other versions too."""
    return [WorkerPaths(directory, path.stem) for path in sorted(directory.glob(f"*{_SOCKET_SUFFIX}"))]


WORKER_MODULE = "llmcli.worker"
"""The module that the process runs, by which its command line is recognized."""
WORKER_BACKLOG = 1024
INHERITED_LIMITS = (
    resource.RLIMIT_AS,
    resource.RLIMIT_CPU,
    resource.RLIMIT_DATA,
    resource.RLIMIT_FSIZE,
    resource.RLIMIT_NOFILE,
)
"""Limits (getrlimit(2)) under which a worker cannot serve other commands than the one that started it."""


@frozen
class WorkerConfig:
    """The configuration of a worker: its model (``name`` for people, ``model_id`` its hash), and how long it stays.

    ``gpu_layers`` as in ``EngineOptions``; ``idle_timeout`` in seconds; ``log``: the file of its descriptor 2.
    ``weights`` and ``cache``: those of the command that starts it, as in ``EngineOptions``, which it loads first.
    ``adapters``: those of the model, as text (``engine_options.dump_adapters``).
    """

    path: str
    name: str
    model_id: str
    gpu_layers: int | None
    idle_timeout: float
    log: str
    weights: str = "original"
    cache: str | None = None
    adapters: str = ""


_LOCAL_PEERCRED, _LOCAL_PEERPID = 1, 2  # macOS, sys/un.h


def peer_credentials(connection: socket.socket) -> tuple[int, int]:
    """Return the process id and the user id of the other end of a Unix socket.

    SO_PEERCRED (unix(7)) on Linux; LOCAL_PEERPID, LOCAL_PEERCRED and its ``struct xucred`` on macOS.
    """
    import socket
    import struct

    if hasattr(socket, "SO_PEERCRED"):
        credentials = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
        pid, user, _ = struct.unpack("3i", credentials)
        return pid, user
    credentials = connection.getsockopt(0, _LOCAL_PEERCRED, struct.calcsize("2IH16I"))
    return connection.getsockopt(0, _LOCAL_PEERPID), int(struct.unpack_from("2I", credentials)[1])
