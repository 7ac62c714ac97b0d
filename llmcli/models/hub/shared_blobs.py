"""The shared store of the Hub's client, which stores a file of several repositories once.

Layout (huggingface_hub 2, utils/_shared_blobs.py): ``blobs/XX/HASH`` below the cache's root is a file to which blobs of
repositories link; ``HASH.refs`` beside it lists these. A process that adds or removes a link holds ``HASH.lock``. A
file without such a list is never removed, since its users are unknown.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Collection
from contextlib import closing
from pathlib import Path

_HASH = re.compile(r"[0-9a-f]{64}")
_MARKER_NAME, _KNOWN_LAYOUT = ".huggingface-shared-blobs", "1\n"


class SharedBlobStore:
    """The store of the cache below ``root``, if there is one with a known layout."""

    def __init__(self, root: Path) -> None:
        self.directory = Path(os.path.realpath(root / "blobs"))

    def list_blobs(self) -> list[Path]:
        """Return the files that may be removed when no link points to them. Raises ``OSError``."""
        return sorted(path for path in self.directory.glob("??/*") if self.contains(path))

    def contains(self, path: Path) -> bool:
        """Return whether ``path`` is a file of the store."""
        if path.parent.parent != self.directory or not _HASH.fullmatch(path.name):
            return False
        return self._layout_is_known() and path.is_file() and not path.is_symlink() and _references_file(path).is_file()

    def _layout_is_known(self) -> bool:
        try:
            return (self.directory / _MARKER_NAME).read_text(encoding="ascii") == _KNOWN_LAYOUT
        except (OSError, UnicodeDecodeError):
            return False

    def remove(self, path: Path, needed: Callable[[], Collection[Path]]) -> bool:
        """Remove a file unless it is ``needed``, which is called while no process can link to it; return whether it was.

        The file stays if another process has the lock, or if locks do not work. Raises ``OSError``.
        """
        from llmcli.models.hub.partial_file import DownloadLock

        with closing(DownloadLock(path.with_name(f"{path.name}.lock"))) as lock:
            if not lock.try_acquire() or not self.contains(path) or path in needed():
                return False
            path.unlink()
            _references_file(path).unlink()
        return True


def _references_file(path: Path) -> Path:
    return path.with_name(f"{path.name}.refs")
