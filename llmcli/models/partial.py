"""A file that is still coming: hashed while it grows, claimed by the next process when its owner is gone.

A process writes only a partial file of its own, named by hash, host and process. What a dead process left is taken
over by renaming it, so its bytes are used and there is never more than one partial without a living owner. A lock
(the one that huggingface_hub takes too) lets one process download for all; where locks do not work nothing breaks,
since no two processes ever write one file: at worst several download.
"""

from __future__ import annotations

import hashlib
import os
import platform
import re
import time
from collections.abc import Generator
from contextlib import suppress
from pathlib import Path

from llmcli.errors import OutputError, RemoteError
from llmcli.interrupt import Interrupt
from llmcli.models.cache import writing

_BLOCK = 1 << 20
_NAME = re.compile(r"[0-9a-f]{64}\.([A-Za-z0-9-]+)\.(\d+)\.incomplete")
_ABANDONED = 3600.0  # seconds without a write after which another machine's partial is taken for left behind


def hashing(path: Path, interrupt: Interrupt) -> Generator[int, None, str]:
    """Return the SHA-256 of a file in hexadecimal digits, and meanwhile yield how many bytes were read.

    Raises ``OSError`` and what ``interrupt`` asks for.
    """
    digest, done = hashlib.sha256(), 0
    with path.open("rb") as file:
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
        raise OutputError(str(directory), detail=f"{needed:,} bytes are needed and {free:,} are free")


class Lock:
    """A lock file, tried without waiting."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._descriptor: int | None = None

    def take(self) -> bool | None:
        """Return True when it is ours, False when another process has it, None where locks do not work."""
        import fcntl

        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            self._descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
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


class Partial:
    """The partial file of this process for ``blob``. Methods that write raise ``OutputError``."""

    def __init__(self, blob: Path, *, alone: bool) -> None:
        """Claim what others left. ``alone``: we hold the lock, so nobody on this machine is writing."""
        self.blob = blob
        self.claimed = 0  # bytes that another process had fetched
        self.done = 0  # bytes in the file, all of them hashed
        self._digest = hashlib.sha256()
        host = _host()
        self.path = blob.with_name(f"{blob.name}.{host}.{os.getpid()}.incomplete")
        with writing(self.path):
            blob.parent.mkdir(parents=True, exist_ok=True)
            left = sorted((p for p in others(blob) if _is_left(p, host, alone=alone)), key=size_of)
            for path in left:  # the largest last, so that it is the one that stays
                with suppress(FileNotFoundError):  # somebody was quicker
                    path.replace(self.path)
            self._file = self.path.open("a+b")

    def use_claimed(self, size: int, interrupt: Interrupt) -> None:
        """Hash the bytes that are there already, to go on after them; of a file that is too long nothing is used."""
        with writing(self.path):
            if self.path.stat().st_size > size:
                self.restart()
            self._file.seek(0)
            while block := self._file.read(_BLOCK):
                interrupt.check()
                self._digest.update(block)
                self.done += len(block)
        self.claimed = self.done

    def restart(self) -> None:
        """Throw all bytes away."""
        with writing(self.path):
            self._file.truncate(0)
            self._file.seek(0)
        self._digest = hashlib.sha256()
        self.done = self.claimed = 0

    def append(self, data: bytes) -> None:
        """Write and hash the next bytes."""
        with writing(self.path):
            self._file.write(data)
            self._file.flush()
        self._digest.update(data)
        self.done += len(data)

    def matches(self) -> bool:
        """Return whether the bytes so far have the hash that was announced."""
        return self._digest.hexdigest() == self.blob.name

    def finish(self, subject: str) -> None:
        """Give the file its name, if its hash is that name. Raises ``RemoteError``; the bad bytes are gone then."""
        found = self._digest.hexdigest()
        if not self.matches():
            self.discard()
            raise RemoteError(subject, detail=f"checksum mismatch: SHA-256 is {found}, announced was {self.blob.name}")
        with writing(self.path):
            os.fsync(self._file.fileno())
            self._file.close()
            self.path.replace(self.blob)

    def close(self) -> None:
        """Leave the bytes for the next try, of this process or another; an empty file is removed."""
        with suppress(OSError):  # a full disk was reported when the bytes were written; closing tries them again
            self._file.close()
        with suppress(OSError):
            if self.done == 0:
                self.path.unlink()

    def discard(self) -> None:
        """Remove the file."""
        self._file.close()
        self.path.unlink(missing_ok=True)
        self.done = 0


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
    if name != host:
        with suppress(OSError):
            return time.time() - path.stat().st_mtime > _ABANDONED
        return False
    if alone or int(process) == os.getpid():
        return True
    try:
        os.kill(int(process), 0)
    except ProcessLookupError:
        return True
    except OSError:  # a process of another user
        return False
    return False
