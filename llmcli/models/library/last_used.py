"""When each model was last used: the time of a small file per model, so that no use rewrites the registry."""

from __future__ import annotations

import os
import re
from contextlib import suppress
from pathlib import Path

from llmcli.files import private_files

_SHA256 = re.compile(r"[0-9a-f]{64}")


class LastUsedTimes:
    """The files in ``directory``, each named by the SHA-256 of a model. They are not essential, so errors are ignored."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory

    def record_use(self, sha256: str | None) -> None:
        """Record that the model with this hash is being used; errors are ignored."""
        path = self._marker_path(sha256)
        if path is None:
            return
        with suppress(OSError):
            try:
                os.utime(path)
            except FileNotFoundError:
                private_files.replace_file(path, b"")

    def last_used_at(self, sha256: str | None) -> float | None:
        """Return the time of the last use in seconds since 1970; None: never, or unknown."""
        path = self._marker_path(sha256)
        try:
            return path.stat().st_mtime if path else None
        except OSError:
            return None

    def _marker_path(self, sha256: str | None) -> Path | None:
        return self.directory / sha256 if sha256 and _SHA256.fullmatch(sha256) else None

    def marker_files(self) -> dict[str, Path]:
        """Return the files by the hash in their name."""
        try:
            return {path.name: path for path in sorted(self.directory.iterdir())}
        except OSError:
            return {}
