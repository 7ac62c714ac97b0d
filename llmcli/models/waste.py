"""What lies in the cache and in llm's own directories and is of no use to anybody any more.

Nothing is taken for waste that a living process may be writing or about to name: a partial file only when its owner is
gone, and files without a name only where nothing was written for an hour and no download is under way.
"""

from __future__ import annotations

import os
import re
import shutil
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from llmcli.models.cache import HubCache, links
from llmcli.models.imports import unfinished
from llmcli.models.partial import Lock, left_behind
from llmcli.models.paths import writing

_HOUR = 3600.0  # seconds
_DAY = 24 * _HOUR
_BLOB = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}")
_OF_THE_CLIENT = re.compile(r"([0-9a-f]{40}|[0-9a-f]{64})(\.[0-9a-f]{8})?\.incomplete")
"""Partial files of huggingface_hub, which do not say who writes them."""


@dataclass(frozen=True, slots=True)
class Waste:
    """A file (or a directory of ours) that can go; ``size``: the bytes that this frees; ``what`` it is, in words."""

    path: Path
    size: int
    what: str


def find_waste(cache: HubCache, own: Path, scratch: Path, registry: Path) -> list[Waste]:
    """Return what can go from the cache, from the directory of our ``own`` copies, from ``scratch`` and ``registry``.

    The last is the file of what llm remembers, beside which its next contents are written.

    Raises ``OutputError`` where the cache cannot be read.
    """
    needed = cache.targets()
    with writing(cache.root):
        found = [waste for directory in cache.repositories() for waste in _of_repository(cache, directory, needed)]
        stored = [path for path in cache.store.files() if path not in needed and _quiet_for(path) > _HOUR]
    found += [_waste(path, "file without a name") for path in stored]
    found += [_directory(path, "unfinished import") for path in unfinished(own)]
    beside = re.compile(re.escape(f".{registry.name}.") + r"\d+")
    written = [path for path in _entries(registry.parent) if beside.fullmatch(path.name) and _quiet_for(path) > _HOUR]
    found += [_waste(path, "unfinished record") for path in written]
    old = (path for path in _entries(scratch) if path.name.startswith("wheel-") and _quiet_for(path) > _DAY)
    return found + [_directory(path, "unfinished download") for path in old]


def remove_waste(waste: Waste, cache: HubCache) -> None:
    """Remove it. Raises ``OutputError``."""
    with writing(waste.path):
        if cache.store.holds(waste.path):
            cache.store.remove(waste.path, cache.targets)
        elif waste.path.is_dir() and not waste.path.is_symlink():
            shutil.rmtree(waste.path)
        else:
            waste.path.unlink(missing_ok=True)


def _of_repository(cache: HubCache, directory: Path, needed: set[Path]) -> Iterator[Waste]:
    blobs = Path(os.path.realpath(directory / "blobs"))
    entries = _entries(blobs)
    partials = {path for path in entries if path.suffix == ".incomplete"}
    gone = {*left_behind(blobs), *(path for path in partials if _is_left_by_client(cache, path))}
    for path in sorted(gone):
        yield _waste(path, "unfinished download")
    if partials <= gone and all(_quiet_for(path) > _HOUR for path in entries if path not in gone):
        for path in entries:
            if _BLOB.fullmatch(path.name) and path not in needed and not _linked(path):
                yield _waste(path, "file without a name")
    for link, aim in sorted(links(directory / "snapshots")):
        if not os.path.lexists(aim):
            yield Waste(link, 0, "name without a file")


def _is_left_by_client(cache: HubCache, path: Path) -> bool:
    """Return whether nobody on this machine writes a partial file of huggingface_hub, and nobody elsewhere since a day."""
    match = _OF_THE_CLIENT.fullmatch(path.name)
    if match is None or _quiet_for(path) < _DAY:
        return False
    lock = Lock(cache.root / ".locks" / path.parent.parent.name / f"{match.group(1)}.lock")
    try:
        return lock.take() is not False
    finally:
        lock.close()


def _entries(directory: Path) -> list[Path]:
    try:
        return sorted(directory.iterdir())
    except OSError:
        return []


def _quiet_for(path: Path) -> float:
    """Return the seconds since something was written there last; 0 for what is just going away."""
    try:
        return time.time() - path.lstat().st_mtime
    except OSError:
        return 0.0


def _linked(path: Path) -> bool:
    """Return whether a file has other names: where symbolic links cannot be made, those of the snapshots."""
    try:
        return path.lstat().st_nlink > 1
    except OSError:
        return True


def _freed(path: Path) -> int:
    try:
        status = path.lstat()
    except OSError:
        return 0
    return status.st_size if status.st_nlink == 1 else 0


def _waste(path: Path, what: str) -> Waste:
    return Waste(path, _freed(path), what)


def _directory(path: Path, what: str) -> Waste:
    return Waste(path, sum(_freed(file) for file in path.rglob("*") if not file.is_dir()), what)
