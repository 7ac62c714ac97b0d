"""A file that is still coming: hashed while it grows, claimed by the next process when its owner is gone.

A process writes only a partial file of its own, named by hash, host and process. What a dead process left is taken
over by renaming it, so its bytes are used and there is never more than one partial without a living owner. A lock
(the one that huggingface_hub takes too) lets one process download for all; where locks do not work nothing breaks,
since no two processes ever write one file: at worst several download. An owner that was taken for dead (a machine that
slept, clocks that differ) finds its file gone before it writes again, and stops.
"""

from __future__ import annotations

import errno
import hashlib
import os
import platform
import re
import time
from collections.abc import Generator
from contextlib import suppress
from pathlib import Path

from llmcli import private_files
from llmcli.errors import OutputError, RemoteError, TryAgain
from llmcli.interrupt import Interrupt
from llmcli.models.paths import open_model, writing

_BLOCK = 1 << 20
_NAME = re.compile(r"[0-9a-f]{64}\.([A-Za-z0-9-]+)\.(\d+)\.incomplete")
_ABANDONED = 3600.0  # seconds without a write after which another machine's partial is taken for left behind
_SLACK = 2.0  # seconds by which clocks of files and of processes may differ


def hashing(path: Path, interrupt: Interrupt) -> Generator[int, None, str]:
    """Return the SHA-256 of a file in hexadecimal digits, and meanwhile yield how many bytes were read.

    Raises ``OSError``, ``BadModelFile`` for what is no regular file, and what ``interrupt`` asks for.
    """
    digest, done = hashlib.sha256(), 0
    with open_model(path) as file:
        while block := file.read(_BLOCK):
            digest.update(block)
            interrupt.check()
            done += len(block)
            yield done
    return digest.hexdigest()


def hash_file(path: Path, interrupt: Interrupt) -> str:
    """Return the SHA-256 of a file as ``hashing`` does, without a word meanwhile."""
    steps = hashing(path, interrupt)
    while True:
        try:
            next(steps)
        except StopIteration as end:
            return str(end.value)


def check_space(directory: Path, needed: int) -> None:
    """Raise ``OutputError`` when the file system of ``directory`` has less than ``needed`` bytes free."""
    with writing(directory):
        status = os.statvfs(directory)
    free = status.f_bavail * status.f_frsize
    if free < needed:
        raise OutputError(
            str(directory), detail=f"{os.strerror(errno.ENOSPC)}: {needed:,} bytes are needed and {free:,} are free"
        )


class Lock:
    """A lock file, tried without waiting."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._descriptor: int | None = None

    def take(self) -> bool | None:
        """Return True when it is ours, False when another process has it, None where locks do not work."""
        import fcntl

        try:
            private_files.make_directory(self._path.parent)
            mode = private_files.mode_in(self._path.parent)
            self._descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, mode)
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            self.close()
            return False
        except OSError:
            self.close()
            return None
        return True

    def close(self) -> None:
        """Give it back; the file stays, since removing it would let two processes lock two files of one name."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None


class Taken(TryAgain):
    """Another process has claimed the partial file of this one, and goes on with it."""


class Partial:
    """The partial file of this process for ``blob``. Methods that write raise ``OutputError`` and ``Taken``."""

    def __init__(self, blob: Path, *, alone: bool) -> None:
        """Claim what others left. ``alone``: we hold the lock, so nobody on this machine is writing."""
        self.blob = blob
        self.claimed = 0  # bytes that another process had fetched
        self.done = 0  # bytes in the file, all of them hashed
        self._digest = hashlib.sha256()
        self._before = (0, self._digest.copy())  # ``done`` and digest when the answer that comes now began
        self._repeated = 0  # bytes of this answer that are in the file already: below ``done`` they are compared
        self._repeats = hashlib.sha256()
        host = _host()
        self.path = blob.with_name(f"{blob.name}.{host}.{os.getpid()}.incomplete")
        with writing(self.path):
            private_files.make_directory(blob.parent)
            left = sorted((p for p in others(blob) if _is_left(p, host, alone=alone)), key=size_of)
            for path in left[:-1]:
                path.unlink(missing_ok=True)
            for path in left[-1:]:
                with suppress(FileNotFoundError):  # somebody was quicker
                    os.utime(path)  # from now on its owner lives
                    path.replace(self.path)
            self._file = os.fdopen(private_files.open_file(self.path, os.O_RDWR | os.O_APPEND), "a+b")

    def use_claimed(self, size: int, interrupt: Interrupt) -> None:
        """Hash the bytes that are there already, to go on after them; of a file that is too long nothing is used.

        Zeros at its end are fetched again: a power cut leaves them in place of what was not on the disk yet.
        """
        with writing(self.path):
            if self.path.stat().st_size > size:
                self.restart()
            self._file.truncate(_without_zeros(self._file.fileno()))
            self._file.seek(0)
            while block := self._file.read(_BLOCK):
                interrupt.check()
                self._digest.update(block)
                self.done += len(block)
        self.claimed = self.done

    def begin(self, start: int) -> None:
        """An answer begins with byte ``start`` of the file: with what is missing, or with 0."""
        self._before = (self.done, self._digest.copy())
        self._repeated = start
        self._repeats = hashlib.sha256()

    def append(self, data: bytes) -> None:
        """Write and hash the next bytes of the answer; those that are here already are compared and stay."""
        with writing(self.path):
            if self._repeated < self.done:
                data = self._compare(data)
            if data:
                self._check_owner()
                self._file.write(data)
                self._file.flush()
        self._digest.update(data)
        self.done += len(data)
        self._repeated = self.done if data else self._repeated

    def _compare(self, data: bytes) -> bytes:
        """Return what of ``data`` goes beyond the bytes that are here. Where they differ, what comes now counts."""
        here = os.pread(self._file.fileno(), min(len(data), self.done - self._repeated), self._repeated)
        same = len(here)
        if not data.startswith(here):
            same = next(i for i, (old, new) in enumerate(zip(here, data, strict=False)) if old != new)
            self._repeats.update(data[:same])
            self._cut(self._repeated + same, self._repeats)
            self._before = (self.done, self._digest.copy())
        else:
            self._repeats.update(here)
        self._repeated += same
        return data[same:]

    def restart(self) -> None:
        """Throw all bytes away."""
        self._cut(0, hashlib.sha256())
        self.begin(0)

    def undo(self) -> None:
        """Throw the bytes of the last answer away."""
        self._cut(*self._before)

    def _cut(self, done: int, digest: hashlib._Hash) -> None:
        with writing(self.path):
            self._check_owner()
            self._file.truncate(done)
            self._file.seek(done)
        self._digest, self.done, self.claimed = digest, done, min(self.claimed, done)

    def _check_owner(self) -> None:
        try:
            ours = os.path.samestat(self.path.stat(), os.fstat(self._file.fileno()))
        except FileNotFoundError:
            ours = False
        if not ours:
            raise Taken(self.blob.name, detail="another process goes on with this download")

    def matches(self) -> bool:
        """Return whether the bytes so far have the hash that was announced."""
        return self._digest.hexdigest() == self.blob.name

    def finish(self, subject: str) -> None:
        """Give the file its name, if its hash is that name.

        Raises ``RemoteError``; the bytes of the last answer are gone then, and the next try finds out whether those
        before it were good.
        """
        if not self.matches():
            found = self._digest.hexdigest()
            self.undo()
            raise RemoteError(subject, detail=f"checksum mismatch: SHA-256 is {found}, announced was {self.blob.name}")
        with writing(self.path):
            os.fsync(self._file.fileno())
            self._check_owner()
            if os.fstat(self._file.fileno()).st_size != self.done:  # somebody else wrote too, and was not seen
                self._file.truncate(0)
                raise Taken(subject, detail="another process wrote to the same file")
            with suppress(PermissionError):  # it was begun by another user
                os.fchmod(self._file.fileno(), private_files.mode_in(self.blob.parent))
            self._file.close()
            self.path.replace(self.blob)

    def close(self) -> None:
        """Leave the bytes for the next try, of this process or another; an empty file is removed."""
        with suppress(OSError):  # a full disk was reported when the bytes were written; closing tries them again
            self._file.close()
        with suppress(OSError):
            if not self.path.stat().st_size:
                self.path.unlink()


def others(blob: Path) -> list[Path]:
    """Return the partial files of all llm processes for ``blob``."""
    return sorted(path for path in blob.parent.glob(f"{blob.name}.*.incomplete") if _NAME.fullmatch(path.name))


def own_name(what: str) -> str:
    """Return the name of a file that this process writes meanwhile, for ``what`` (a word without dots)."""
    return f"{what}.{_host()}.{os.getpid()}.incomplete"


def is_left(path: Path) -> bool:
    """Return whether the owner of a file that got its name from ``own_name`` is gone, as far as that can be told."""
    return _is_left(path, _host(), alone=False)


def left_behind(blobs: Path) -> list[Path]:
    """Return the partial files in the directory ``blobs`` whose owners are gone."""
    found = sorted(path for path in blobs.glob("*.incomplete") if _NAME.fullmatch(path.name))
    return [path for path in found if _is_left(path, _host(), alone=False)]


def size_of(path: Path) -> int:
    """Return the size of a file that may just be going away, 0 when it is gone."""
    try:
        return path.stat().st_size
    except OSError:
        return 0


def _host() -> str:
    """Return the name of this machine as it stands in the names of partial files."""
    return re.sub(r"[^A-Za-z0-9-]", "-", platform.node())[:40] or "host"


def _is_left(path: Path, host: str, *, alone: bool) -> bool:
    """Return whether the owner of a partial file is gone, as far as that can be told."""
    name, process = path.name.split(".")[1:3]
    try:
        written = path.stat().st_mtime
        if name != host:
            return time.time() - written > _ABANDONED
        if alone or int(process) == os.getpid():
            return True
        os.kill(int(process), 0)
    except ProcessLookupError:
        return True
    except OSError:  # the file went away, or a process of another user
        return False
    return _began(int(process)) > written + _SLACK  # another process has the number now


def _began(process: int) -> float:
    """Return when a process began, in seconds since 1970; 0 where the system does not say (proc(5), field 22)."""
    try:
        ticks = Path(f"/proc/{process}/stat").read_bytes().rpartition(b")")[2].split()[19]
    except (OSError, IndexError):
        return 0.0
    return time.time() - time.clock_gettime(time.CLOCK_BOOTTIME) + int(ticks) / os.sysconf("SC_CLK_TCK")


def _without_zeros(file: int) -> int:
    """Return the size of the open ``file`` without the zeros at its end."""
    size = os.fstat(file).st_size
    while size:
        block = os.pread(file, min(size, _BLOCK), max(0, size - _BLOCK))
        kept = len(block.rstrip(b"\0"))
        size -= len(block) - kept
        if kept:
            break
    return size
