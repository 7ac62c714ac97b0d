"""Files and directories that llm makes for itself: its user's alone, whatever the umask.

What stands in them is private (prompts, chats, names of documents), and what others could write there would decide what
a model answers. The user's own outputs (``-o``) are no such files: they follow the umask.
"""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

DIRECTORY_MODE = 0o700
FILE_MODE = 0o600


def make_directory(path: Path, mode: int = DIRECTORY_MODE) -> None:
    """Make a directory with ``mode``, and so those above it that are not there; one that is there stays as it is.

    Raises ``OSError``.
    """
    try:
        path.mkdir(mode)
    except FileNotFoundError:
        if path.parent.is_dir():  # a directory in which nothing can be made, as in /proc
            raise
        make_directory(path.parent, mode)
        path.mkdir(mode, exist_ok=True)
    except OSError:  # of a directory that is there, some systems say that it cannot be written
        if not path.is_dir():
            raise


def open_file(path: Path, flags: int) -> int:
    """Open a file by ``os.open`` and return its descriptor; where it is not there, it is made. Raises ``OSError``."""
    return os.open(path, flags | os.O_CREAT | os.O_CLOEXEC, FILE_MODE)


def write_file(path: Path, content: bytes) -> None:
    """Write a file that nobody reads yet; what another process left there is overwritten. Raises ``OSError``."""
    descriptor = open_file(path, os.O_WRONLY | os.O_TRUNC | os.O_NOFOLLOW)
    with os.fdopen(descriptor, "wb") as file:
        os.fchmod(descriptor, FILE_MODE)
        file.write(content)


def replace_file(path: Path, content: bytes) -> None:
    """Put ``content`` at ``path``, whole or not at all, in a directory that is made where it is not there.

    Raises ``OSError``, and then nothing is left behind.
    """
    make_directory(path.parent)
    beside = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        write_file(beside, content)
        beside.replace(path)
    except BaseException:
        with suppress(OSError):  # the first error is the one to report
            beside.unlink()
        raise


def exists(path: Path) -> bool:
    """Return whether something is there; what lies where nobody may look, or has no possible name, is not."""
    return os.path.exists(path)  # noqa: PTH110 (Path.exists raises for some of that)


def file_mode_in(directory: Path) -> int:
    """Return the mode for a file that whoever may read ``directory`` may read, and its user alone may write.

    Raises ``OSError``.
    """
    return FILE_MODE | (directory.stat().st_mode & 0o044)


def restrict_to_owner(descriptor: int) -> None:
    """Take from all others what they may do with an open file, where it is this user's. Raises ``OSError``."""
    status = os.fstat(descriptor)
    if status.st_mode & 0o077 and status.st_uid == os.geteuid():
        os.fchmod(descriptor, FILE_MODE)
