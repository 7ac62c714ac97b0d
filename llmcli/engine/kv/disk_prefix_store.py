"""Evaluated prefixes of prompts on disk, so that the next process need not evaluate them again.

One file holds one sequence's state for one list of tokens. Its name is ``<identity, 16 hex digits>-<number of
tokens>-<hash of the tokens, 32 hex digits>.state``: a directory listing shows which files may match. The name of a
saved conversation's file ends in a hyphen and the conversation's id (32 hex digits) before ``.state``, and each
conversation has one. A file consists of a head (format, identity, tokens), the state, and a checksum of both. llama.cpp
accepts nearly any damaged state, so a state is returned only if it matches its checksum.
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
from pathlib import Path

from llmcli.errors import OutputError
from llmcli.fast_dataclass import frozen
from llmcli.files import private_files

_HEADER = struct.Struct("<8sI32sI")  # magic, version, SHA-256 of the identity, number of tokens; int32 tokens follow
_MAGIC = b"llmstate"
_VERSION = 1
_FILE_NAME = re.compile(r"[0-9a-f]{16}-([1-9][0-9]{0,9})-[0-9a-f]{32}(-[0-9a-f]{32})?\.state")
_TEMPORARY_SUFFIX = ".tmp"
_STALE_TEMPORARY_S = 3600  # a temporary file not written to for this long belongs to a process that was killed

# 50 MB: SHA-256 29 ms, BLAKE2b 61 ms, on a processor with SHA instructions (x86 since about 2019, all 64-bit Apple and
# most ARM servers); 154 and 83 ms without them. Evaluating the tokens takes far longer than either.
_hash_function = hashlib.sha256


@frozen
class StoredPrefix:
    """A stored state: its tokens, from position 0, and its file."""

    tokens: tuple[int, ...]
    path: Path


class PrefixStore:
    """A directory of states, shared by processes; unusable directories and damaged files are treated as empty ones.

    ``identity`` names everything that must be equal for a state to be valid. ``max_bytes``: of all files of the
    directory, also those of other identities; the least recently used ones are evicted. A directory that another user
    owns or may enter is neither read nor written, since a state reveals its prompt and determines answers.
    """

    def __init__(self, directory: Path, max_bytes: int, identity: str) -> None:
        self._directory = directory
        self._max_bytes = max_bytes
        self._identity = hashlib.sha256(identity.encode()).digest()

    def find_longest(self, tokens: Sequence[int]) -> StoredPrefix | None:
        """Return the longest stored prefix of ``tokens`` (int32 each), which may be all of them; None without one."""
        try:
            names = {path.name for path in self._directory.iterdir()} if self._is_private() else set()
        except OSError:
            return None
        stored = {int(match[1]) for match in map(_FILE_NAME.fullmatch, names) if match and not match[2]}
        counts = sorted(count for count in stored if count <= len(tokens))
        packed, hashed, done, paths = _pack_tokens(tokens[: max(counts, default=0)]), hashlib.sha256(), 0, []
        for count in counts:  # the hashes of all lengths in one pass
            hashed.update(packed[4 * done : 4 * count])
            done = count
            paths.append(self._path_for(count, hashed.hexdigest()))
        for count, path in zip(reversed(counts), reversed(paths), strict=True):
            head = self._make_header(packed[: 4 * count])
            if path.name in names and _read_state(path, head, whole=False) is not None:
                return StoredPrefix(tuple(tokens[:count]), path)
        return None

    def find_session(self, session: str) -> StoredPrefix | None:
        """Return the stored state of the conversation with this id; None if this identity has none."""
        try:
            paths = list(self._session_paths(session)) if self._is_private() else []
        except OSError:
            return None
        for path in paths:
            tokens = self._read_tokens(path)
            if tokens:
                return StoredPrefix(tokens, path)
        return None

    def load(self, entry: StoredPrefix) -> bytes | None:
        """Return the state of ``entry`` and mark it as used; None if the file was removed or cannot be read now.

        A file that is damaged, or has other tokens or another identity, is removed, and None returned.
        """
        state = _read_state(entry.path, self._make_header(_pack_tokens(entry.tokens)), whole=True)
        if state is not None:
            with suppress(OSError):  # evicted meanwhile, or the directory became read-only: the state is still good
                os.utime(entry.path)
        return state

    def save(self, tokens: Sequence[int], state: bytes | bytearray, session: str = "") -> bool:
        """Store ``state`` for ``tokens`` (int32 each, at least one), replacing an earlier one; return True if stored.

        With ``session``, a conversation's id, it replaces the earlier states of that conversation. False, with no file
        left behind: it exceeds the limit, the directory cannot be used, or the disk is full.
        """
        packed = _pack_tokens(tokens)
        head = self._make_header(packed)
        size = len(head) + len(state) + _hash_function().digest_size
        if not tokens or size > self._max_bytes:
            return False
        path = self._path_for(len(tokens), hashlib.sha256(packed).hexdigest(), session)
        try:
            private_files.make_directory(self._directory)
            if not self._is_private():
                return False
            earlier = [old for old in self._session_paths(session) if old != path] if session else []
            with self._write_atomically(path) as fd:
                os.ftruncate(fd, size)  # first, so that a concurrent eviction counts this file's size
                self._evict({path.name, *(old.name for old in earlier)})
                # no fsync: a file that a power failure leaves incomplete fails the checksum, and waiting for the disk
                # takes long
                for part in (head, state, _compute_checksum(head, state)):
                    _write_all(fd, part)
            for old in earlier:  # shorter states of the conversation
                _remove_quietly(old)
        except OSError:
            return False
        return True

    def _is_private(self) -> bool:
        """Return whether the directory belongs to this user alone. Raises ``OSError`` if there is none."""
        there = self._directory.stat()
        return there.st_uid == os.geteuid() and not there.st_mode & 0o077

    def _path_for(self, count: int, digest: str, session: str = "") -> Path:
        of_session = f"-{session}" if session else ""
        return self._directory / f"{self._identity.hex()[:16]}-{count}-{digest[:32]}{of_session}.state"

    def _session_paths(self, session: str) -> Iterator[Path]:
        return (path for path in self._directory.glob(f"*-{session}.state") if _FILE_NAME.fullmatch(path.name))

    def _read_tokens(self, path: Path) -> tuple[int, ...]:
        """Return the tokens that a file lists; none if it has another identity or is unreadable."""
        with suppress(OSError, struct.error), path.open("rb") as file:
            magic, version, identity, count = _HEADER.unpack(file.read(_HEADER.size))
            if (magic, version, identity) == (_MAGIC, _VERSION, self._identity):
                return struct.unpack(f"<{count}i", file.read(4 * count))
        return ()

    def _make_header(self, packed: bytes) -> bytes:
        return _HEADER.pack(_MAGIC, _VERSION, self._identity, len(packed) // 4) + packed

    @contextmanager
    def _write_atomically(self, path: Path) -> Iterator[int]:
        """Open a temporary file beside ``path``; leaving the block renames it to ``path``, an exception removes it."""
        with private_files.replacing(path, secrets.token_hex(16) + _TEMPORARY_SUFFIX) as temporary:
            fd = private_files.open_file(temporary, os.O_WRONLY | os.O_EXCL)
            try:
                yield fd
            finally:
                os.close(fd)  # before the rename: network file systems report a full disk here

    def _evict(self, replaced: Collection[str]) -> None:
        """Remove leftovers, and states until all files fit: those ``replaced`` first, then the least recently used.

        Raises ``OSError``: ENOSPC if files that are being written leave too little space.
        """
        states, total = [], 0
        for name, there in self._list_files():
            if name.endswith(_TEMPORARY_SUFFIX) and time.time() - there.st_mtime > _STALE_TEMPORARY_S:
                (self._directory / name).unlink(missing_ok=True)
                continue
            total += there.st_size
            if _FILE_NAME.fullmatch(name):
                states.append((name not in replaced, there.st_mtime_ns, name, there.st_size))
        if total - sum(size for *_, size in states) > self._max_bytes:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(self._directory))
        for *_, name, size in sorted(states):
            if total <= self._max_bytes:
                break
            (self._directory / name).unlink(missing_ok=True)
            total -= size

    def _list_files(self) -> list[tuple[str, os.stat_result]]:
        """List all files. Raises ``OSError``: EBUSY if other processes keep changing the directory."""
        for _ in range(10):  # list again when a file vanishes: a file that was renamed meanwhile must be counted
            with suppress(FileNotFoundError), os.scandir(self._directory) as files:
                return [(file.name, file.stat(follow_symlinks=False)) for file in files]
        raise OSError(errno.EBUSY, os.strerror(errno.EBUSY), str(self._directory))


def delete_sessions(directory: Path, predicate: Callable[[str], bool]) -> None:
    """Delete the states that a store in ``directory`` keeps of conversations whose ids satisfy ``predicate``.

    Raises ``OutputError`` if a file cannot be deleted.
    """
    try:
        for file in directory.glob("*.state"):
            match = _FILE_NAME.fullmatch(file.name)
            if match and match[2] and predicate(match[2][1:]):
                file.unlink(missing_ok=True)
    except OSError as error:
        raise OutputError(str(error.filename or directory), detail=error.strerror or "") from error


def _pack_tokens(tokens: Sequence[int]) -> bytes:
    return struct.pack(f"<{len(tokens)}i", *tokens)


def _compute_checksum(head: bytes, state: bytes | bytearray) -> bytes:
    checksum = _hash_function(head)
    checksum.update(state)
    return checksum.digest()


def _write_all(fd: int, data: bytes | bytearray) -> None:
    rest = memoryview(data)
    while rest:
        rest = rest[os.write(fd, rest) :]


def _read_state(path: Path, head: bytes, *, whole: bool) -> bytes | None:
    """Return the state in a file with this head (empty unless ``whole``); a file with another head is removed: None.

    An unreadable file stays, and None is returned: with too few descriptors (EMFILE), say, it may still be good.
    """
    try:
        with path.open("rb") as file:
            if file.read(len(head)) == head:
                if not whole:
                    return b""
                size = os.fstat(file.fileno()).st_size - len(head) - _hash_function().digest_size
                state = file.read(max(size, 0))
                if file.read() == _compute_checksum(head, state):
                    return state
    except OSError:
        return None
    _remove_quietly(path)
    return None


def _remove_quietly(path: Path) -> None:
    with suppress(OSError):  # removed already, or the directory is not writable: the file stays useless
        path.unlink()
