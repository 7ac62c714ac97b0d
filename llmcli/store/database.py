"""A SQLite file of ours: made for its owner only, checked when it is opened, changed in whole transactions."""

from __future__ import annotations

import errno
import os
import sqlite3
import stat
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from llmcli import private_files
from llmcli.errors import BadDocument, CannotCreate, MissingError, OutputError, TemporaryFailure
from llmcli.interrupt import check_interrupt, stop_requested

_BUSY_TIMEOUT_S = 10.0
"""Seconds to wait for another process that writes."""
_POLL_S = 0.02
_PROGRESS_STEPS = 50_000
"""Steps of SQLite's machine after which it asks whether to go on: some milliseconds."""
_DAMAGED_CODES = {sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_CORRUPT}
_BUSY_CODES = {sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED}
_IMPOSSIBLE_PATH_ERRNOS = {errno.ENOENT, errno.ENOTDIR, errno.ENAMETOOLONG, errno.ELOOP, errno.EISDIR}
"""What the system says of a name that can be no file's."""
_NOT_A_FILE = "not a regular file"
_NOT_WRITABLE_CODES = {sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_READONLY, sqlite3.SQLITE_PERM}


@dataclass(frozen=True, slots=True)
class DatabaseSpec:
    """What such a file holds: ``schema`` makes its ``tables``; ``what`` and ``kind`` name it in errors."""

    description: str
    kind: str
    version: int
    schema: str
    tables: frozenset[str]


class Database:
    """The file ``path``, made when it is not there."""

    def __init__(self, path: Path, plan: DatabaseSpec, *, read_only: bool = False, private: bool = True) -> None:
        """``read_only``: nothing is written; where the file is not there, nothing is in it. ``private``: to others it is closed.

        Raises ``CannotCreate`` (no file can be there), ``OutputError``, ``TemporaryFailure`` (it is held), ``BadDocument``, and with
        ``read_only`` ``MissingError``.
        """
        self.path = path
        self._spec = plan
        where = _read_only_uri(path) if read_only else _create_file(path, private=private)
        with self.translate_errors():
            self._connection = sqlite3.connect(where, timeout=_BUSY_TIMEOUT_S, isolation_level=None, uri=read_only)
            try:
                self._connection.set_progress_handler(stop_requested, _PROGRESS_STEPS)
                self._connection.execute("PRAGMA secure_delete = ON")  # what is removed is gone from the file too
                self._create_tables()
            except BaseException:
                self.close()
                raise

    def close(self) -> None:
        """Close it."""
        self._connection.close()

    @contextmanager
    def read(self) -> Iterator[sqlite3.Connection]:
        """Read, with SQLite's errors turned into ours."""
        with self.translate_errors():
            yield self._connection

    @contextmanager
    def transaction(self) -> Iterator[sqlite3.Connection]:
        """Change something, all of it or nothing."""
        with self.translate_errors():
            self._begin_immediate()
            try:
                yield self._connection
                self._connection.execute("COMMIT")
            except BaseException:
                if self._connection.in_transaction:  # a full disk has ended it already
                    self._connection.execute("ROLLBACK")
                raise

    def _begin_immediate(self) -> None:
        """Begin a change. SQLite's own wait for another process that writes would be deaf to signals."""
        until = time.monotonic() + _BUSY_TIMEOUT_S
        self._connection.execute("PRAGMA busy_timeout = 0")
        try:
            while True:
                try:
                    self._connection.execute("BEGIN IMMEDIATE")
                except sqlite3.OperationalError as error:
                    if error.sqlite_errorcode & 0xFF not in _BUSY_CODES or time.monotonic() >= until:
                        raise
                else:
                    return
                check_interrupt()
                time.sleep(_POLL_S)
        finally:
            self._connection.execute(f"PRAGMA busy_timeout = {_BUSY_TIMEOUT_S * 1000:.0f}")

    def check_writable(self) -> None:
        """Raise what a change would raise where none can be made."""
        with self.translate_errors():
            self._begin_immediate()
            try:
                self._connection.execute(f"PRAGMA user_version = {self._spec.version}")
            finally:
                if self._connection.in_transaction:
                    self._connection.execute("ROLLBACK")

    def _create_tables(self) -> None:
        """Make the tables in an empty file. Raises ``BadDocument`` for a file of another program, or version of ours."""
        self._connection.execute("BEGIN")  # version and tables of one moment
        ready = self._has_tables()
        self._connection.execute("COMMIT")
        if ready:
            return
        with self.transaction() as connection:
            if not self._has_tables():  # another process made them meanwhile
                for statement in filter(str.strip, self._spec.schema.split(";")):
                    connection.execute(statement)
                connection.execute(f"PRAGMA user_version = {self._spec.version}")

    def _has_tables(self) -> bool:
        (version,) = self._connection.execute("PRAGMA user_version").fetchone()
        tables = {name for (name,) in self._connection.execute("SELECT name FROM sqlite_master")}
        if version == 0 and not tables:
            return False
        if not tables >= self._spec.tables:
            raise BadDocument(str(self.path), detail="another program's database", kind=self._spec.kind)
        if version != self._spec.version:
            raise BadDocument(str(self.path), detail="it is of another version of llm", kind=self._spec.kind)
        return True

    @contextmanager
    def translate_errors(self) -> Iterator[None]:
        """Turn what SQLite says into our errors."""
        try:
            yield
        except sqlite3.DatabaseError as error:
            if isinstance(error, sqlite3.ProgrammingError):
                raise  # a bug of ours
            whole = getattr(error, "sqlite_errorcode", None)
            code = (whole or 0) & 0xFF
            if code in _DAMAGED_CODES or whole is None:  # without a code: the module cannot read what SQLite gave it
                damaged = f"it is not {self._spec.description}, or is damaged"
                raise BadDocument(str(self.path), detail=damaged, kind=self._spec.kind) from error
            if code == sqlite3.SQLITE_INTERRUPT:
                check_interrupt()
            if code in _BUSY_CODES:
                raise TemporaryFailure(str(self.path), detail="another process writes to it") from error
            raise OutputError(str(self.path), detail=self._error_text(code, error)) from error

    def _error_text(self, code: int, error: sqlite3.Error) -> str:
        """Return the system's words for what SQLite says of a disk or a directory, else SQLite's own."""
        if code == sqlite3.SQLITE_FULL:
            return os.strerror(errno.ENOSPC)
        if code in _NOT_WRITABLE_CODES and not os.access(self.path.parent, os.W_OK):
            return os.strerror(errno.EACCES)
        return str(error)


def make_parent_directory(path: Path) -> None:
    """Make the directory of the file ``path`` where it is not there. Raises ``OutputError``."""
    try:
        private_files.make_directory(path.parent)
    except OSError as error:
        raise OutputError(str(path), detail=error.strerror or "") from error


def _create_file(path: Path, *, private: bool) -> Path:
    """Make the file where it is not there, and try whether it can be written; what others may do with it ends."""
    try:
        descriptor = private_files.open_file(path, os.O_RDWR | os.O_NONBLOCK)
        try:
            if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                raise CannotCreate(str(path), detail=_NOT_A_FILE)
            if private:
                private_files.restrict_to_owner(descriptor)
        finally:
            os.close(descriptor)
    except OSError as error:
        kind = CannotCreate if error.errno in _IMPOSSIBLE_PATH_ERRNOS else OutputError
        raise kind(str(path), detail=error.strerror or "") from error
    return path


def _read_only_uri(path: Path) -> str:
    """Return what SQLite shall open: the file, which it may have to mend after a crash, or an empty one in memory."""
    address = path.absolute().as_uri()
    try:
        status = path.stat()
        if not stat.S_ISREG(status.st_mode):
            raise MissingError(str(path), kind="place", detail=_NOT_A_FILE)
        if not status.st_size:
            return "file::memory:"
        os.close(os.open(path, os.O_RDWR | os.O_CLOEXEC))
    except (FileNotFoundError, NotADirectoryError):
        return "file::memory:"
    except OSError as error:
        if error.errno not in {errno.EACCES, errno.EPERM, errno.EROFS} or not os.access(path, os.R_OK):
            raise MissingError(str(path), kind="place", detail=error.strerror or "") from error
        return f"{address}?mode=ro"
    return f"{address}?mode=rw"
