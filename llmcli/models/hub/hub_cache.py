"""The Hugging Face cache on disk, which llm shares with other tools.

Layout (huggingface_hub, docs/source/en/guides/manage-cache.md): ``models--OWNER--REPO/`` holds ``blobs/`` (files named
by their SHA-256), ``snapshots/COMMIT/`` (symbolic links to blobs under their names) and ``refs/`` (a branch's commit).

The shared store of the Hub's client, which stores a file of several repositories once.

Layout (huggingface_hub 2, utils/_shared_blobs.py): ``blobs/XX/HASH`` below the cache's root is a file to which blobs of
repositories link; ``HASH.refs`` beside it lists these. A process that adds or removes a link holds ``HASH.lock``. A
file without such a list is never removed, since its users are unknown.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import closing, suppress
from pathlib import Path

from llmcli.errors import MissingError, OutputError
from llmcli.fast_dataclass import frozen
from llmcli.files import private_files
from llmcli.models.files.names import is_model_file, parse_hub_name, part_names
from llmcli.models.files.paths import (
    check_removable,
    link_target,
    list_directory,
    translate_read_errors,
    translate_write_errors,
)

_SHA256 = re.compile(r"[0-9a-f]{64}")
_SHARED_MODE = 0o775
"""Other users' permissions on a directory, copied from the whole cache."""
_COMMIT = re.compile(r"[0-9a-f]{40}")


@frozen
class CachedFile:
    """A GGUF file in the cache: ``file`` is its path in ``repo`` at commit ``revision``, ``path`` its path on disk."""

    repo: str
    file: str
    revision: str
    path: Path


class HubCache:
    """The cache below ``root``.

    Methods that write raise ``OutputError``; those that read raise ``MissingError`` (kind "place") for a directory
    without permission, instead of reporting it as empty.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self.shared_blobs = _SharedBlobStore(root)

    def repository_directory(self, repo: str) -> Path:
        """Return the directory of ``repo`` (which has passed the allow-list)."""
        return self.root / ("models--" + repo.replace("/", "--"))

    def blob_path(self, repo: str, sha256: str) -> Path:
        """Return the path of the file with this hash, which need not exist."""
        return self.repository_directory(repo) / "blobs" / sha256

    def lock_path(self, repo: str, sha256: str) -> Path:
        """Return the lock file that huggingface_hub uses for the same download."""
        return self.root / ".locks" / self.repository_directory(repo).name / f"{sha256}.lock"

    def make_directory(self, directory: Path) -> None:
        """Create a directory with the permissions of the cache, which users may share; never world-writable.

        A new cache is created for this user only.
        """
        with translate_write_errors(directory):
            private_files.make_directory(self.root)
            private_files.make_directory(directory, self.root.stat().st_mode & _SHARED_MODE)

    def repositories(self) -> list[Path]:
        """Return the directories of all model repositories."""
        return [path for path in list_directory(self.root) if path.match("models--*--*")]

    def link_targets(self) -> set[Path]:
        """Return the targets of all links: of snapshots, and of blobs that are links; they need not exist.

        Repositories of datasets count too, since they may use files of a shared store. Raises ``OutputError`` if a
        directory cannot be read, since files that its links need would seem unused.
        """
        with translate_write_errors(self.root):
            tops = (each / part for each in sorted(self.root.glob("*--*")) for part in ("blobs", "snapshots"))
            return {target for top in tops for _, target in iter_links(top)}

    def files(self, repo: str | None = None) -> list[CachedFile]:
        """Return the GGUF files in the cache, one for each file name of a repository, sorted.

        If several commits have the file, the one of ``refs/main`` counts, then the newest snapshot. Split models count
        only if all parts are in one snapshot.
        """
        return self._split_by_completeness(repo)[0]

    def incomplete_files(self, repo: str | None = None) -> list[CachedFile]:
        """Return the existing parts of incomplete split models, sorted."""
        complete, incomplete = self._split_by_completeness(repo)
        known = {(file.repo, file.file) for file in complete}
        return [file for file in incomplete if (file.repo, file.file) not in known]

    def _split_by_completeness(self, repo: str | None) -> tuple[list[CachedFile], list[CachedFile]]:
        """Return the files that are single or belong to complete split models, and the others."""
        complete: dict[tuple[str, str], CachedFile] = {}
        incomplete: dict[tuple[str, str], CachedFile] = {}
        for directory in [self.repository_directory(repo)] if repo is not None else self.repositories():
            name = directory.name.removeprefix("models--").replace("--", "/", 1)
            if parse_hub_name(name) is None:
                continue
            try:
                snapshots = [(snapshot, _model_paths(snapshot)) for snapshot in _snapshots(directory)]
            except MissingError:
                if repo is not None:
                    raise
                continue  # a directory of another user in a shared cache: the others are listed
            for snapshot, files in snapshots:
                for file, path in files.items():
                    found = complete if all(part in files for part in part_names(file)) else incomplete
                    found.setdefault((name, file), CachedFile(name, file, snapshot.name, path))
        return [complete[key] for key in sorted(complete)], [incomplete[key] for key in sorted(incomplete)]

    def link_blob(self, repo: str, revision: str, file: str, sha256: str, *, branch: str | None = None) -> Path:
        """Add the blob ``sha256`` as ``file`` to the snapshot ``revision``; ``branch`` then points to it."""
        directory = self.repository_directory(repo)
        path = directory / "snapshots" / revision / file
        blob = self.blob_path(repo, sha256)
        with translate_write_errors(path):
            self.make_directory(path.parent)
            with private_files.replacing(path) as beside:
                with suppress(FileNotFoundError):
                    beside.unlink()
                try:
                    beside.symlink_to(os.path.relpath(blob, path.parent))
                except OSError:  # a file system without symbolic links
                    beside.hardlink_to(blob)
            if branch is not None:
                ref = directory / "refs" / branch
                self.make_directory(ref.parent)
                with private_files.replacing(ref) as fresh:
                    private_files.write_file(fresh, revision.encode("ascii"))
                    fresh.chmod(private_files.file_mode_in(ref.parent))
        return path

    def remove(self, repo: str, files: Sequence[str]) -> list[Path]:
        """Remove ``files`` of ``repo`` from every snapshot, and blobs that no other link needs; return the removed.

        If a blob cannot be removed, the links are restored.
        """
        directory = self.repository_directory(repo)
        named = [snapshot / file for file in files for snapshot in _snapshots(directory)]
        named = [link for link in named if link.is_symlink() or link.exists()]
        targets = {link: link.readlink() for link in named if link.is_symlink()}
        own = Path(os.path.realpath(directory / "blobs"))
        blobs = {blob for blob in map(link_target, targets) if blob.parent == own}
        check_removable([*named, *blobs])
        removed: list[Path] = []
        try:
            with translate_write_errors(directory):
                for link in named:
                    link.unlink()
                    removed.append(link)
                for blob in sorted(blobs - self.link_targets()):
                    removed += self._remove_blob(blob)
        except OutputError:
            for link, target in targets.items():
                with suppress(OSError):  # most links still exist
                    link.symlink_to(target)
            raise
        for link in named:
            _remove_empty(link.parent, directory / "snapshots")
        return removed

    def _remove_blob(self, blob: Path) -> list[Path]:
        stored = link_target(blob) if blob.is_symlink() else None
        blob.unlink(missing_ok=True)
        if (
            stored is not None
            and self.shared_blobs.contains(stored)
            and self.shared_blobs.remove(stored, self.link_targets)
        ):
            return [blob, stored]
        return [blob]


def iter_links(top: Path) -> Iterator[tuple[Path, Path]]:
    """Yield the symbolic links below the directory ``top``, each with its target.

    Raises ``OSError`` if a directory cannot be read.
    """

    def fail(error: OSError) -> None:
        if not isinstance(error, FileNotFoundError):
            raise error

    for directory, folders, files in os.walk(top, onerror=fail):
        for path in (Path(directory) / name for name in (*folders, *files)):
            with suppress(FileNotFoundError):  # just renamed
                if path.is_symlink():
                    yield path, link_target(path)


def _snapshots(directory: Path) -> list[Path]:
    """Return the snapshots of a repository, first the one of ``refs/main``, then the newest."""
    main = ""
    with suppress(OSError, UnicodeDecodeError):
        main = (directory / "refs" / "main").read_text(encoding="ascii").strip()
    found = [path for path in list_directory(directory / "snapshots") if _COMMIT.fullmatch(path.name)]
    try:
        return sorted(found, key=lambda path: (path.name != main, -path.stat().st_mtime_ns, path.name))
    except FileNotFoundError:  # no such repository here, or one that is being removed
        return []


def _model_paths(snapshot: Path) -> dict[str, Path]:
    """Return the GGUF files of a snapshot by their names in the repository."""
    with translate_read_errors(snapshot):
        found = {path.relative_to(snapshot).as_posix(): path for path in sorted(snapshot.rglob("*.gguf"))}
        return {file: path for file, path in found.items() if path.is_file() and is_model_file(file)}


def _remove_empty(directory: Path, top: Path) -> None:
    while directory != top:
        try:
            directory.rmdir()
        except OSError:  # not empty
            return
        directory = directory.parent


_HASH = re.compile(r"[0-9a-f]{64}")
_MARKER_NAME, _KNOWN_LAYOUT = ".huggingface-shared-blobs", "1\n"


class _SharedBlobStore:
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
        """Remove a file unless it is ``needed``, called while no process can link to it; return whether it was.

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
