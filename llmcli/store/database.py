"""A SQLite file of ours: made for its owner only, checked when it is opened, changed in whole transactions."""

from __future__ import annotations

import errno
import os
import sqlite3
import stat
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from llmcli import private_files
from llmcli.errors import BadDocument, CannotCreate, MissingError, OutputError, TryAgain
from llmcli.interrupt import check, stop_requested
from llmcli.values import frozen

_PATIENCE = 10.0
"""Seconds to wait for another process that writes."""
_PAUSE_S = 0.02
_STEPS = 50_000
"""Steps of SQLite's machine after which it asks whether to go on: some milliseconds."""
_DAMAGED = {sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_CORRUPT}
_HELD = {sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED}
_NO_PLACE = {errno.ENOENT, errno.ENOTDIR, errno.ENAMETOOLONG, errno.ELOOP, errno.EISDIR}
"""What the system says of a name that can be no file's."""
_NO_FILE = "not a regular file"
_NOT_WRITABLE = {sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_READONLY, sqlite3.SQLITE_PERM}


@frozen
class Plan:
    """What such a file holds: ``schema`` makes its ``tables``; ``what`` and ``kind`` name it in errors."""

    what: str
    kind: str
    version: int
    schema: str
    tables: frozenset[str]


class Database:
    """The file ``path``, made when it is not there."""

    def __init__(self, path: Path, plan: Plan, *, looks: bool = False, private: bool = True) -> None:
        """``looks``: nothing is written; where the file is not there, nothing is in it. ``private``: to others it is closed.

        Raises ``CannotCreate`` (no file can be there), ``OutputError``, ``TryAgain`` (it is held), ``BadDocument``, and with
        ``looks`` ``MissingError``.
        """
        self.path = path
        self._plan = plan
        where = _look(path) if looks else _make(path, private=private)
        with self.errors():
            self._connection = sqlite3.connect(where, timeout=_PATIENCE, isolation_level=None, uri=looks)
            try:
                self._connection.set_progress_handler(stop_requested, _STEPS)
                self._connection.execute("PRAGMA secure_delete = ON")  # what is removed is gone from the file too
                self._prepare()
            except BaseException:
                self.close()
                raise

    def close(self) -> None:
        """Close it."""
        self._connection.close()

    @contextmanager
    def reading(self) -> Iterator[sqlite3.Connection]:
        """Read, with SQLite's errors turned into ours."""
        with self.errors():
            yield self._connection

    @contextmanager
    def changing(self) -> Iterator[sqlite3.Connection]:
        """Change something, all of it or nothing."""
        with self.errors():
            self._begin_writing()
            try:
                yield self._connection
                self._connection.execute("COMMIT")
            except BaseException:
                if self._connection.in_transaction:  # a full disk has ended it already
                    self._connection.execute("ROLLBACK")
                raise

    def _begin_writing(self) -> None:
        """Begin a change. SQLite's own wait for another process that writes would be deaf to signals."""
        until = time.monotonic() + _PATIENCE
        self._connection.execute("PRAGMA busy_timeout = 0")
        try:
            while True:
                try:
                    self._connection.execute("BEGIN IMMEDIATE")
                except sqlite3.OperationalError as error:
                    if error.sqlite_errorcode & 0xFF not in _HELD or time.monotonic() >= until:
                        raise
                else:
                    return
                check()
                time.sleep(_PAUSE_S)
        finally:
            self._connection.execute(f"PRAGMA busy_timeout = {_PATIENCE * 1000:.0f}")

    def try_writing(self) -> None:
        """Raise what a change would raise where none can be made."""
        with self.errors():
            self._begin_writing()
            try:
                self._connection.execute(f"PRAGMA user_version = {self._plan.version}")
            finally:
                if self._connection.in_transaction:
                    self._connection.execute("ROLLBACK")

    def _prepare(self) -> None:
        """Make the tables in an empty file. Raises ``BadDocument`` for a file of another program, or version of ours."""
        self._connection.execute("BEGIN")  # version and tables of one moment
        ready = self._is_ready()
        self._connection.execute("COMMIT")
        if ready:
            return
        with self.changing() as connection:
            if not self._is_ready():  # another process made them meanwhile
                for statement in filter(str.strip, self._plan.schema.split(";")):
                    connection.execute(statement)
                connection.execute(f"PRAGMA user_version = {self._plan.version}")

    def _is_ready(self) -> bool:
        (version,) = self._connection.execute("PRAGMA user_version").fetchone()
        tables = {name for (name,) in self._connection.execute("SELECT name FROM sqlite_master")}
        if version == 0 and not tables:
            return False
        if not tables >= self._plan.tables:
            raise BadDocument(str(self.path), detail="another program's database", kind=self._plan.kind)
        if version != self._plan.version:
            raise BadDocument(str(self.path), detail="it is of another version of llm", kind=self._plan.kind)
        return True

    @contextmanager
    def errors(self) -> Iterator[None]:
        """Turn what SQLite says into our errors."""
        try:
            yield
        except sqlite3.DatabaseError as error:
            if isinstance(error, sqlite3.ProgrammingError):
                raise  # a bug of ours
            whole = getattr(error, "sqlite_errorcode", None)
            code = (whole or 0) & 0xFF
            if code in _DAMAGED or whole is None:  # without a code: the module cannot read what SQLite gave it
                damaged = f"it is not {self._plan.what}, or is damaged"
                raise BadDocument(str(self.path), detail=damaged, kind=self._plan.kind) from error
            if code == sqlite3.SQLITE_INTERRUPT:
                check()
            if code in _HELD:
                raise TryAgain(str(self.path), detail="another process writes to it") from error
            raise OutputError(str(self.path), detail=self._words(code, error)) from error

    def _words(self, code: int, error: sqlite3.Error) -> str:
        """Return the system's words for what SQLite says of a disk or a directory, else SQLite's own."""
        if code == sqlite3.SQLITE_FULL:
            return os.strerror(errno.ENOSPC)
        if code in _NOT_WRITABLE and not os.access(self.path.parent, os.W_OK):
            return os.strerror(errno.EACCES)
        return str(error)


def make_directory(path: Path) -> None:
    """Make the directory of the file ``path`` where it is not there. Raises ``OutputError``."""
    try:
        private_files.make_directory(path.parent)
    except OSError as error:
        raise OutputError(str(path), detail=error.strerror or "") from error


def _make(path: Path, *, private: bool) -> Path:
    """Make the file where it is not there, and try whether it can be written; what others may do with it ends."""
    try:
        descriptor = private_files.open_file(path, os.O_RDWR | os.O_NONBLOCK)
        try:
            if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                raise CannotCreate(str(path), detail=_NO_FILE)
            if private:
                private_files.tighten(descriptor)
        finally:
            os.close(descriptor)
    except OSError as error:
        kind = CannotCreate if error.errno in _NO_PLACE else OutputError
        raise kind(str(path), detail=error.strerror or "") from error
    return path


def _look(path: Path) -> str:
    """Return what SQLite shall open: the file, which it may have to mend after a crash, or an empty one in memory."""
    address = path.absolute().as_uri()
    try:
        status = path.stat()
        if not stat.S_ISREG(status.st_mode):
            raise MissingError(str(path), kind="place", detail=_NO_FILE)
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
