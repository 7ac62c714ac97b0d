"""The Hugging Face cache on disk, which llm shares with other tools.

Layout (huggingface_hub, docs/source/en/guides/manage-cache.md): ``models--OWNER--REPO/`` holds ``blobs/`` (files named
by their SHA-256), ``snapshots/COMMIT/`` (symbolic links to blobs under their names) and ``refs/`` (a branch's commit).
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from llmcli import private_files
from llmcli.errors import MissingError, OutputError
from llmcli.models.files.names import is_model_file, parse_hub_name, part_names
from llmcli.models.files.paths import (
    check_removable,
    link_target,
    list_directory,
    translate_read_errors,
    translate_write_errors,
)
from llmcli.models.hub.shared_blobs import SharedBlobStore

_SHA256 = re.compile(r"[0-9a-f]{64}")
_SHARED_MODE = 0o775
"""What others may do with a directory where they may do it with the whole cache."""
_COMMIT = re.compile(r"[0-9a-f]{40}")


@dataclass(frozen=True, slots=True)
class CachedFile:
    """A GGUF file in the cache: ``file`` is its path in ``repo`` at commit ``revision``, ``path`` where it lies."""

    repo: str
    file: str
    revision: str
    path: Path


class HubCache:
    """The cache below ``root``.

    Methods that write raise ``OutputError``, those that look for something ``MissingError`` (kind "place") where that
    may not be looked into: nobody shall think that nothing is there.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self.shared_blobs = SharedBlobStore(root)

    def repository_directory(self, repo: str) -> Path:
        """Return the directory of ``repo`` (which has passed the allow-list)."""
        return self.root / ("models--" + repo.replace("/", "--"))

    def blob_path(self, repo: str, sha256: str) -> Path:
        """Return where the file with this hash lies or will lie."""
        return self.repository_directory(repo) / "blobs" / sha256

    def lock_path(self, repo: str, sha256: str) -> Path:
        """Return the lock file that huggingface_hub uses for the same download."""
        return self.root / ".locks" / self.repository_directory(repo).name / f"{sha256}.lock"

    def make_directory(self, directory: Path) -> None:
        """Make a directory of the cache, as open as the cache, which users may share, but for everybody's writing.

        A cache that is not there yet is made for this user only.
        """
        with translate_write_errors(directory):
            private_files.make_directory(self.root)
            private_files.make_directory(directory, self.root.stat().st_mode & _SHARED_MODE)

    def repositories(self) -> list[Path]:
        """Return the directories of all repositories of models."""
        return [path for path in list_directory(self.root) if path.match("models--*--*")]

    def link_targets(self) -> set[Path]:
        """Return all files that a link of a snapshot, or a blob that is a link, points to, whether they are there.

        Of all repositories, also those of datasets: files may lie in a store that they share.
        Raises ``OutputError`` where a directory cannot be read: what is not seen there would seem to be of no use.
        """
        with translate_write_errors(self.root):
            tops = (each / part for each in sorted(self.root.glob("*--*")) for part in ("blobs", "snapshots"))
            return {aim for top in tops for _, aim in iter_links(top)}

    def files(self, repo: str | None = None) -> list[CachedFile]:
        """Return the GGUF files that are here, one for each file name of a repository, sorted.

        Where several commits have it, the one that ``refs/main`` names wins, then the newest snapshot. Of split models
        only those count of which all parts are in one snapshot.
        """
        return self._split_by_completeness(repo)[0]

    def incomplete_files(self, repo: str | None = None) -> list[CachedFile]:
        """Return the parts that are here of split models of which others are missing, sorted."""
        whole, torn = self._split_by_completeness(repo)
        known = {(file.repo, file.file) for file in whole}
        return [file for file in torn if (file.repo, file.file) not in known]

    def _split_by_completeness(self, repo: str | None) -> tuple[list[CachedFile], list[CachedFile]]:
        """Return the files whose split models are whole, or that are no parts, and the others."""
        whole: dict[tuple[str, str], CachedFile] = {}
        torn: dict[tuple[str, str], CachedFile] = {}
        for directory in [self.repository_directory(repo)] if repo is not None else self.repositories():
            name = directory.name.removeprefix("models--").replace("--", "/", 1)
            if parse_hub_name(name) is None:
                continue
            try:
                snapshots = [(snapshot, _model_paths(snapshot)) for snapshot in _snapshots(directory)]
            except MissingError:
                if repo is not None:
                    raise
                continue  # somebody else's, in a cache that users share: the others are listed
            for snapshot, here in snapshots:
                for file, path in here.items():
                    kept = whole if all(part in here for part in part_names(file)) else torn
                    kept.setdefault((name, file), CachedFile(name, file, snapshot.name, path))
        return [whole[key] for key in sorted(whole)], [torn[key] for key in sorted(torn)]

    def link_blob(self, repo: str, revision: str, file: str, sha256: str, *, branch: str | None = None) -> Path:
        """Name the blob ``sha256`` as ``file`` of the snapshot ``revision``; ``branch`` then points to it."""
        directory = self.repository_directory(repo)
        path = directory / "snapshots" / revision / file
        blob = self.blob_path(repo, sha256)
        with translate_write_errors(path):
            self.make_directory(path.parent)
            beside = path.with_name(f".{path.name}.{os.getpid()}")
            with suppress(FileNotFoundError):
                beside.unlink()
            try:
                beside.symlink_to(os.path.relpath(blob, path.parent))
            except OSError:  # a file system without symbolic links
                beside.hardlink_to(blob)
            beside.replace(path)
            if branch is not None:
                ref = directory / "refs" / branch
                self.make_directory(ref.parent)
                fresh = ref.with_name(f".{branch}.{os.getpid()}")
                private_files.write_file(fresh, revision.encode("ascii"))
                fresh.chmod(private_files.file_mode_in(ref.parent))
                fresh.replace(ref)
        return path

    def remove(self, repo: str, files: Sequence[str]) -> list[Path]:
        """Remove ``files`` of ``repo`` from every snapshot, and the blobs that no other name needs; return what went.

        Where a blob cannot be removed, the names are there again.
        """
        directory = self.repository_directory(repo)
        named = [snapshot / file for file in files for snapshot in _snapshots(directory)]
        named = [link for link in named if link.is_symlink() or link.exists()]
        aims = {link: link.readlink() for link in named if link.is_symlink()}
        own = Path(os.path.realpath(directory / "blobs"))
        blobs = {blob for blob in map(link_target, aims) if blob.parent == own}
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
            for link, aim in aims.items():
                with suppress(OSError):  # it is there still, as most are
                    link.symlink_to(aim)
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

    Raises ``OSError`` where a directory cannot be looked into.
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
    """Return the snapshots of a repository, the one that ``refs/main`` names first, then the newest."""
    main = ""
    with suppress(OSError, UnicodeDecodeError):
        main = (directory / "refs" / "main").read_text(encoding="ascii").strip()
    found = [path for path in list_directory(directory / "snapshots") if _COMMIT.fullmatch(path.name)]
    try:
        return sorted(found, key=lambda path: (path.name != main, -path.stat().st_mtime_ns, path.name))
    except FileNotFoundError:  # no such repository here, or one that is just going away
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
