"""An output that grows over several runs: ``FILE.partial`` beside it, which becomes ``FILE`` when it is complete."""

from __future__ import annotations

import errno
import fcntl
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Self

from llmcli.errors import OutputError, TemporaryFailure
from llmcli.files.atomic_file import file_error, own_descriptor


def is_resumable(path: str) -> bool:
    """Whether ``path`` is a regular file, or could become one.

    A descriptor that this process has, such as /dev/stdout, is not, though it may be open on a regular file: what
    others have written there, or will write, must stay.
    """
    try:
        return own_descriptor(path) is None and stat.S_ISREG(os.stat(path).st_mode)  # noqa: PTH116 (a Path would drop a slash at the end)
    except FileNotFoundError:
        return not path.endswith("/")
    except (OSError, ValueError):  # ValueError: a NUL in the name
        return True  # opening it says what is wrong


class ResumableFile:
    """The partial output of the file ``path``; symbolic links are followed.

    It is locked while it is open, so that two processes do not write it. ``size`` counts the bytes written so far, and
    ``initial_size`` those that an earlier run left.
    """

    def __init__(self, path: str) -> None:
        """Raises ``CannotCreate``, ``OutputError``, and ``TemporaryFailure`` when another process writes it."""
        self.path = path
        self.target = Path(os.path.realpath(path))
        self.partial = self.target.with_name(self.target.name + ".partial")
        self.size = 0
        try:
            with suppress(FileNotFoundError):
                os.stat(path)  # noqa: PTH116 (a loop of links fails here)
            if self.target.exists() and not os.access(self.target, os.W_OK):
                raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), path)
            self._fd = self._open_locked()
        except (OSError, ValueError) as error:
            raise file_error(path, error) from error
        self.initial_size = os.fstat(self._fd).st_size

    def _open_locked(self) -> int:
        """Return a descriptor of the partial output, which is locked where the file system has locks.

        The process that held the lock may have renamed or removed the file after it was opened here. Then its name
        stands for another file, which is opened instead. Raises ``TemporaryFailure`` and ``OSError``.
        """
        while True:
            fd = os.open(self.partial, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o666)
            try:
                fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                os.close(fd)
                raise TemporaryFailure(self.path, detail="another process writes it") from error
            except OSError:  # a file system without locks
                return fd
            with suppress(FileNotFoundError):
                if os.path.samestat(os.fstat(fd), self.partial.stat()):
                    return fd
            os.close(fd)

    def truncate(self, size: int) -> None:
        """Keep the first ``size`` bytes. Raises ``OutputError`` when there are fewer."""
        try:
            if os.fstat(self._fd).st_size < size:
                raise OutputError(str(self.partial), detail="it is shorter than the job has recorded")
            os.ftruncate(self._fd, size)
            self.size = os.lseek(self._fd, size, os.SEEK_SET)
        except OSError as error:
            raise OutputError(str(self.partial), detail=error.strerror or "") from error

    def write(self, data: bytes) -> None:
        """Append ``data``. Raises ``OutputError``."""
        rest = memoryview(data)
        try:
            while rest:
                rest = rest[os.write(self._fd, rest) :]
        except OSError as error:
            raise OutputError(self.path, detail=error.strerror or "") from error
        self.size += len(data)

    def sync(self) -> None:
        """Wait until all data is on the disk. Raises ``OutputError``."""
        try:
            os.fsync(self._fd)
        except OSError as error:
            raise OutputError(self.path, detail=error.strerror or "") from error

    def commit(self) -> None:
        """Give the file its final name, with the mode and owner of the file that it replaces.

        Raises ``OutputError`` and ``CannotCreate``.
        """
        self.sync()
        self._place()

    def _place(self) -> None:
        try:
            if self.target.exists():
                there = self.target.stat()
                with suppress(PermissionError):  # only root may change the owner
                    os.fchown(self._fd, there.st_uid, there.st_gid)
                os.fchmod(self._fd, stat.S_IMODE(there.st_mode))
            self.partial.replace(self.target)
            sync_directory(self.target.parent)
        except OSError as error:
            raise file_error(self.path, error) from error
        finally:
            os.close(self._fd)

    def commit_and_reopen(self) -> Self:
        """Give the file its final name, and return a new, empty one."""
        self.commit()
        return type(self)(self.path)

    def close(self) -> None:
        """Close the file and keep it."""
        os.close(self._fd)

    def close_unused(self) -> None:
        """Close the file; keep it only if an earlier run has left it."""
        if self.initial_size:
            self.close()
        else:
            self.discard()

    def discard(self) -> None:
        """Close the file and remove it."""
        with suppress(OSError):
            self.partial.unlink()
        os.close(self._fd)


@contextmanager
def lock_output(path: str) -> Iterator[None]:
    """Keep other processes from writing the output ``path`` in the block, those that run a job over records as well.

    An output that is no regular file is not locked. A partial output that an earlier job has left stays. Raises as
    ``ResumableFile``.
    """
    if not is_resumable(path):
        yield
        return
    lock = ResumableFile(path)
    try:
        yield
    finally:
        lock.close_unused()


def replace_durably(path: Path, content: bytes) -> None:
    """Replace a file atomically, so that even a power failure leaves the old or the new content.

    Raises ``OutputError``.
    """
    temporary = path.with_name(path.name + ".new")
    try:
        _write_durably(temporary, content)
        temporary.replace(path)
        sync_directory(path.parent)
    except OSError as error:
        with suppress(OSError):  # the first error is the one to report
            temporary.unlink()
        raise file_error(str(path), error) from error


def _write_durably(path: Path, content: bytes) -> None:
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC | os.O_NOFOLLOW, 0o666)
    try:
        with os.fdopen(fd, "wb", closefd=False) as file:
            file.write(content)
        os.fsync(fd)
    finally:
        os.close(fd)


def sync_directory(path: Path) -> None:
    """Wait until the names in a directory are on the disk, where the system can do that. Raises ``OSError``."""
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        with suppress(OSError):  # some network file systems cannot
            os.fsync(fd)
    finally:
        os.close(fd)
