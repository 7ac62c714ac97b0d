"""The shared store of the Hub's client, in which files of several repositories lie once.

Layout (huggingface_hub 2, utils/_shared_blobs.py): ``blobs/XX/HASH`` below the cache's root is a file to which blobs of
repositories are links; ``HASH.refs`` beside it lists them, ``HASH.lock`` is held by whoever adds or removes one. Of a
file without such a list nobody knows who needs it.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Collection
from contextlib import closing
from pathlib import Path

_HASH = re.compile(r"[0-9a-f]{64}")
_MARKER, _LAYOUT = ".huggingface-shared-blobs", "1\n"


class SharedStore:
    """The store of the cache below ``root``, where there is one whose layout is known."""

    def __init__(self, root: Path) -> None:
        self.directory = Path(os.path.realpath(root / "blobs"))

    def files(self) -> list[Path]:
        """Return the files that may be removed when no link points to them. Raises ``OSError``."""
        return sorted(path for path in self.directory.glob("??/*") if self.holds(path))

    def holds(self, path: Path) -> bool:
        """Return whether ``path`` is such a file."""
        if path.parent.parent != self.directory or not _HASH.fullmatch(path.name):
            return False
        return self._known() and path.is_file() and not path.is_symlink() and _references(path).is_file()

    def _known(self) -> bool:
        try:
            return (self.directory / _MARKER).read_text(encoding="ascii") == _LAYOUT
        except (OSError, UnicodeDecodeError):
            return False

    def remove(self, path: Path, needed: Callable[[], Collection[Path]]) -> bool:
        """Remove a file unless it is ``needed``, which is asked while nobody can link to it; return whether it went.

        Where somebody else has the lock, or locks do not work, it stays. Raises ``OSError``.
        """
        from llmcli.models.partial import Lock

        with closing(Lock(path.with_name(f"{path.name}.lock"))) as lock:
            if not lock.take() or not self.holds(path) or path in needed():
                return False
            path.unlink()
            _references(path).unlink()
        return True


def _references(path: Path) -> Path:
    return path.with_name(f"{path.name}.refs")
