"""Lock files (flock(2)): what a failing lock means stays with the caller.

A lock ends with its descriptor, so that no process which was killed leaves one behind.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from llmcli.files.private_files import FILE_MODE


class LocksUnsupported(OSError):
    """The file could be opened, but its file system has no locks."""


def acquire_lock(path: Path, *, mode: int = FILE_MODE, wait: bool = False, removable: bool = False) -> int | None:
    """Return a descriptor that holds the lock file at ``path``, None while another process does.

    ``mode``: of the file where it is made. ``wait``: until it is free. ``removable``: its holder may remove the file, and
    a lock on what was removed is none. Raises ``OSError``; ``LocksUnsupported`` after the file was opened.
    """
    import fcntl

    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, mode)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        if not removable or path.stat().st_ino == os.fstat(descriptor).st_ino:
            return descriptor
    except (BlockingIOError, FileNotFoundError):
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

    None waits for ever. ``check`` is called while it waits, and raises what ends that. Raises as ``acquire_lock``.
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
