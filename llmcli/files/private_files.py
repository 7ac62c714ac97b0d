"""llm's own files and directories: accessible to their user only, whatever the umask.

Their contents are private (prompts, chats, names of documents), and users who could write them would control the
answers of a model. The user's own outputs (``-o``) follow the umask instead.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from llmcli.errors import AccessDenied, MissingError

DIRECTORY_MODE = 0o700
FILE_MODE = 0o600


def make_directory(path: Path, mode: int = DIRECTORY_MODE) -> None:
    """Create a directory with ``mode``, and its missing parents; an existing directory is not changed.

    Raises ``OSError``.
    """
    try:
        path.mkdir(mode)
    except FileNotFoundError:
        if not path.parent.is_dir():
            make_directory(path.parent, mode)
        path.mkdir(mode, exist_ok=True)  # another process may have created the parent; in /proc this fails again
    except OSError:  # some systems report an existing directory as not writable
        if not path.is_dir():
            raise


def open_file(path: Path, flags: int) -> int:
    """Open a file by ``os.open``, creating it if necessary, and return its descriptor. Raises ``OSError``."""
    return os.open(path, flags | os.O_CREAT | os.O_CLOEXEC, FILE_MODE)


def write_file(path: Path, content: bytes) -> None:
    """Write a file that no process reads yet; an abandoned file is overwritten. Raises ``OSError``."""
    descriptor = open_file(path, os.O_WRONLY | os.O_TRUNC | os.O_NOFOLLOW)
    with os.fdopen(descriptor, "wb") as file:
        os.fchmod(descriptor, FILE_MODE)
        file.write(content)


@contextmanager
def replacing(path: Path, temporary_name: str | None = None) -> Iterator[Path]:
    """Yield a temporary path that replaces ``path`` at the end of the block; after an exception nothing is left there.

    By default the name contains the process id, so a file that exists there was left by a killed process. Raises
    ``OSError``.
    """
    temporary = path.with_name(temporary_name or f".{path.name}.{os.getpid()}")
    try:
        yield temporary
        temporary.replace(path)
    except BaseException:
        with suppress(OSError):  # the first error is the one to report
            temporary.unlink()
        raise


def replace_file(path: Path, content: bytes) -> None:
    """Write ``content`` to ``path`` atomically, creating its directory if necessary.

    Raises ``OSError``; no file is left behind then.
    """
    make_directory(path.parent)
    with replacing(path) as temporary:
        write_file(temporary, content)


def read_secret(path: str | os.PathLike[str], *, kind: str, max_bytes: int) -> str:
    """Return the content of a file that only its owner may read, without surrounding white space.

    Raises ``MissingError`` with ``kind`` for a file that cannot be read, and ``AccessDenied`` for one that others may read
    or write.
    """
    name = os.fspath(path)
    try:
        descriptor = os.open(name, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)  # opening a FIFO would block for ever
        try:
            status = os.fstat(descriptor)
            if not stat.S_ISREG(status.st_mode):
                raise MissingError(name, kind=kind, detail="not a regular file")
            if status.st_mode & 0o077 or status.st_uid not in {os.getuid(), 0}:
                import shlex

                raise AccessDenied(
                    name,
                    message="other users can read {subject}, which contains a key",
                    advice=f"Try: chmod 600 {shlex.quote(name)}",
                    type_name="UnsafeKey",
                )
            return os.read(descriptor, max_bytes).decode("utf-8", "replace").strip()
        finally:
            os.close(descriptor)
    except (OSError, ValueError) as error:  # ValueError: a NUL in the name
        raise MissingError(name, kind=kind, detail=getattr(error, "strerror", None) or str(error)) from error


def exists(path: Path) -> bool:
    """Return whether ``path`` exists; False without permission to check, and for an impossible name."""
    return os.path.exists(path)  # noqa: PTH110 (Path.exists raises for some of that)


def file_mode_in(directory: Path) -> int:
    """Return the mode of a file that only the owner may write; the readers of ``directory`` may read it.

    Raises ``OSError``.
    """
    return FILE_MODE | (directory.stat().st_mode & 0o044)


def restrict_to_owner(descriptor: int) -> None:
    """Remove the permissions of other users on an open file of this user. Raises ``OSError``."""
    status = os.fstat(descriptor)
    if status.st_mode & 0o077 and status.st_uid == os.geteuid():
        os.fchmod(descriptor, FILE_MODE)


def sync(path: Path) -> None:
    """Wait until a file, or the names in a directory, are on the disk. Raises ``OSError``."""
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
