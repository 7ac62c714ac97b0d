"""A file of JSON Lines for one process, which appends to it: each line is on the disk before the call returns."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self

from llmcli.errors import BadDocument, CannotCreate, UsageError
from llmcli.files.file_lock import acquire_lock


class SyncedLines:
    """The lines of the file at ``path``, objects. A last line that was cut off by a crash is removed.

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
        self._missing_end = b""

    def read(self) -> list[Any]:
        """Return the value of each line.

        Raises ``BadDocument`` for one that is no JSON, and leaves the file as it is then.
        """
        content = self.path.read_bytes()
        values, size = parse_lines(self.path, content)
        if size < len(content):
            os.ftruncate(self._descriptor, size)
        os.lseek(self._descriptor, 0, os.SEEK_END)
        if values and size == len(content) and not content.endswith(b"\n"):  # an editor has left out the last line end
            self._missing_end = b"\n"
        return values

    def damage(self, line: int, detail: str) -> BadDocument:
        """Return the error for a line (from 1) that means nothing."""
        return damaged_line(self.path, line, detail)

    def append(self, event: Mapping[str, Any]) -> None:
        """Write a line and sync it. Raises ``CannotCreate`` when it cannot be written."""
        data = self._missing_end + json.dumps(event, ensure_ascii=False).encode("utf-8", "surrogatepass") + b"\n"
        self._missing_end = b""
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


def parse_lines(path: Path, content: bytes) -> tuple[list[Any], int]:
    """Return the value of each line, and the size of the content without a last line that was cut off.

    Raises ``BadDocument`` for a line that is no JSON.
    """
    lines = content.splitlines()
    is_whole = content.endswith(b"\n")
    values = []
    for number, line in enumerate(lines, 1):
        try:
            values.append(json.loads(line))
        except (ValueError, RecursionError) as error:
            if is_whole or number < len(lines) or not line.startswith(b"{"):
                raise damaged_line(path, number, "it is no JSON") from error
            return values, len(content) - len(line)
    return values, len(content)


def damaged_line(path: Path, line: int, detail: str) -> BadDocument:
    """Return the error for a line (from 1) of a file that means nothing."""
    return BadDocument(str(path), detail=detail, line=line, kind="answers")
