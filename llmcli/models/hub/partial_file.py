"""A partial download: hashed while it grows; another process may claim it when its owner has ended.

A process writes only its own partial file, named by hash, host and process. Another process claims the file of an ended
process by renaming it, so its bytes are used, and at most one partial file has no living owner. A lock (the same as
huggingface_hub's) lets one process download for all. Without working locks nothing breaks, since two processes never
write one file: at worst several download. An owner that seemed to have ended (a suspended machine, clocks that differ)
finds its file renamed before it writes again, and stops.
"""

from __future__ import annotations

import hashlib
import os
import platform
import re
import time
from contextlib import suppress
from pathlib import Path

from llmcli.errors import RemoteError
from llmcli.errors.network_errors import ClaimedByOther
from llmcli.files import file_lock, private_files
from llmcli.interrupt import Interrupt
from llmcli.models.files.file_bytes import file_size
from llmcli.models.files.paths import translate_write_errors

_BLOCK_BYTES = 1 << 20
_PARTIAL_NAME = re.compile(r"[0-9a-f]{64}\.([A-Za-z0-9-]+)\.(\d+)\.incomplete")
_ABANDONED_S = 3600.0  # seconds without a write after which another machine's partial file counts as abandoned
_CLOCK_SLACK_S = 2.0  # seconds by which clocks of files and of processes may differ


class DownloadLock:
    """A lock file that is tried without waiting."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._descriptor: int | None = None

    def try_acquire(self) -> bool | None:
        """Return True when it is acquired, False when another process holds it, None if locks do not work."""
        try:
            private_files.make_directory(self._path.parent)
            mode = private_files.file_mode_in(self._path.parent)
            self._descriptor = file_lock.acquire_lock(self._path, mode=mode)
        except OSError:
            return None
        return self._descriptor is not None

    def close(self) -> None:
        """Release the lock; the file stays, since removing it would let two processes lock two files of one name."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None


class PartialFile:
    """The partial file of this process for ``blob``.

    Methods that write raise ``OutputError`` and ``ClaimedByOther``.
    """

    def __init__(self, blob: Path, *, locked: bool) -> None:
        """Claim an abandoned file. ``locked``: this process has the lock, so no other one on this machine writes."""
        self.blob = blob
        self.claimed_bytes = 0  # bytes that another process downloaded
        self.bytes_done = 0  # bytes in the file, all of them hashed
        self._digest = hashlib.sha256()
        self._response_start = (0, self._digest.copy())  # ``bytes_done`` and digest at the start of this response
        self._repeated_bytes = 0  # bytes of this response that are already in the file, and are compared
        self._repeated_digest = hashlib.sha256()
        host = _host_name()
        self.path = blob.with_name(f"{blob.name}.{host}.{os.getpid()}.incomplete")
        with translate_write_errors(self.path):
            private_files.make_directory(blob.parent)
            abandoned = sorted(
                (p for p in list_partials(blob) if _owner_is_gone(p, host, locked=locked)), key=file_size
            )
            for path in abandoned[:-1]:
                path.unlink(missing_ok=True)
            for path in abandoned[-1:]:
                with suppress(FileNotFoundError):  # another process was faster
                    os.utime(path)  # so that it does not count as abandoned
                    path.replace(self.path)
            self._file = os.fdopen(private_files.open_file(self.path, os.O_RDWR | os.O_APPEND), "a+b")

    def hash_claimed_bytes(self, size: int, interrupt: Interrupt) -> None:
        """Hash the claimed bytes to continue after them; a file that is too long is discarded.

        Trailing zeros are downloaded again: a power failure leaves them in place of bytes that were not on the disk
        yet.
        """
        with translate_write_errors(self.path):
            if self.path.stat().st_size > size:
                self.discard_all()
            self._file.truncate(_size_without_trailing_zeros(self._file.fileno()))
            self._file.seek(0)
            while block := self._file.read(_BLOCK_BYTES):
                interrupt.check()
                self._digest.update(block)
                self.bytes_done += len(block)
        self.claimed_bytes = self.bytes_done

    def begin_response(self, start: int) -> None:
        """Begin a response at byte ``start`` of the file: the first missing one, or 0."""
        self._response_start = (self.bytes_done, self._digest.copy())
        self._repeated_bytes = start
        self._repeated_digest = hashlib.sha256()

    def append(self, data: bytes) -> None:
        """Write and hash the next bytes of the response; those that are already in the file are compared instead."""
        with translate_write_errors(self.path):
            if self._repeated_bytes < self.bytes_done:
                data = self._compare_repeated(data)
            if data:
                self._check_owner()
                self._file.write(data)
                self._file.flush()
        self._digest.update(data)
        self.bytes_done += len(data)
        self._repeated_bytes = self.bytes_done if data else self._repeated_bytes

    def _compare_repeated(self, data: bytes) -> bytes:
        """Return the part of ``data`` beyond the bytes in the file. If bytes differ, the file is cut and rewritten."""
        here = os.pread(
            self._file.fileno(), min(len(data), self.bytes_done - self._repeated_bytes), self._repeated_bytes
        )
        same = len(here)
        if not data.startswith(here):
            same = next(i for i, (old, new) in enumerate(zip(here, data, strict=False)) if old != new)
            self._repeated_digest.update(data[:same])
            self._truncate(self._repeated_bytes + same, self._repeated_digest)
            self._response_start = (self.bytes_done, self._digest.copy())
        else:
            self._repeated_digest.update(here)
        self._repeated_bytes += same
        return data[same:]

    def discard_all(self) -> None:
        """Discard all bytes."""
        self._truncate(0, hashlib.sha256())
        self.begin_response(0)

    def discard_response(self) -> None:
        """Discard the bytes of the last response."""
        self._truncate(*self._response_start)

    def _truncate(self, done: int, digest: hashlib._Hash) -> None:
        with translate_write_errors(self.path):
            self._check_owner()
            self._file.truncate(done)
            self._file.seek(done)
        self._digest, self.bytes_done, self.claimed_bytes = digest, done, min(self.claimed_bytes, done)

    def _check_owner(self) -> None:
        try:
            ours = os.path.samestat(self.path.stat(), os.fstat(self._file.fileno()))
        except FileNotFoundError:
            ours = False
        if not ours:
            raise ClaimedByOther(self.blob.name, detail="another process continues this download")

    def hash_matches(self) -> bool:
        """Return whether the bytes so far have the announced hash."""
        return self._digest.hexdigest() == self.blob.name

    def publish(self, subject: str) -> None:
        """Rename the file to the blob if its hash matches.

        Raises ``RemoteError`` otherwise and discards the bytes of the last response; the next attempt shows whether
        those before it were right.
        """
        if not self.hash_matches():
            found = self._digest.hexdigest()
            self.discard_response()
            raise RemoteError(
                subject, detail=f"checksum mismatch: SHA-256 is {found}, not the announced {self.blob.name}"
            )
        with translate_write_errors(self.path):
            os.fsync(self._file.fileno())
            self._check_owner()
            if os.fstat(self._file.fileno()).st_size != self.bytes_done:  # another process wrote too, unnoticed
                self._file.truncate(0)
                raise ClaimedByOther(subject, detail="another process wrote to the same file")
            with suppress(PermissionError):  # another user created it
                os.fchmod(self._file.fileno(), private_files.file_mode_in(self.blob.parent))
            self._file.close()
            self.path.replace(self.blob)

    def close(self) -> None:
        """Keep the bytes for the next attempt, of this process or another; an empty file is removed."""
        with suppress(OSError):  # a full disk was reported at the write; closing writes the bytes again
            self._file.close()
        with suppress(OSError):
            if not self.path.stat().st_size:
                self.path.unlink()


def list_partials(blob: Path) -> list[Path]:
    """Return the partial files of all llm processes for ``blob``."""
    return sorted(path for path in blob.parent.glob(f"{blob.name}.*.incomplete") if _PARTIAL_NAME.fullmatch(path.name))


def temp_name(what: str) -> str:
    """Return the name of a temporary file of this process for ``what`` (a word without dots)."""
    return f"{what}.{_host_name()}.{os.getpid()}.incomplete"


def is_orphaned(path: Path) -> bool:
    """Return whether the owner of a file named by ``temp_name`` has ended, as far as can be determined."""
    return _owner_is_gone(path, _host_name(), locked=False)


def orphaned_partials(blobs: Path) -> list[Path]:
    """Return the partial files in the directory ``blobs`` whose owners have ended."""
    found = sorted(path for path in blobs.glob("*.incomplete") if _PARTIAL_NAME.fullmatch(path.name))
    return [path for path in found if _owner_is_gone(path, _host_name(), locked=False)]


def _host_name() -> str:
    """Return the name of this machine as used in the names of partial files."""
    return re.sub(r"[^A-Za-z0-9-]", "-", platform.node())[:40] or "host"


def _owner_is_gone(path: Path, host: str, *, locked: bool) -> bool:
    """Return whether the owner of a partial file has ended, as far as can be determined."""
    name, process = path.name.split(".")[1:3]
    try:
        written = path.stat().st_mtime
        if name != host:
            return time.time() - written > _ABANDONED_S
        if locked or int(process) == os.getpid():
            return True
        os.kill(int(process), 0)
    except ProcessLookupError:
        return True
    except OSError:  # the file was removed, or the process belongs to another user
        return False
    return _process_start_time(int(process)) > written + _CLOCK_SLACK_S  # another process has the number now


def _process_start_time(process: int) -> float:
    """Return when a process began, in seconds since 1970; 0 if the system does not say (proc(5), field 22)."""
    try:
        ticks = Path(f"/proc/{process}/stat").read_bytes().rpartition(b")")[2].split()[19]
    except (OSError, IndexError):
        return 0.0
    return time.time() - time.clock_gettime(time.CLOCK_BOOTTIME) + int(ticks) / os.sysconf("SC_CLK_TCK")


def _size_without_trailing_zeros(file: int) -> int:
    """Return the size of the open ``file`` without the zeros at its end."""
    size = os.fstat(file).st_size
    while size:
        block = os.pread(file, min(size, _BLOCK_BYTES), max(0, size - _BLOCK_BYTES))
        kept = len(block.rstrip(b"\0"))
        size -= len(block) - kept
        if kept:
            break
    return size
