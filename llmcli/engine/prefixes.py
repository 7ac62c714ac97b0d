"""Evaluated beginnings of prompts on disk, so that the next process need not evaluate them again.

One file holds one sequence's state for one list of tokens, and is called
``<identity, 16 hex digits>-<number of tokens>-<hash of the tokens, 32 hex digits>.state``: a directory listing tells what
may fit. A saved conversation's has the conversation's id (32 hex digits) before ``.state``, after a hyphen, and there is
one of each. A file consists of a head (format, identity, tokens), the state, and a checksum of both. llama.cpp accepts nearly
any damaged state, so nothing is handed out that is not byte for byte what was saved.
"""

from __future__ import annotations

import errno
import hashlib
import os
import re
import secrets
import struct
import time
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from llmcli import private_files
from llmcli.errors import OutputError

_HEAD = struct.Struct("<8sI32sI")  # magic, version, SHA-256 of the identity, number of tokens; int32 tokens follow
_MAGIC = b"llmstate"
_VERSION = 1
_NAME = re.compile(r"[0-9a-f]{16}-([1-9][0-9]{0,9})-[0-9a-f]{32}(-[0-9a-f]{32})?\.state")
_TEMPORARY = ".tmp"
_LEFTOVER_S = 3600  # a temporary file not written to for this long belongs to a process that was killed

# 50 MB: SHA-256 29 ms, BLAKE2b 61 ms, on a processor with SHA instructions (x86 since about 2019, all 64-bit Apple and
# most ARM servers); 154 and 83 ms without them. Evaluating the tokens takes far longer than either.
_checksum = hashlib.sha256


@dataclass(frozen=True, slots=True)
class Entry:
    """A stored state: the tokens that it stands for, from position 0, and its file."""

    tokens: tuple[int, ...]
    path: Path


class PrefixStore:
    """A directory of states, shared by processes; unusable directories and damaged files are as good as empty ones.

    ``identity`` names all that must be equal for a state to be valid. ``limit``: bytes that all files of the directory
    may take, those of other identities too; the least recently used ones make room. A directory that belongs to
    somebody else or is open to others is neither read nor written, since a state reveals its prompt and decides answers.
    """

    def __init__(self, directory: Path, limit: int, identity: str) -> None:
        self._directory = directory
        self._limit = limit
        self._identity = hashlib.sha256(identity.encode()).digest()

    def find(self, tokens: Sequence[int]) -> Entry | None:
        """Return the longest stored beginning of ``tokens`` (int32 each), all of them at most; None without one."""
        try:
            names = {path.name for path in self._directory.iterdir()} if self._private() else set()
        except OSError:
            return None
        stored = {int(match[1]) for match in map(_NAME.fullmatch, names) if match and not match[2]}
        counts = sorted(count for count in stored if count <= len(tokens))
        packed, hashed, done, paths = _pack(tokens[: max(counts, default=0)]), hashlib.sha256(), 0, []
        for count in counts:  # the hashes of all lengths in one pass
            hashed.update(packed[4 * done : 4 * count])
            done = count
            paths.append(self._path(count, hashed.hexdigest()))
        for count, path in zip(reversed(counts), reversed(paths), strict=True):
            if path.name in names and _read(path, self._head(packed[: 4 * count]), whole=False) is not None:
                return Entry(tuple(tokens[:count]), path)
        return None

    def find_session(self, session: str) -> Entry | None:
        """Return what is stored of the conversation with this id; None where there is nothing of this identity."""
        try:
            paths = list(self._of_session(session)) if self._private() else []
        except OSError:
            return None
        for path in paths:
            tokens = self._tokens_in(path)
            if tokens:
                return Entry(tokens, path)
        return None

    def load(self, entry: Entry) -> bytes | None:
        """Return the state of ``entry`` and mark it as used; None when it is gone or cannot be read just now.

        A file that is damaged, or of other tokens or another identity, is removed, and None returned.
        """
        state = _read(entry.path, self._head(_pack(entry.tokens)), whole=True)
        if state is not None:
            with suppress(OSError):  # evicted just now, or a directory that turned read-only: the state is good
                os.utime(entry.path)
        return state

    def save(self, tokens: Sequence[int], state: bytes | bytearray, session: str = "") -> bool:
        """Keep ``state`` for ``tokens`` (int32 each, at least one), in place of what was kept for them; True when done.

        With ``session``, a conversation's id, in place of whatever was kept of that conversation.
        False, and nothing left behind: it exceeds the limit, the directory cannot be used, the disk is full.
        """
        packed = _pack(tokens)
        head = self._head(packed)
        size = len(head) + len(state) + _checksum().digest_size
        if not tokens or size > self._limit:
            return False
        path = self._path(len(tokens), hashlib.sha256(packed).hexdigest(), session)
        try:
            private_files.make_directory(self._directory)
            if not self._private():
                return False
            earlier = [old for old in self._of_session(session) if old != path] if session else []
            with self._replacing(path) as fd:
                os.ftruncate(fd, size)  # first, so that others who make room at the same time see what this one takes
                self._make_room({path.name, *(old.name for old in earlier)})
                # no fsync: what a power cut leaves unwritten fails the checksum, and waiting for the disk takes long
                for part in (head, state, _checksum_of(head, state)):
                    _write(fd, part)
            for old in earlier:  # the conversation has gone on
                _remove(old)
        except OSError:
            return False
        return True

    def _private(self) -> bool:
        """Tell whether the directory belongs to this user alone. Raises ``OSError`` where there is none."""
        there = self._directory.stat()
        return there.st_uid == os.geteuid() and not there.st_mode & 0o077

    def _path(self, count: int, digest: str, session: str = "") -> Path:
        of_session = f"-{session}" if session else ""
        return self._directory / f"{self._identity.hex()[:16]}-{count}-{digest[:32]}{of_session}.state"

    def _of_session(self, session: str) -> Iterator[Path]:
        return (path for path in self._directory.glob(f"*-{session}.state") if _NAME.fullmatch(path.name))

    def _tokens_in(self, path: Path) -> tuple[int, ...]:
        """Return the tokens that a file says it stands for; none where it is of another identity or unreadable."""
        with suppress(OSError, struct.error), path.open("rb") as file:
            magic, version, identity, count = _HEAD.unpack(file.read(_HEAD.size))
            if (magic, version, identity) == (_MAGIC, _VERSION, self._identity):
                return struct.unpack(f"<{count}i", file.read(4 * count))
        return ()

    def _head(self, packed: bytes) -> bytes:
        return _HEAD.pack(_MAGIC, _VERSION, self._identity, len(packed) // 4) + packed

    @contextmanager
    def _replacing(self, path: Path) -> Iterator[int]:
        """Open a file beside ``path``; leaving the block puts it in place, an exception removes it."""
        temporary = self._directory / (secrets.token_hex(16) + _TEMPORARY)
        fd = private_files.open_file(temporary, os.O_WRONLY | os.O_EXCL)
        try:
            try:
                yield fd
            finally:
                os.close(fd)  # before the renaming: network file systems report a full disk here
            temporary.replace(path)
        except BaseException:
            _remove(temporary)
            raise

    def _make_room(self, replaced: Collection[str]) -> None:
        """Remove leftovers, and states until all files fit: those ``replaced`` first, then the least recently used.

        Raises ``OSError``: ENOSPC where files that are just being written leave too little.
        """
        states, total = [], 0
        for name, there in self._files():
            if name.endswith(_TEMPORARY) and time.time() - there.st_mtime > _LEFTOVER_S:
                (self._directory / name).unlink(missing_ok=True)
                continue
            total += there.st_size
            if _NAME.fullmatch(name):
                states.append((name not in replaced, there.st_mtime_ns, name, there.st_size))
        if total - sum(size for *_, size in states) > self._limit:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(self._directory))
        for *_, name, size in sorted(states):
            if total <= self._limit:
                break
            (self._directory / name).unlink(missing_ok=True)
            total -= size

    def _files(self) -> list[tuple[str, os.stat_result]]:
        """List all files. Raises ``OSError``: EBUSY where other processes leave no still moment."""
        for _ in range(10):  # again when a file vanishes: one that was renamed meanwhile must not remain uncounted
            with suppress(FileNotFoundError), os.scandir(self._directory) as files:
                return [(file.name, file.stat(follow_symlinks=False)) for file in files]
        raise OSError(errno.EBUSY, os.strerror(errno.EBUSY), str(self._directory))


def forget_sessions(directory: Path, wanted: Callable[[str], bool]) -> None:
    """Delete what a store in ``directory`` keeps of the conversations of whose ids ``wanted`` is true.

    Raises ``OutputError`` where a file cannot be deleted.
    """
    try:
        for file in directory.glob("*.state"):
            match = _NAME.fullmatch(file.name)
            if match and match[2] and wanted(match[2][1:]):
                file.unlink(missing_ok=True)
    except OSError as error:
        raise OutputError(str(error.filename or directory), detail=error.strerror or "") from error


def _pack(tokens: Sequence[int]) -> bytes:
    return struct.pack(f"<{len(tokens)}i", *tokens)


def _checksum_of(head: bytes, state: bytes | bytearray) -> bytes:
    checksum = _checksum(head)
    checksum.update(state)
    return checksum.digest()


def _write(fd: int, data: bytes | bytearray) -> None:
    rest = memoryview(data)
    while rest:
        rest = rest[os.write(fd, rest) :]


def _read(path: Path, head: bytes, *, whole: bool) -> bytes | None:
    """Return the state in a file with this head (empty unless ``whole``); None, and the file is gone, if not so.

    None, and the file stays, when it cannot be read: for want of descriptors (EMFILE), say, it may be as good as ever.
    """
    try:
        with path.open("rb") as file:
            if file.read(len(head)) == head:
                if not whole:
                    return b""
                size = os.fstat(file.fileno()).st_size - len(head) - _checksum().digest_size
                state = file.read(max(size, 0))
                if file.read() == _checksum_of(head, state):
                    return state
    except OSError:
        return None
    _remove(path)
    return None


def _remove(path: Path) -> None:
    with suppress(OSError):  # gone already, or a directory that cannot be written: the file stays useless
        path.unlink()
