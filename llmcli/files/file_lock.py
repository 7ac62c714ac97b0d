"""Lock files (flock(2)); the caller decides what a failed lock means.

A lock ends with its descriptor, so a killed process leaves no lock behind.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from llmcli.files.private_files import FILE_MODE


class LocksUnsupported(OSError):
    """The file could be opened, but its file system has no locks."""


def acquire_lock(
    path: Path, *, mode: int = FILE_MODE, wait: bool = False, removable: bool = False, create: bool = True
) -> int | None:
    """Return a descriptor that holds the lock file at ``path``, None while another process holds it.

    ``mode``: permissions of a new lock file.
    ``wait``: block until the lock is free.
    ``removable``: the holder may remove the file, so a lock on a removed file does not count.
    ``create``: create a missing file.

    Raises ``OSError``, and ``LocksUnsupported`` after the file was opened.
    """
    import fcntl

    flags = os.O_RDWR | (os.O_CREAT if create else 0)
    return _lock_file(path, flags, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB), mode, removable=removable)


def acquire_shared_lock(path: Path) -> int | None:
    """Return a descriptor that holds an existing file together with others; None while a process holds it alone.

    Raises as ``acquire_lock``. None also if the file was removed meanwhile.
    """
    import fcntl

    return _lock_file(path, os.O_RDONLY, fcntl.LOCK_SH | fcntl.LOCK_NB, removable=True)


def _lock_file(path: Path, flags: int, operation: int, mode: int = FILE_MODE, *, removable: bool) -> int | None:
    import fcntl

    descriptor = os.open(path, flags | os.O_CLOEXEC | os.O_NOFOLLOW, mode)
    try:
        fcntl.flock(descriptor, operation)
        if not removable or path.stat().st_ino == os.fstat(descriptor).st_ino:
            return descriptor
    except (BlockingIOError, FileNotFoundError):  # another process has the lock, or has removed the file
        pass
    except OSError as error:
        os.close(descriptor)
        raise LocksUnsupported(*error.args) from error
    except BaseException:
        os.close(descriptor)
        raise
    os.close(descriptor)
    return None


@contextmanager
def hold_lock(
    path: Path,
    *,
    timeout_s: float | None,
    poll_s: float,
    check: Callable[[], None] = lambda: None,
    removable: bool = False,
) -> Iterator[bool]:
    """Hold the lock file in the block; yield False where another process still has it after ``timeout_s`` seconds.

    ``timeout_s`` None waits without limit. ``check`` is called while waiting; what it raises ends the wait. Raises as
    ``acquire_lock``.
    """
    until = None if timeout_s is None else time.monotonic() + timeout_s
    descriptor = acquire_lock(path, removable=removable)
    while descriptor is None and (until is None or time.monotonic() < until):
        check()
        time.sleep(poll_s)
        descriptor = acquire_lock(path, removable=removable)
    try:
        yield descriptor is not None
    finally:
        if descriptor is not None:
            os.close(descriptor)


@contextmanager
def hold_lock_if_supported(path: Path) -> Iterator[None]:
    """Hold the lock file at ``path`` if locks work; without locks, one of two concurrent changes is lost.

    Raises ``OSError``.
    """
    descriptor = None
    with suppress(LocksUnsupported):
        descriptor = acquire_lock(path, wait=True)
    try:
        yield
    finally:
        if descriptor is not None:
            os.close(descriptor)
