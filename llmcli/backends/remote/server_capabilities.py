"""Which fields and paths a server refuses. They are kept in the cache for the next command.

Servers of one protocol differ in the fields and paths they support. A field that improves an answer, but is not
essential, is left out once the server refused it, and so is a request to a path that is not essential.
"""

from __future__ import annotations

import hashlib
import json
import threading
import time
from contextlib import suppress
from pathlib import Path

from llmcli.files import private_files

_MAX_AGE_S = 7 * 86_400
"""Seconds after which a server may support more fields."""


class ServerCapabilities:
    """The capabilities of ``model`` at ``base_url``; stored below ``cache``, None to store nothing."""

    def __init__(self, base_url: str, model: str, cache: Path | None, *, protocol: str = "openai") -> None:
        key = f"{base_url}\n{model}" if protocol == "openai" else f"{protocol}\n{base_url}\n{model}"
        name = hashlib.sha256(key.encode()).hexdigest()[:32]
        self._path = None if cache is None else cache / "servers" / f"{name}.json"
        self._lock = threading.Lock()
        self._has_unsaved_paths = False
        self.refused_fields = self._load_refused()
        """Fields that the server refuses, and paths, which begin with a slash."""

    def add_refused_field(self, field: str) -> None:
        """Leave ``field`` out from now on."""
        with self._lock:
            if field not in self.refused_fields:
                self.refused_fields = self.refused_fields | {field}
                self._save_refused()

    def add_refused_path(self, path: str) -> None:
        """Do without ``path`` from now on; the next command does too if the server answers in this one."""
        with self._lock:
            self.refused_fields = self.refused_fields | {path}
            self._has_unsaved_paths = True

    def record_answer(self) -> None:
        """Record that the server answers: the paths that it refused are missing, and not the server."""
        with self._lock:
            if self._has_unsaved_paths:
                self._has_unsaved_paths = False
                self._save_refused()

    def _load_refused(self) -> frozenset[str]:
        if self._path is None:
            return frozenset()
        try:
            kept = json.loads(self._path.read_bytes())
            fresh = 0 <= time.time() - kept["time"] < _MAX_AGE_S
            return frozenset(str(name) for name in kept["refused"]) if fresh else frozenset()
        except (OSError, ValueError, KeyError, TypeError):  # an unreadable file is built again
            return frozenset()

    def _save_refused(self) -> None:
        if self._path is None:
            return
        with suppress(OSError):  # the next command finds out again
            kept = {"time": time.time(), "refused": sorted(self.refused_fields)}
            private_files.replace_file(self._path, json.dumps(kept).encode())
