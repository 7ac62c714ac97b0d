"""A copy of a model in another type, as data."""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path
from typing import Any, Self

from llmcli.frozen_dataclass import frozen


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
