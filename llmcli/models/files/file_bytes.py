"""The bytes of files: their number, their SHA-256, and whether the disk has room for them."""

from __future__ import annotations

import errno
import hashlib
import os
from collections.abc import Generator
from pathlib import Path

from llmcli.errors import OutputError
from llmcli.interrupt import Interrupt
from llmcli.models.files.paths import open_model, translate_write_errors

_BLOCK_BYTES = 1 << 20


def hash_steps(path: Path, interrupt: Interrupt) -> Generator[int, None, str]:
    """Return the SHA-256 of a file in hexadecimal digits, and yield how many bytes were read meanwhile.

    Raises ``OSError``, ``BadModelFile`` if it is not a regular file, and what ``interrupt.check`` raises.
    """
    digest, done = hashlib.sha256(), 0
    with open_model(path) as file:
        while block := file.read(_BLOCK_BYTES):
            digest.update(block)
            interrupt.check()
            done += len(block)
            yield done
    return digest.hexdigest()


def hash_file(path: Path, interrupt: Interrupt) -> str:
    """Return the SHA-256 of a file as ``hash_steps`` does, without progress."""
    steps = hash_steps(path, interrupt)
    while True:
        try:
            next(steps)
        except StopIteration as end:
            return str(end.value)


def check_disk_space(directory: Path, needed: int) -> None:
    """Raise ``OutputError`` when the file system of ``directory`` has less than ``needed`` bytes free."""
    with translate_write_errors(directory):
        status = os.statvfs(directory)
    free = status.f_bavail * status.f_frsize
    if free < needed:
        raise OutputError(
            str(directory), detail=f"{os.strerror(errno.ENOSPC)}: {needed:,} bytes are needed, {free:,} are free"
        )


def file_size(path: Path) -> int:
    """Return the size of a file that may vanish at any moment, 0 if it does not exist."""
    try:
        return path.stat().st_size
    except OSError:
        return 0
