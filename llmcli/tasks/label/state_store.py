"""The scores and hidden states of candidates, on disk between runs: private, and made again where damaged."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import stat
import time
import zlib
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from llmcli.documents.records.record import Record
from llmcli.fast_dataclass import frozen
from llmcli.files.file_lock import acquire_lock
from llmcli.files.private_files import make_directory, restrict_to_owner
from llmcli.types import HiddenStates

VERSION = 2
MAX_BYTES = 512 << 20
"""Of all files together; those that were used longest ago are removed first."""
MAX_AGE_S = 30 * 24 * 3600.0
"""A file that no run has used for so long is removed."""
_SUFFIX = ".states"


@frozen
class StoredScores:
    """The log-probabilities of the labels for one record, and the hidden states; None: the backend gives none."""

    raw: Mapping[str, float]
    states: HiddenStates | None


class StateStore:
    """The file of one input and one question, which ``identity`` names: model, weights, prompt and labels.

    Each line is a checksum and the values of one record, which is known by the digest of its text and its columns. At
    the first line that does not fit its checksum, the rest is cut off. A run that cannot have the file (another run,
    another user, a full disk) keeps nothing: its candidates are scored again next time.
    """

    def __init__(self, directory: Path, identity: Mapping[str, Any], input_digest: str) -> None:
        """Open the file and read it. ``input_digest``: a hash of all texts."""
        self.path = directory / f"{_identity_digest(identity)}-{input_digest[:16]}{_SUFFIX}"
        self._descriptor: int | None = None
        self._known: dict[str, StoredScores] = {}
        with suppress(OSError):  # nothing is kept then, which costs the time to score again
            make_directory(directory)
            _remove_stale(directory, self.path)
            self._open()

    def _open(self) -> None:
        descriptor = acquire_lock(self.path)
        if descriptor is None:
            return
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode) or status.st_uid != os.geteuid():
            os.close(descriptor)
            return
        self._descriptor = descriptor
        restrict_to_owner(descriptor)
        os.utime(descriptor)
        content = self.path.read_bytes()
        length = 0
        for line in content.splitlines(keepends=True):
            found = _decode_line(line)
            if found is None:
                break
            self._known[found[0]] = found[1]
            length += len(line)
        os.ftruncate(descriptor, length)
        os.lseek(descriptor, 0, os.SEEK_END)

    def get(self, record: Record) -> StoredScores | None:
        """Return what is known about a record."""
        return self._known.get(_record_digest(record))

    def add(self, record: Record, scores: StoredScores) -> None:
        """Keep the scores of a record, if the file can be written."""
        if self._descriptor is None:
            return
        data = _encode_line(_record_digest(record), scores)
        try:
            while data:
                data = data[os.write(self._descriptor, data) :]
        except OSError:  # a line that was cut off is removed at the next start
            self.close()

    def close(self) -> None:
        """Close the file; what it has stays."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None


def remove_states(directory: Path, identity: Mapping[str, Any]) -> None:
    """Remove what is kept for a question, of all inputs. Raises ``OSError``."""
    for path in directory.glob(f"{_identity_digest(identity)}-*{_SUFFIX}"):
        path.unlink(missing_ok=True)


def _identity_digest(identity: Mapping[str, Any]) -> str:
    text = json.dumps({"version": VERSION, **identity}, sort_keys=True)
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:32]


def _record_digest(record: Record) -> str:
    """Return a hash of the text and the columns, which a prompt file of the user may use."""
    content = json.dumps([record.text, dict(record.fields)], default=repr)
    return hashlib.blake2b(content.encode(), digest_size=16).hexdigest()


def _encode_line(digest: str, scores: StoredScores) -> bytes:
    fields: dict[str, Any] = {"record": digest, "raw": dict(scores.raw)}
    if scores.states is not None:
        mean, last = scores.states.mean, scores.states.last
        fields |= {"mean": base64.b64encode(mean).decode(), "last": base64.b64encode(last).decode()}
        fields["layers"] = scores.states.layers
    body = json.dumps(fields, ensure_ascii=False).encode("utf-8", "surrogatepass")
    return b"%08x %s\n" % (zlib.crc32(body), body)


def _decode_line(line: bytes) -> tuple[str, StoredScores] | None:
    """Return a record's digest and its scores; None for a damaged line."""
    checksum, _, body = line.removesuffix(b"\n").partition(b" ")
    if not line.endswith(b"\n") or checksum != b"%08x" % zlib.crc32(body):
        return None
    fields = json.loads(body.decode("utf-8", "surrogatepass"))
    states = None
    if "mean" in fields:
        mean, last = (base64.b64decode(fields[name]) for name in ("mean", "last"))
        states = HiddenStates("", mean, last, tuple(fields["layers"]))
    return fields["record"], StoredScores(fields["raw"], states)


def _remove_stale(directory: Path, own: Path) -> None:
    """Remove files that no run has used for long, and the oldest ones while all are too large together."""
    total, now = 0, time.time()
    for path, status in sorted(_files(directory), key=lambda each: -each[1].st_mtime):
        total += status.st_size
        if path != own and (total > MAX_BYTES or now - status.st_mtime > MAX_AGE_S):
            path.unlink(missing_ok=True)
            total -= status.st_size


def _files(directory: Path) -> Iterator[tuple[Path, os.stat_result]]:
    for path in directory.glob(f"*{_SUFFIX}"):
        with suppress(FileNotFoundError):  # another run has removed it
            yield path, path.lstat()
