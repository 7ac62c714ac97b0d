"""Files in the cache and in llm's own directories that are no longer needed.

Files that a running process may be writing or about to link are kept: a partial file is listed only if its owner has
ended, and files without a link only if nothing was written for an hour and no download is running.
"""

from __future__ import annotations

import os
import re
import shutil
import time
from collections.abc import Iterator
from pathlib import Path

from llmcli.fast_dataclass import frozen
from llmcli.models.files.paths import translate_write_errors
from llmcli.models.hub.hub_cache import HubCache, iter_links
from llmcli.models.hub.partial_file import DownloadLock, orphaned_partials
from llmcli.models.library.imports import unfinished_imports

_HOUR_S = 3600.0  # seconds
_DAY_S = 24 * _HOUR_S
_BLOB_NAME = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}")
_CLIENT_PARTIAL_NAME = re.compile(r"([0-9a-f]{40}|[0-9a-f]{64})(\.[0-9a-f]{8})?\.incomplete")
"""Partial files of huggingface_hub, whose names do not show their process."""


@frozen
class PruneCandidate:
    """A file (or a directory of llm) to remove; ``size``: the bytes that this frees; ``description`` for the user."""

    path: Path
    size: int
    description: str


def find_prune_candidates(cache: HubCache, own: Path, scratch_directory: Path, registry: Path) -> list[PruneCandidate]:
    """Return what can be removed from the cache, the directory of ``own`` copies, and ``scratch_directory``.

    This includes temporary files beside ``registry``, the registry's file.

    Raises ``OutputError`` if the cache cannot be read.
    """
    needed = cache.link_targets()
    with translate_write_errors(cache.root):
        found = [
            candidate
            for directory in cache.repositories()
            for candidate in _find_in_repository(cache, directory, needed)
        ]
        stored = [
            path
            for path in cache.shared_blobs.list_blobs()
            if path not in needed and _seconds_since_write(path) > _HOUR_S
        ]
    found += [_file_candidate(path, "unreferenced file") for path in stored]
    found += [_directory_candidate(path, "unfinished import") for path in unfinished_imports(own)]
    beside = re.compile(re.escape(f".{registry.name}.") + r"\d+")
    written = [
        path
        for path in _list_directory(registry.parent)
        if beside.fullmatch(path.name) and _seconds_since_write(path) > _HOUR_S
    ]
    found += [_file_candidate(path, "unfinished record") for path in written]
    old = (
        path
        for path in _list_directory(scratch_directory)
        if path.name.startswith("wheel-") and _seconds_since_write(path) > _DAY_S
    )
    return found + [_directory_candidate(path, "unfinished download") for path in old]


def remove_candidate(candidate: PruneCandidate, cache: HubCache) -> None:
    """Remove the candidate. Raises ``OutputError``."""
    with translate_write_errors(candidate.path):
        if cache.shared_blobs.contains(candidate.path):
            cache.shared_blobs.remove(candidate.path, cache.link_targets)
        elif candidate.path.is_dir() and not candidate.path.is_symlink():
            shutil.rmtree(candidate.path)
        else:
            candidate.path.unlink(missing_ok=True)


def _find_in_repository(cache: HubCache, directory: Path, needed: set[Path]) -> Iterator[PruneCandidate]:
    blobs = Path(os.path.realpath(directory / "blobs"))
    entries = _list_directory(blobs)
    partials = {path for path in entries if path.suffix == ".incomplete"}
    abandoned = {*orphaned_partials(blobs), *(path for path in partials if _is_orphaned_client_partial(cache, path))}
    for path in sorted(abandoned):
        yield _file_candidate(path, "unfinished download")
    if partials <= abandoned and all(_seconds_since_write(path) > _HOUR_S for path in entries if path not in abandoned):
        for path in entries:
            if _BLOB_NAME.fullmatch(path.name) and path not in needed and not _has_other_links(path):
                yield _file_candidate(path, "unreferenced file")
    for link, link_path in sorted(iter_links(directory / "snapshots")):
        if not os.path.lexists(link_path):
            yield PruneCandidate(link, 0, "name without a file")


def _is_orphaned_client_partial(cache: HubCache, path: Path) -> bool:
    """Return whether a partial file of huggingface_hub is not locked here, and was not written for a day."""
    match = _CLIENT_PARTIAL_NAME.fullmatch(path.name)
    if match is None or _seconds_since_write(path) < _DAY_S:
        return False
    lock = DownloadLock(cache.root / ".locks" / path.parent.parent.name / f"{match.group(1)}.lock")
    try:
        return lock.try_acquire() is not False
    finally:
        lock.close()


def _list_directory(directory: Path) -> list[Path]:
    try:
        return sorted(directory.iterdir())
    except OSError:
        return []


def _seconds_since_write(path: Path) -> float:
    """Return the seconds since the last write; 0 for a file that vanished."""
    try:
        return time.time() - path.lstat().st_mtime
    except OSError:
        return 0.0


def _has_other_links(path: Path) -> bool:
    """Return whether a file has other hard links: without symbolic links, snapshots use these."""
    try:
        return path.lstat().st_nlink > 1
    except OSError:
        return True


def _freed_bytes(path: Path) -> int:
    try:
        status = path.lstat()
    except OSError:
        return 0
    return status.st_size if status.st_nlink == 1 else 0


def _file_candidate(path: Path, what: str) -> PruneCandidate:
    return PruneCandidate(path, _freed_bytes(path), what)


def _directory_candidate(path: Path, what: str) -> PruneCandidate:
    return PruneCandidate(path, sum(_freed_bytes(file) for file in path.rglob("*") if not file.is_dir()), what)
