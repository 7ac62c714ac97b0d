"""A file of JSON Lines that is appended to: each line is on the disk before the call returns, and one process has it."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self

from llmcli.errors import CannotCreate, UsageError
from llmcli.files.file_lock import acquire_lock


class SyncedLines:
    """The lines of the file at ``path``. A last line that was cut off by a crash is removed.

    ``owner`` is the command that writes the file; another process cannot open it at the same time.
    """

    def __init__(self, path: Path, owner: str) -> None:
        """Open or create the file. Raises ``UsageError`` if it is in use, and ``CannotCreate``."""
        self.path = path
        try:
            lock = acquire_lock(path)
        except OSError as error:
            raise CannotCreate(str(path), detail=error.strerror or "") from error
        if lock is None:
            raise UsageError(f"{path} is in use by another {owner}", detail="Finish that one first.")
        self._descriptor = lock

    def read(self) -> list[Any]:
        """Return the value of each line. Raises ``UsageError`` for one that is no JSON."""
        content = self.path.read_bytes()
        whole = content[: content.rfind(b"\n") + 1]
        if len(whole) < len(content):
            os.ftruncate(self._descriptor, len(whole))
        os.lseek(self._descriptor, 0, os.SEEK_END)
        try:
            return [json.loads(line) for line in whole.splitlines()]
        except ValueError as error:
            raise self.damage() from error

    def damage(self) -> UsageError:
        """Return the error for content that means nothing."""
        return UsageError(f"{self.path} is damaged", detail="Remove it to begin again.")

    def append(self, event: Mapping[str, Any]) -> None:
        """Write a line and sync it. Raises ``CannotCreate`` when it cannot be written."""
        data = json.dumps(event, ensure_ascii=False).encode("utf-8", "surrogatepass") + b"\n"
        try:
            while data:
                data = data[os.write(self._descriptor, data) :]
            os.fsync(self._descriptor)
        except OSError as error:
            raise CannotCreate(str(self.path), detail=error.strerror or "") from error

    def close(self) -> None:
        """Close the file; what it has stays."""
        os.close(self._descriptor)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
