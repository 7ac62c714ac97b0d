"""When each model was used last: the time of a small file for each, so that no use rewrites what llm remembers."""

from __future__ import annotations

import os
import re
from contextlib import suppress
from pathlib import Path

from llmcli import private_files

_SHA256 = re.compile(r"[0-9a-f]{64}")


class LastUsedTimes:
    """The files in ``directory``, each called by the SHA-256 of a model; which nobody needs, so no error comes of them."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory

    def record_use(self, sha256: str | None) -> None:
        """Remember that the model with this hash is used now; nothing happens where that cannot be written."""
        path = self._marker_path(sha256)
        if path is None:
            return
        with suppress(OSError):
            try:
                os.utime(path)
            except FileNotFoundError:
                private_files.replace_file(path, b"")

    def last_used_at(self, sha256: str | None) -> float | None:
        """Return the time of the last use in seconds since 1970; None: never, or not known."""
        path = self._marker_path(sha256)
        try:
            return path.stat().st_mtime if path else None
        except OSError:
            return None

    def _marker_path(self, sha256: str | None) -> Path | None:
        return self.directory / sha256 if sha256 and _SHA256.fullmatch(sha256) else None

    def marker_files(self) -> dict[str, Path]:
        """Return the files by the hash that they stand for."""
        try:
            return {path.name: path for path in sorted(self.directory.iterdir())}
        except OSError:
            return {}
