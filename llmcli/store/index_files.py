"""The index files of directories: one for each, in the cache, named by a hash of the directory's path."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from llmcli.errors import BadDocument, LlmError
from llmcli.files import private_files
from llmcli.store.database import make_parent_directory
from llmcli.store.passage_index import IndexSummary, PassageIndex

_SUFFIX = ".sqlite"


class IndexFiles:
    """The indexes in the directory ``cache``, which need not exist."""

    def __init__(self, cache: Path) -> None:
        self._cache = cache

    def path_of(self, directory: str) -> Path:
        """Return the index file of a directory, whether it exists or not; links in its path are followed."""
        real = os.fsencode(os.path.realpath(directory))
        return self._cache / f"{hashlib.sha256(real).hexdigest()[:32]}{_SUFFIX}"

    def exists(self, directory: str) -> bool:
        """Whether a directory has an index."""
        return private_files.exists(self.path_of(directory))

    def open(self, directory: str) -> PassageIndex:
        """Open the index of a directory for changes, created if it does not exist. Raises what ``Database`` raises, and ``OutputError``."""
        path = self.path_of(directory)
        make_parent_directory(path)
        return PassageIndex(path, real_path(directory))

    def open_intact(self, directory: str) -> tuple[PassageIndex, bool]:
        """Open the index of a directory as ``open`` does; return it, and whether it replaces one that was damaged."""
        try:
            index = self.open(directory)
            try:
                index.check_intact()
            except BaseException:
                index.close()
                raise
        except BadDocument:
            self.remove(directory)
            return self.open(directory), True
        return index, False

    def open_read_only(self, directory: str) -> PassageIndex:
        """Open the index of a directory; one that does not exist is empty. Raises what ``Database`` raises."""
        return PassageIndex(self.path_of(directory), read_only=True)

    def summaries(self) -> Iterator[IndexSummary]:
        """Yield what each index contains; files that are no index of this version are left out."""
        for file in sorted(self._cache.glob(f"*{_SUFFIX}")):
            with suppress(LlmError), PassageIndex(file, read_only=True) as index:
                yield index.summary()

    def remove(self, directory: str) -> bool:
        """Delete the index of a directory; return whether there was one. Raises ``OSError``."""
        file = self.path_of(directory)
        try:
            file.unlink()
        except FileNotFoundError:
            return False
        with suppress(FileNotFoundError):
            file.with_name(f"{file.name}-journal").unlink()
        return True


def real_path(directory: str) -> str:
    """Return the path of a directory without links in it."""
    return os.path.realpath(directory)
