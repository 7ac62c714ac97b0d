"""Where workers are found: a directory that only this user can enter, with a socket and a lock for each key.

A key stands for everything that a worker cannot change while it runs: the model's file (by device, inode, size and
time, so that a file that was replaced has another key), the layers on the GPU, and the versions of llmcli and of the
binding. Whoever connects to a socket has found a worker of just that kind.
"""

from __future__ import annotations

import json
import os
import stat
import sys
import tempfile
import time
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from importlib.machinery import PathFinder
from pathlib import Path

import llmcli
from llmcli import private_files
from llmcli.errors import AccessDenied, OutputError, UnsafeDirectory, UnusableDirectory
from llmcli.processes import SPEED, STEERING

LONGEST = 100
"""Bytes of a socket's path: the system has room for 104 to 108."""
_SOCKET = ".sock"
_KEY = 16
"""Digits of a key."""
_LOOK = 0.01
"""Seconds between looks at a lock."""


def directory(environ: Mapping[str, str]) -> Path:
    """Return the directory of this user's workers, made where there is none.

    It is ``llmcli`` in XDG_RUNTIME_DIR where that is this user's alone and its path short enough, else
    ``llmcli-UID`` in the directory for temporary files; LLMCLI_RUNTIME_DIR overrides both. Raises ``AccessDenied`` for
    one that others could enter, ``OutputError`` for one that cannot be made or whose path is too long for a socket.
    """
    given, session = environ.get("LLMCLI_RUNTIME_DIR"), environ.get("XDG_RUNTIME_DIR")
    if given:
        return _own(Path(given).absolute())
    if session:
        with suppress(AccessDenied, OutputError):
            _check(Path(session))
            return _own(Path(session) / "llmcli")
    return _own(Path(environ.get("TMPDIR") or _temporary()) / f"llmcli-{os.getuid()}")


def _temporary() -> str:
    try:
        return tempfile.gettempdir()
    except FileNotFoundError as error:  # all of them are full, or may not be written
        raise UnusableDirectory("the directory for temporary files", detail=error.strerror or "") from error


def _own(path: Path) -> Path:
    room = LONGEST - 1 - _KEY - len(_SOCKET)
    if len(os.fsencode(path)) > room:
        raise UnusableDirectory(str(path), detail=f"its path is longer than {room} bytes")
    try:
        private_files.make_directory(path)
    except OSError as error:
        raise UnusableDirectory(str(path), detail=error.strerror or str(error)) from error
    _check(path)
    return path


def _check(path: Path) -> None:
    """Refuse a directory that is not a directory of this user's that nobody else may enter."""
    try:
        status = path.lstat()
    except OSError as error:
        raise UnusableDirectory(str(path), detail=error.strerror or str(error)) from error
    if not stat.S_ISDIR(status.st_mode) or status.st_uid != os.getuid() or status.st_mode & 0o077:
        raise UnsafeDirectory(str(path), detail="not a directory of yours that nobody else may enter (mode 0700)")


def key(model: Path, gpu_layers: int | None, environ: Mapping[str, str]) -> str:
    """Return the key of the worker for a model file, 16 hexadecimal digits. Raises ``OSError`` for a file that is gone."""
    status = model.stat()
    steering = {name: value for name, value in environ.items() if name.startswith(STEERING)}
    fixed = (
        str(model),
        (status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns),
        gpu_layers,
        sorted((SPEED | steering).items()),  # as the worker will have them
        _standing(),
        llmcli.__version__,
        sys.prefix,
        _installed(),
    )
    text = json.dumps(fixed).encode()
    return f"{zlib.crc32(text):08x}{zlib.adler32(text):08x}"  # nobody attacks it, and hashlib takes 3 ms to import


def _standing() -> tuple[int, list[int]]:
    """Return how nice this process is and on which cores it may run: a worker has that of whoever starts it."""
    cores = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else []
    return os.getpriority(os.PRIO_PROCESS, 0), cores


def _installed() -> list[int]:
    """Return when the program and the binding were installed."""
    spec = PathFinder.find_spec("llama_cpp")  # on the disk, whether it was imported or not
    files = [llmcli.__file__, spec.origin if spec else None]
    return [Path(file).stat().st_mtime_ns for file in files if file]


class Place:
    """The files of the worker with ``key`` in ``directory``: its socket, and the lock of whoever starts or ends it."""

    def __init__(self, directory: Path, key: str) -> None:
        self.key = key
        self.socket = directory / f"{key}{_SOCKET}"
        self._lock = directory / f"{key}.lock"

    @contextmanager
    def lock(self, patience: float = 0.0) -> Iterator[bool]:
        """Hold the lock; yield False where somebody else still has it after ``patience`` seconds.

        Raises ``OutputError`` where the directory cannot be written or locks do not work.
        """
        until = time.monotonic() + patience
        descriptor = self._try_lock()
        while descriptor is None and time.monotonic() < until:
            time.sleep(_LOOK)
            descriptor = self._try_lock()
        try:
            yield descriptor is not None
        finally:
            if descriptor is not None:
                os.close(descriptor)

    def _try_lock(self) -> int | None:
        """Return the descriptor that holds the lock, None where somebody else has it."""
        import fcntl

        with writing(self._lock):
            descriptor = private_files.open_file(self._lock, os.O_RDWR | os.O_NOFOLLOW)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                if self._lock.stat().st_ino == os.fstat(descriptor).st_ino:
                    return descriptor
            except (BlockingIOError, FileNotFoundError):  # the latter: whoever had it has removed the file
                pass
            except BaseException:
                os.close(descriptor)
                raise
            os.close(descriptor)
            return None

    def remove(self) -> None:
        """Remove socket and lock; by whoever holds the lock, which nobody can take any more then."""
        for path in (self.socket, self._lock):
            with suppress(OSError):
                path.unlink()


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Turn the operating system's refusal about ``path`` into ``OutputError``."""
    try:
        yield
    except OSError as error:
        raise OutputError(str(path), detail=error.strerror or str(error)) from error


def places(directory: Path) -> list[Place]:
    """Return the places of all workers that have a socket in ``directory``, of other versions too."""
    return [Place(directory, path.stem) for path in sorted(directory.glob(f"*{_SOCKET}"))]
