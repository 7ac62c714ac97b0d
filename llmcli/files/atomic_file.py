"""Writing ``-o FILE``: a regular file is complete or untouched; a device or a pipe is written directly.

A process that is killed leaves its temporary file beside the target. The name of that file contains the target's name,
and a lock (flock(2)) on it shows that its process still runs. The next process that writes the same target removes
files without a lock.
"""

from __future__ import annotations

import errno
import fcntl
import hashlib
import os
import re
import select
import stat
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from pathlib import Path

from llmcli.errors import CannotCreate, LlmError, OutputError, OutputPipeClosed
from llmcli.files import private_files
from llmcli.interrupt import Interrupt

_DESCRIPTOR = re.compile(r"/(?:dev/fd|proc/self/fd)/([0-9]{1,9})")
_NAMED_DESCRIPTORS = {"/dev/stdin": 0, "/dev/stdout": 1, "/dev/stderr": 2}
_MAX_SYMLINKS = 40  # the most symbolic links in a row that Linux follows
_STORAGE_ERRNOS = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EFBIG})
_PIPE_CHUNK_BYTES = 4096  # POSIX: a pipe that polls writable accepts this much (PIPE_BUF) without blocking
_FILE_CHUNK_BYTES = 1 << 20
_POLL_MS = 100
_MAX_TEMPORARY_NAMES = 16  # temporary files with a fixed name that one target may have at a time


class OutputFile:
    """A file descriptor to write to; errors carry the name that the user typed.

    ``direct``: data goes straight to a device, a pipe or a shared descriptor.
    """

    def __init__(self, fd: int, name: str, interrupt: Interrupt, *, direct: bool = False) -> None:
        self.fd = fd
        self.direct = direct
        self._name = name
        self._interrupt = interrupt
        self._chunk = _FILE_CHUNK_BYTES if stat.S_ISREG(os.fstat(fd).st_mode) else _PIPE_CHUNK_BYTES

    def write(self, data: bytes) -> None:
        """Write all of ``data``; a signal ends the write even if the reader stalls.

        Raises ``OutputError``, ``OutputPipeClosed`` when the other end of a pipe was closed, and what
        ``interrupt.check()`` raises.
        """
        rest = memoryview(data)
        poll = select.poll()
        poll.register(self.fd, select.POLLOUT)
        try:
            while rest:
                self._interrupt.check()
                if poll.poll(_POLL_MS):
                    rest = rest[os.write(self.fd, rest[: self._chunk]) :]
        except BrokenPipeError as error:
            raise OutputPipeClosed(self._name) from error
        except OSError as error:
            raise OutputError(self._name, detail=error.strerror or "") from error


@contextmanager
def atomic_write(
    path: str,
    *,
    force: bool = True,
    interrupt: Interrupt | None = None,
    placing: Callable[[], AbstractContextManager[object]] = nullcontext,
    mode: int = 0o666,
    durable: bool = True,
) -> Iterator[OutputFile]:
    """Open ``path`` for writing; leaving the block puts the file in place, an exception keeps the earlier file.

    ``force``: replace an existing file; False for names that the user did not type.
    ``interrupt``: checked while a pipe or device blocks.
    ``placing``: entered when all data is on the disk; the rename happens in its block.
    ``mode``: permissions of a new file, before the umask.
    ``durable``: wait until the data is on the disk, so that a power failure cannot lose it; takes about 10 ms.

    Regular files, existing or not, are written to a temporary file beside the target and renamed. Symbolic links are
    followed; mode and (where permitted) owner are kept. Devices, named pipes and the process's own descriptors
    (/dev/stdout, /dev/fd/N, links to them) are written directly.

    Raises ``CannotCreate`` (no such directory, no permission, a directory, or the file exists), ``OutputError`` (disk
    full, I/O error), ``OutputPipeClosed``, and what ``interrupt.check()`` raises.
    """
    if not force and os.path.lexists(path):
        raise CannotCreate(path, exists=True)
    interrupt = interrupt or Interrupt()
    fd = _open_special(path, interrupt)
    if fd is None:
        with _write_and_replace(path, interrupt, mode, force=force, placing=placing, durable=durable) as output:
            yield output
        return
    try:
        yield OutputFile(fd, path, interrupt, direct=True)
    except BaseException:
        with suppress(OSError):  # the first error is the one to report
            os.close(fd)
        raise
    _close(fd, path)


def write_user_file(path: Path, content: bytes, *, force: bool = True) -> None:
    """Write a file that only its user can read, and the missing directories above it.

    ``force`` and errors are as in ``atomic_write``.
    """
    try:
        private_files.make_directory(path.parent)
    except OSError as error:
        raise CannotCreate(str(path), detail=error.strerror or "") from error
    with atomic_write(str(path), force=force, mode=private_files.FILE_MODE) as file:
        file.write(content)


def require_writable(path: str) -> None:
    """Raise what ``atomic_write`` raises when it opens ``path``; nothing is created, opened or waited for."""
    try:
        if own_descriptor(path) is not None:
            return
        if os.path.basename(path) in {"", ".", ".."} or os.path.isdir(path):  # noqa: PTH112, PTH119 (as it was typed)
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), path)
        target = Path(os.path.realpath(path))
        os.stat(f"{target.parent}/.")  # noqa: PTH116 (raises for what is no directory)
        needed = [target] if target.exists() else []
        needed += [target.parent] if not needed or target.is_file() else []
        if not all(os.access(each, os.W_OK) for each in needed):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), path)
    except (OSError, ValueError) as error:  # ValueError: a NUL in the name
        raise file_error(path, error) from error


def _open_special(path: str, interrupt: Interrupt) -> int | None:
    """Open a path that a regular file cannot replace; None if ``path`` is a regular file or does not exist."""
    try:
        number = own_descriptor(path)
        if number is not None:
            return os.dup(number)
        mode = os.stat(path).st_mode  # noqa: PTH116 (a Path would drop a slash at the end)
        if stat.S_ISREG(mode):
            return None
        if stat.S_ISFIFO(mode):
            return _open_fifo(path, interrupt)
        return os.open(path, os.O_WRONLY | os.O_NOCTTY | os.O_CLOEXEC)  # raises for a directory
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:  # ValueError: a NUL in the name
        raise file_error(path, error) from error


def own_descriptor(path: str) -> int | None:
    """Return the number of the process's own descriptor that ``path`` refers to, also through links."""
    for _ in range(_MAX_SYMLINKS):
        if path in _NAMED_DESCRIPTORS:
            return _NAMED_DESCRIPTORS[path]
        match = _DESCRIPTOR.fullmatch(path)
        if match:
            return int(match.group(1))
        link = Path(path)
        if not link.is_symlink():
            return None
        path = str(link.parent / link.readlink())
    return None


def _open_fifo(path: str, interrupt: Interrupt) -> int:
    """Open a named pipe once it has a reader; a plain open would wait without reacting to signals."""
    while True:
        interrupt.check()
        try:
            fd = os.open(path, os.O_WRONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        except OSError as error:
            if error.errno != errno.ENXIO:
                raise
            time.sleep(0.05)
        else:
            os.set_blocking(fd, True)
            return fd


@contextmanager
def _write_and_replace(
    path: str,
    interrupt: Interrupt,
    mode: int,
    *,
    force: bool,
    placing: Callable[[], AbstractContextManager[object]],
    durable: bool,
) -> Iterator[OutputFile]:
    try:
        if os.path.basename(path) in {"", ".", ".."}:  # noqa: PTH119 (a Path would drop a slash at the end)
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), path)
        target = Path(os.path.realpath(path))
        fd, beside = _open_temporary(target, mode)
    except (OSError, ValueError) as error:
        raise file_error(path, error) from error
    try:
        with _hold_lock(fd):
            try:
                yield OutputFile(fd, path, interrupt)
                if durable:
                    _sync(fd, path)
            finally:
                _close(fd, path)
            try:
                with placing():
                    _rename_into_place(beside, target, force=force)
            except FileExistsError as error:
                raise CannotCreate(path, exists=True) from error
            except OSError as error:
                raise file_error(path, error) from error
    except BaseException:
        with suppress(OSError):  # the first error is the one to report
            beside.unlink()
        raise


@contextmanager
def _hold_lock(fd: int) -> Iterator[None]:
    """Keep the lock of ``fd``, which the block may close."""
    locked = os.dup(fd)
    try:
        yield
    finally:
        os.close(locked)


def _open_temporary(target: Path, mode: int) -> tuple[int, Path]:
    """Create an empty file in the directory of ``target`` with the mode and owner of the final file."""
    there = target.stat() if target.exists() else None
    if there is not None and not os.access(
        target, os.W_OK
    ):  # the directory allows the rename, but the file is read-only
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(target))
    fd, beside = _create_locked(_temporary_names(target), mode if there is None else 0o600)
    if there is not None:
        with suppress(PermissionError):  # only root may change the owner
            os.fchown(fd, there.st_uid, there.st_gid)
        os.fchmod(fd, stat.S_IMODE(there.st_mode))
    return fd, beside


def _temporary_names(target: Path) -> Iterator[Path]:
    """Yield names for temporary files beside ``target``: a few fixed ones, then random ones.

    Leftovers with fixed names can be found without listing the directory, which may be large.
    """
    digest = hashlib.sha256(os.fsencode(target.name)).hexdigest()[:16]
    own = [target.with_name(f".llm-{digest}-{number}.tmp") for number in range(_MAX_TEMPORARY_NAMES)]
    for name in own:
        _remove_abandoned(name)
    yield from own
    while True:
        yield target.with_name(f".llm-{os.urandom(8).hex()}.tmp")


def _create_locked(names: Iterator[Path], mode: int) -> tuple[int, Path]:
    """Create a file with the first free one of ``names``, and lock it if the file system has locks."""
    for name in names:
        try:
            fd = os.open(name, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode)
        except FileExistsError:
            continue
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:  # another process took it for abandoned before it was locked
            os.close(fd)
            continue
        except OSError:
            return fd, name
        if os.fstat(fd).st_nlink:
            return fd, name
        os.close(fd)  # and removed it
    raise AssertionError("the names are endless")


def _remove_abandoned(path: Path) -> None:
    """Remove the temporary file of a killed process; a locked file, or one that is not a regular file, stays."""
    with suppress(OSError):
        fd = os.open(path, os.O_RDWR | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            ours, now = os.fstat(fd), os.stat(path, follow_symlinks=False)  # noqa: PTH116 (beside os.fstat)
            if stat.S_ISREG(ours.st_mode) and (ours.st_dev, ours.st_ino) == (now.st_dev, now.st_ino):
                path.unlink()
        finally:
            os.close(fd)


def _rename_into_place(beside: Path, target: Path, *, force: bool) -> None:
    if force:
        beside.replace(target)
        return
    try:
        os.link(beside, target)  # unlike a rename, this fails when another process created the file first
    except FileExistsError:
        raise
    except OSError:  # a file system without hard links
        if os.path.lexists(target):
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), str(target)) from None
        beside.replace(target)
    else:
        beside.unlink()


def _sync(fd: int, path: str) -> None:
    try:
        os.fsync(fd)  # otherwise a power failure may keep the rename and lose the content
    except OSError as error:
        raise OutputError(path, detail=error.strerror or "") from error


def _close(fd: int, path: str) -> None:
    try:
        os.close(fd)
    except OSError as error:  # network file systems report a full disk here
        raise OutputError(path, detail=error.strerror or "") from error


def file_error(path: str, error: OSError | ValueError) -> LlmError:
    """Return what an error of the system means for the file that the user named."""
    detail = getattr(error, "strerror", None) or str(error)
    if isinstance(error, OSError) and error.errno in _STORAGE_ERRNOS:
        return OutputError(path, detail=detail)
    return CannotCreate(path, detail=detail)
