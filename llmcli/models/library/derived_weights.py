"""Derived weights: copies of models in another type, in the cache directory.

A copy belongs to the SHA-256 of the model's file, the type, and a ``build`` (the version of the binding and the
processor): ``STEM.gguf`` holds the weights and ``STEM.json`` a record of them. The record is written last, so a copy
without one is an unfinished one. A copy is used only if it is as its record says; otherwise it is removed, and made
again where it is needed. A process holds a shared lock (flock(2)) on the file of a copy while it uses it.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Callable, Collection, Generator, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any, Self

from llmcli.errors import BadModelFile
from llmcli.errors.model_errors import CannotStoreCopies, NoRoomForWeights
from llmcli.fast_dataclass import frozen, replace
from llmcli.files import file_lock, private_files
from llmcli.interrupt import Interrupt
from llmcli.models.files.file_bytes import hash_file, hash_steps
from llmcli.models.files.paths import translate_write_errors
from llmcli.types import Progress


@frozen
class DerivedKey:
    """What a copy is identified by: the SHA-256 of the model's file, the type ("bf16", ...), and the build."""

    source: str
    weights: str
    build: str

    @property
    def stem(self) -> str:
        """The name of the copy's files without suffix."""
        return f"{self.source[:32]}-{self.weights}-{hashlib.sha256(self.build.encode()).hexdigest()[:16]}"


@frozen
class DerivedCopy:
    """A copy of the model called ``model``: its file, with ``sha256`` and ``size`` in bytes.

    ``last_used``: seconds since 1970. ``divergence``: mean Kullback-Leibler divergence from exact evaluation in nats a
    token, None if it was not measured.
    """

    key: DerivedKey
    path: Path
    model: str
    sha256: str
    size: int
    mtime_ns: int
    last_used: float = 0.0
    divergence: float | None = None

    def to_json(self) -> str:
        """Return the record of the copy; its place and last use are those of the files."""
        fields = {
            **{name: getattr(self.key, name) for name in ("source", "weights", "build")},
            **{name: getattr(self, name) for name in ("model", "sha256", "size", "mtime_ns", "divergence")},
        }
        return json.dumps(fields)

    @classmethod
    def from_json(cls, record: bytes, path: Path, last_used: float) -> DerivedCopy:
        """Return the copy that a record describes. Raises ``TypeError``, ``KeyError`` and ``ValueError``."""
        fields: dict[str, Any] = json.loads(record)
        source, weights, build, model, sha256 = (
            _require_text(fields[name]) for name in ("source", "weights", "build", "model", "sha256")
        )
        divergence = None if fields.get("divergence") is None else float(fields["divergence"])
        size, mtime_ns = int(fields["size"]), int(fields["mtime_ns"])
        return cls(DerivedKey(source, weights, build), path, model, sha256, size, mtime_ns, last_used, divergence)


class HeldCopy:
    """A copy that stays while this object is open: no process evicts it. A context manager."""

    def __init__(self, copy: DerivedCopy, lock: int | None) -> None:
        self.copy = copy
        self._lock = lock

    def close(self) -> None:
        """Release the copy."""
        lock, self._lock = self._lock, None
        if lock is not None:
            os.close(lock)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _require_text(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError("expected a text")
    return value


_STEM = re.compile(r"[0-9a-f]{32}-[a-z0-9_]+-[0-9a-f]{16}")
_WEIGHTS_SUFFIX, _RECORD_SUFFIX, _TEMPORARY_SUFFIX, _LOCK_SUFFIX = ".gguf", ".json", ".tmp", ".lock"
_POLL_S = 0.05
"""Seconds between attempts to lock a copy that another process makes."""


class DerivedWeightsStore:
    """The copies in ``directory``, at most ``limit_bytes`` of them; 0: none are made.

    A directory that another user owns or may enter is not used, since the weights determine answers.
    """

    def __init__(self, directory: Path, limit_bytes: int) -> None:
        self.directory = directory
        self.limit_bytes = limit_bytes

    # ---- finding -----------------------------------------------------------------------------------------------------

    def find(self, key: DerivedKey, interrupt: Interrupt | None = None) -> DerivedCopy | None:
        """Return the copy if it is intact, else None; a damaged one is removed.

        A file whose size and time are as recorded is not read again; a changed one is hashed. Raises what
        ``interrupt.check`` raises.
        """
        held = self._open(key, interrupt)
        if held is None:
            return None
        held.close()
        return held.copy

    def hold(self, key: DerivedKey, interrupt: Interrupt | None = None) -> HeldCopy | None:
        """Return the copy as ``find`` does, to be used: it counts as used now, and stays until it is closed."""
        held = self._open(key, interrupt)
        if held is not None:
            with suppress(OSError):  # a cache that cannot be written
                os.utime(self._path(key.stem, _RECORD_SUFFIX))
        return held

    def _open(self, key: DerivedKey, interrupt: Interrupt | None) -> HeldCopy | None:
        copy = self._read_record(key.stem)
        if copy is None or copy.key != key:
            return None
        lock: int | None = None
        try:
            lock = file_lock.acquire_shared_lock(copy.path)
            if lock is None:  # it is being removed
                return None
        except file_lock.LocksUnsupported:  # then no process removes it either
            pass
        except OSError:
            return None
        held = HeldCopy(copy, lock)
        try:
            intact = self._check_intact(copy, interrupt)
        except BaseException:
            held.close()
            raise
        if intact:
            return held
        held.close()
        self._remove_files(key.stem)
        return None

    def list_copies(self) -> list[DerivedCopy]:
        """Return all complete copies, without checking their content."""
        found = (self._read_record(stem) for stem in sorted(self._stems(_WEIGHTS_SUFFIX)))
        return [copy for copy in found if copy is not None]

    @property
    def total_bytes(self) -> int:
        """The bytes of all files of the store, of unfinished copies too."""
        return sum(size for _, size in self._files())

    # ---- making ------------------------------------------------------------------------------------------------------

    @contextmanager
    def claim(self, key: DerivedKey, check: Callable[[], None] = lambda: None) -> Iterator[Path | None]:
        """Hold the right to make a copy; yields the path of an empty private file to write, for ``add``.

        While another process makes it, waits and calls ``check``; yields None if that process has made it. The file is
        removed at the end unless it was added. Leftovers of killed processes are removed. Raises ``CannotStoreCopies``
        if the directory cannot be written or has no locks, and what ``check`` raises.
        """
        lock, temporary = self._path(key.stem, _LOCK_SUFFIX), self._path(key.stem, _TEMPORARY_SUFFIX)
        with ExitStack() as stack:
            with _translate_create_errors(self.directory):
                private_files.make_directory(self.directory)
                if not self._is_private():
                    raise CannotStoreCopies(str(self.directory), detail="not a directory that you own with mode 0700")
                stack.enter_context(
                    file_lock.hold_lock(lock, timeout_s=None, poll_s=_POLL_S, check=check, removable=True)
                )
            stack.callback(_unlink, lock)
            if self.find(key) is not None:
                yield None
                return
            self._remove_abandoned()
            with _translate_create_errors(self.directory):
                temporary.unlink(missing_ok=True)
                stack.callback(_unlink, temporary)
                os.close(private_files.open_file(temporary, os.O_WRONLY | os.O_EXCL | os.O_NOFOLLOW))
            yield temporary

    def add(self, key: DerivedKey, model: str, temporary: Path, interrupt: Interrupt) -> DerivedCopy:
        """Add the file that was written after ``claim``, and return the copy.

        Raises ``OutputError``, and what ``interrupt.check`` raises.
        """
        path = self._path(key.stem, _WEIGHTS_SUFFIX)
        with translate_write_errors(path):
            sha256 = hash_file(temporary, interrupt)
            private_files.sync(temporary)
            self._path(key.stem, _RECORD_SUFFIX).unlink(missing_ok=True)
            temporary.replace(path)
            status = path.stat()
            copy = DerivedCopy(key, path, model, sha256, status.st_size, status.st_mtime_ns)
            self._write_record(copy)
            private_files.sync(self.directory)
        for other in self.list_copies():  # those of earlier builds are never used again
            if other.key.source == key.source and other.key.weights == key.weights and other.key != key:
                self._remove_unused(other.key.stem)
        return copy

    def record_divergence(self, copy: DerivedCopy, divergence: float) -> None:
        """Record how far a copy diverges from exact evaluation. Raises ``OutputError``."""
        with translate_write_errors(copy.path):
            self._write_record(replace(copy, divergence=divergence))

    def fits_on_disk(self, needed: int) -> bool:
        """Return whether the disk has room for ``needed`` bytes of copies if all others are removed."""
        return self._free_bytes() + sum(copy.size for copy in self.list_copies()) >= needed

    def make_room(self, subject: str, needed: int) -> None:
        """Remove the least recently used copies until ``needed`` more bytes are within the limit and on the disk.

        Copies in use stay. Raises ``NoRoomForWeights`` about ``subject``, and ``OutputError``; if even an empty store
        would not suffice, nothing is removed.
        """
        if needed > self.limit_bytes:
            raise NoRoomForWeights(subject, needed=needed, available=self.limit_bytes, limit=self.limit_bytes)
        oldest = sorted(self.list_copies(), key=lambda copy: copy.last_used)
        if not self.fits_on_disk(needed):
            raise NoRoomForWeights(subject, needed=needed, available=self._free_bytes())
        while self.total_bytes + needed > self.limit_bytes or self._free_bytes() < needed:
            if not oldest:
                break
            self._remove_unused(oldest.pop(0).key.stem)
        left = self.limit_bytes - self.total_bytes
        if left < needed:
            raise NoRoomForWeights(subject, needed=needed, available=max(0, left), limit=self.limit_bytes)
        if self._free_bytes() < needed:
            raise NoRoomForWeights(subject, needed=needed, available=self._free_bytes())

    # ---- removing ----------------------------------------------------------------------------------------------------

    def remove(self, source: str) -> list[Path]:
        """Remove all copies of the model with this SHA-256 and return their files; a process keeps what it has loaded.

        Raises ``OutputError``.
        """
        removed = []
        for copy in self.list_copies():
            if copy.key.source == source:
                with translate_write_errors(copy.path):
                    self._path(copy.key.stem, _RECORD_SUFFIX).unlink(missing_ok=True)
                    copy.path.unlink(missing_ok=True)
                removed.append(copy.path)
        return removed

    def find_unneeded(self, known_sources: Collection[str | None]) -> list[tuple[Path, int, str]]:
        """Return what can be removed, each as a file, its bytes, and what it is.

        That is copies of models that are not among ``known_sources``, and leftovers of processes that have ended.
        """
        complete = {copy.key.stem: copy for copy in self.list_copies()}
        found = []
        for path, size in self._files():
            copy = complete.get(path.stem)
            if copy is None:
                if self._is_abandoned(path.stem):
                    found.append((path, size, "unfinished derived weights"))
            elif copy.key.source not in known_sources and path.suffix in {_WEIGHTS_SUFFIX, _RECORD_SUFFIX}:
                found.append((path, size, f"derived weights of {copy.model}, a missing model"))
        return found

    def verify(self, copy: DerivedCopy, interrupt: Interrupt) -> Generator[Progress, None, bool]:
        """Hash a copy again and return whether it is as recorded; a damaged one is removed. Yields the bytes read.

        Raises what ``interrupt.check`` raises.
        """
        steps = hash_steps(copy.path, interrupt)
        try:
            while True:
                yield Progress(next(steps), copy.size, "bytes", f"{copy.model} in {copy.key.weights}")
        except StopIteration as end:
            intact = bool(end.value == copy.sha256)
        except (OSError, BadModelFile):
            intact = False
        if not intact:
            self.remove_damaged(copy)
        return intact

    def remove_if_damaged(self, copy: DerivedCopy, interrupt: Interrupt) -> bool:
        """Hash a copy that cannot be loaded; remove it and return True if it is not as recorded.

        Size and time of a damaged file may be unchanged. Raises what ``interrupt.check`` raises.
        """
        steps = self.verify(copy, interrupt)
        while True:
            try:
                next(steps)
            except StopIteration as end:
                return not end.value

    def remove_damaged(self, copy: DerivedCopy) -> None:
        """Remove a copy that was found damaged."""
        self._remove_files(copy.key.stem)

    def remove_unused(self, copy: DerivedCopy) -> None:
        """Remove a copy, unless a process uses it."""
        self._remove_unused(copy.key.stem)

    # ---- files -------------------------------------------------------------------------------------------------------

    def _path(self, stem: str, suffix: str) -> Path:
        return self.directory / (stem + suffix)

    def _is_private(self) -> bool:
        """Return whether the directory belongs to this user alone; False if there is none."""
        try:
            status = self.directory.stat()
        except OSError:
            return False
        return status.st_uid == os.geteuid() and not status.st_mode & 0o077

    def _files(self) -> list[tuple[Path, int]]:
        """Return the files of the store with their bytes."""
        found = []
        if self._is_private():
            with suppress(OSError), os.scandir(self.directory) as entries:
                for entry in entries:
                    path = Path(entry.path)
                    if _STEM.fullmatch(path.stem):
                        with suppress(FileNotFoundError):
                            found.append((path, entry.stat(follow_symlinks=False).st_size))
        return sorted(found)

    def _stems(self, suffix: str) -> list[str]:
        return [path.stem for path, _ in self._files() if path.suffix == suffix]

    def _free_bytes(self) -> int:
        """Return the bytes that are free on the disk of the store."""
        existing = next(path for path in (self.directory, *self.directory.absolute().parents) if path.is_dir())
        with translate_write_errors(self.directory):
            status = os.statvfs(existing)
        return status.f_bavail * status.f_frsize

    def _read_record(self, stem: str) -> DerivedCopy | None:
        path, record = self._path(stem, _WEIGHTS_SUFFIX), self._path(stem, _RECORD_SUFFIX)
        if not self._is_private():
            return None
        try:
            copy = DerivedCopy.from_json(record.read_bytes(), path, record.stat().st_mtime)
        except (OSError, ValueError, TypeError, KeyError):
            return None
        return copy if copy.key.stem == stem and private_files.exists(path) else None

    def _write_record(self, copy: DerivedCopy) -> None:
        private_files.replace_file(self._path(copy.key.stem, _RECORD_SUFFIX), copy.to_json().encode())

    def _check_intact(self, copy: DerivedCopy, interrupt: Interrupt | None) -> bool:
        """Return whether a file is as recorded; one that was only touched gets a new record."""
        try:
            status = copy.path.stat()
            if (status.st_size, status.st_mtime_ns) == (copy.size, copy.mtime_ns):
                return True
            if status.st_size != copy.size or hash_file(copy.path, interrupt or Interrupt()) != copy.sha256:
                return False
        except (OSError, BadModelFile):
            return False
        with suppress(OSError):  # it is hashed again next time
            self._write_record(replace(copy, mtime_ns=status.st_mtime_ns))
        return True

    def _remove_files(self, stem: str) -> None:
        for suffix in (_RECORD_SUFFIX, _WEIGHTS_SUFFIX):
            _unlink(self._path(stem, suffix))

    def _remove_unused(self, stem: str) -> None:
        """Remove a copy that no process uses."""
        try:
            lock = file_lock.acquire_lock(self._path(stem, _WEIGHTS_SUFFIX), create=False)
        except OSError:
            return
        if lock is not None:
            self._remove_files(stem)
            os.close(lock)

    def _is_abandoned(self, stem: str) -> bool:
        """Return whether no process makes the copy."""
        try:
            lock = file_lock.acquire_lock(self._path(stem, _LOCK_SUFFIX), create=False, removable=True)
        except FileNotFoundError:
            return True
        except OSError:
            return False
        if lock is not None:
            os.close(lock)
        return lock is not None

    def _remove_abandoned(self) -> None:
        """Remove what killed processes left: unfinished copies, and copies without a record."""
        for suffix in (_TEMPORARY_SUFFIX, _WEIGHTS_SUFFIX):
            for stem in self._stems(suffix):
                unfinished = suffix == _TEMPORARY_SUFFIX or self._read_record(stem) is None
                if unfinished and self._is_abandoned(stem):
                    for each in (suffix, _LOCK_SUFFIX):
                        _unlink(self._path(stem, each))


@contextmanager
def _translate_create_errors(directory: Path) -> Iterator[None]:
    """Turn an ``OSError`` into ``CannotStoreCopies`` in ``directory``."""
    try:
        yield
    except OSError as error:
        raise CannotStoreCopies(str(directory), detail=error.strerror or str(error)) from error


def _unlink(path: Path) -> None:
    with suppress(OSError):  # gone already, or in a directory that cannot be written: the file stays unused
        path.unlink()
