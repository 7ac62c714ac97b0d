"""Writing ``-o FILE``: a regular file is complete or untouched; a device or a pipe is written directly."""

from __future__ import annotations

import errno
import os
import re
import stat
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from pathlib import Path

from llmcli.errors import CannotCreate, LlmError, OutputError, ReaderGone
from llmcli.interrupt import Interrupt

_DESCRIPTOR = re.compile(r"/(?:dev/fd|proc/self/fd)/([0-9]{1,9})")
_NAMED_DESCRIPTORS = {"/dev/stdin": 0, "/dev/stdout": 1, "/dev/stderr": 2}
_MOST_LINKS = 40  # as many symbolic links in a row as Linux follows
_STORAGE = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EFBIG})


class Output:
    """A descriptor that is written to; errors carry the name that the user typed.

    ``direct``: what is written arrives at once, in a device, a pipe or a descriptor that others may share.
    """

    def __init__(self, fd: int, name: str, *, direct: bool = False) -> None:
        self.fd = fd
        self.direct = direct
        self._name = name

    def write(self, data: bytes) -> None:
        """Write all of ``data``. Raises ``OutputError``; ``ReaderGone`` when the other end of a pipe was closed."""
        rest = memoryview(data)
        try:
            while rest:
                rest = rest[os.write(self.fd, rest) :]
        except BrokenPipeError as error:
            raise ReaderGone(self._name) from error
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
) -> Iterator[Output]:
    """Open ``path`` for writing; leaving the block puts the file in place, an exception leaves what was there.

    Regular files, existing or not, are written beside and renamed: symbolic links are followed, mode and (where
    permitted) owner are kept. Devices, named pipes and the process's own descriptors (/dev/stdout, /dev/fd/N, links to
    them) are written directly. ``force`` False (for names that the user did not type) refuses to touch what exists. The rename is done in the
    block of ``placing()``, which is entered when all is on the disk. ``mode``: that of a file that is not there yet, less the umask.

    Raises ``CannotCreate`` (no such directory, no permission, a directory, or there already), ``OutputError`` (disk
    full, I/O error), ``ReaderGone``, and what ``interrupt.check()`` raises while a named pipe waits for its reader.
    """
    if not force and os.path.lexists(path):
        raise CannotCreate(path, exists=True)
    fd = _open_special(path, interrupt or Interrupt())
    if fd is None:
        with _replacing(path, mode, force=force, placing=placing) as output:
            yield output
        return
    try:
        yield Output(fd, path, direct=True)
    except BaseException:
        with suppress(OSError):  # the first error is the one to report
            os.close(fd)
        raise
    _close(fd, path)


def _open_special(path: str, interrupt: Interrupt) -> int | None:
    """Open what cannot be replaced by a file; None when ``path`` is a regular file or nothing yet."""
    try:
        number = _descriptor(path)
        if number is not None:
            return os.dup(number)
        mode = Path(path).stat().st_mode
        if stat.S_ISREG(mode):
            return None
        if stat.S_ISFIFO(mode):
            return _open_fifo(path, interrupt)
        return os.open(path, os.O_WRONLY | os.O_NOCTTY | os.O_CLOEXEC)  # a directory fails here
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:  # ValueError: a NUL in the name
        raise _failure(path, error) from error


def _descriptor(path: str) -> int | None:
    """Return the number of the process's own descriptor that ``path`` stands for, through links too.

    Opening /dev/stdout again would fail on a socket, and would replace the file that a shell redirected to.
    """
    for _ in range(_MOST_LINKS):
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
    """Open a named pipe once it has a reader; a plain open would wait for one deaf to signals."""
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
def _replacing(
    path: str, mode: int, *, force: bool, placing: Callable[[], AbstractContextManager[object]]
) -> Iterator[Output]:
    try:
        target = Path(os.path.realpath(path))
        fd, beside = _open_beside(target, mode)
    except (OSError, ValueError) as error:
        raise _failure(path, error) from error
    try:
        try:
            yield Output(fd, path)
            _sync(fd, path)
        finally:
            _close(fd, path)
        try:
            with placing():
                _put_in_place(beside, target, force=force)
        except FileExistsError as error:
            raise CannotCreate(path, exists=True) from error
        except OSError as error:
            raise _failure(path, error) from error
    except BaseException:
        with suppress(OSError):  # the first error is the one to report
            beside.unlink()
        raise


def _open_beside(target: Path, mode: int) -> tuple[int, Path]:
    """Create an empty file in the directory of ``target`` with the mode and owner that the result is to have."""
    there = target.stat() if target.exists() else None
    if there is not None and not os.access(target, os.W_OK):  # the directory would allow the rename, the file says no
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(target))
    beside = target.with_name(f".llm-{os.urandom(8).hex()}.tmp")
    fd = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode if there is None else 0o600)
    if there is not None:
        with suppress(PermissionError):  # only root may give files away
            os.fchown(fd, there.st_uid, there.st_gid)
        os.fchmod(fd, stat.S_IMODE(there.st_mode))
    return fd, beside


def _put_in_place(beside: Path, target: Path, *, force: bool) -> None:
    if force:
        beside.replace(target)
        return
    try:
        os.link(beside, target)  # unlike a rename, this fails when somebody else was quicker
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
        os.fsync(fd)  # a rename that outlives a power cut while the content does not would leave an empty file
    except OSError as error:
        raise OutputError(path, detail=error.strerror or "") from error


def _close(fd: int, path: str) -> None:
    try:
        os.close(fd)
    except OSError as error:  # network file systems report a full disk here
        raise OutputError(path, detail=error.strerror or "") from error


def _failure(path: str, error: OSError | ValueError) -> LlmError:
    detail = getattr(error, "strerror", None) or str(error)
    if isinstance(error, OSError) and error.errno in _STORAGE:
        return OutputError(path, detail=detail)
    return CannotCreate(path, detail=detail)
