"""Temporary tables about all records of a job: answers by key, for records with the same text; the keys there were.

Beyond 256 KiB they are on the disk, so that memory stays flat.
"""

from __future__ import annotations

import hashlib
import io
import pickle
import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from llmcli.errors import OutputError
from llmcli.types import Result

_CACHE_KIB = 256
"""Memory of SQLite for the database; the system caches the pages of its file."""


class _TemporaryTable:
    """A table in a private temporary database: SQLite writes it to a file beyond its cache, and removes it.

    Used by one thread at a time. The methods raise ``OutputError`` when the disk is full.
    """

    def __init__(self, columns: str) -> None:
        # its transaction is never committed, since nothing outlives the process
        self._database = sqlite3.connect("", check_same_thread=False)
        self._database.execute("PRAGMA journal_mode = OFF")
        self._database.execute(f"PRAGMA cache_size = -{_CACHE_KIB}")
        self._database.execute(f"CREATE TABLE answers ({columns}) WITHOUT ROWID")

    def close(self) -> None:
        """Remove all."""
        self._database.close()


class KeySet(_TemporaryTable):
    """A set of texts, of which it holds the digests."""

    def __init__(self) -> None:
        super().__init__("key BLOB PRIMARY KEY")

    def add(self, text: str) -> bool:
        """Add a text; return whether it is new."""
        key = hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=16).digest()
        with _translate_errors():
            return self._database.execute("INSERT OR IGNORE INTO answers VALUES (?)", (key,)).rowcount > 0


class AnswerStore(_TemporaryTable):
    """Results by key."""

    def __init__(self) -> None:
        super().__init__("key BLOB PRIMARY KEY, result BLOB")

    def get(self, key: bytes) -> Result | None:
        """Return the result with a key, None if there is none."""
        with _translate_errors():
            row = self._database.execute("SELECT result FROM answers WHERE key = ?", (key,)).fetchone()
        result: Result | None = None if row is None else pickle.loads(row[0])  # noqa: S301 (written by this process)
        return result

    def add(self, key: bytes, result: Result) -> None:
        """Add a result."""
        written = io.BytesIO()
        _ResultPickler(written).dump(result)
        with _translate_errors():
            self._database.execute("INSERT OR REPLACE INTO answers VALUES (?, ?)", (key, written.getvalue()))


class _ResultPickler(pickle.Pickler):
    """Writes errors by their attributes: their constructors take others than ``Exception`` expects."""

    def reducer_override(self, value: object) -> Any:
        if isinstance(value, Exception):
            return _make_error, (type(value), value.args, vars(value))
        return NotImplemented


def _make_error(kind: type[Exception], args: tuple[Any, ...], attributes: Mapping[str, Any]) -> Exception:
    error = kind.__new__(kind, *args)
    vars(error).update(attributes)
    return error


@contextmanager
def _translate_errors() -> Iterator[None]:
    try:
        yield
    except sqlite3.Error as error:
        raise OutputError("a temporary file", detail=str(error)) from error
