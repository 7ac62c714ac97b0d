"""Every file that is written must differ from all other files that are read or written."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable
from pathlib import Path

from llmcli.errors import UsageError

FileRoles = Iterable[tuple[str, str]]
"""The role of a file in the command, such as "the report", and its name."""
_STDIN_NAMES = frozenset({"-", "/dev/stdin", "/dev/fd/0", "/proc/self/fd/0"})


def check_distinct(reads: FileRoles, writes: FileRoles) -> None:
    """Raise ``UsageError`` if a written file, under any name, is also read or written twice.

    A file that is read may be standard input (``-``), which the shell has redirected from a file.
    """
    seen: dict[object, str] = {}
    for role, name in reads:
        identity = _stdin_identity() if name in _STDIN_NAMES else file_identity(name)
        seen.setdefault(identity, "standard input" if name == "-" else role)
    for role, name in writes:
        identity = file_identity(name)
        if identity is not None and identity in seen:
            raise UsageError(
                f"{name} is both {seen[identity]} and {role}",
                detail="Name another file; one would overwrite the other.",
            )
        seen[identity] = role


def file_identity(name: str) -> object:
    """Return a file's identity under all its names; None for standard input, a device, a pipe, an open descriptor."""
    if name == "-" or name.startswith(("/dev/", "/proc/")):
        return None
    try:
        status = Path(name).stat()
    except OSError:
        return os.path.realpath(name)
    except ValueError:  # a NUL in the name
        return None
    return _regular_file_identity(status)


def _stdin_identity() -> object:
    try:
        return _regular_file_identity(os.fstat(0))
    except OSError:  # it is closed
        return None


def _regular_file_identity(status: os.stat_result) -> object:
    return (status.st_dev, status.st_ino) if stat.S_ISREG(status.st_mode) else None
