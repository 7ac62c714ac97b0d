"""A SQLite file: created for its owner only, checked when it is opened, changed in transactions.

A full-text index of texts in a table: SQLite's FTS5 with trigrams, over case-folded text.

Trigrams find parts of words, and words of languages that write no spaces. Source: SQLite, "FTS5 Extension", the trigram
tokenizer (SQLite 3.34). The index holds no copy of the text, so an entry is deleted with the text that was indexed.
"""

from __future__ import annotations

import errno
import os
import re
import sqlite3
import stat
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager, suppress
from pathlib import Path

from llmcli.errors import BadDocument, CannotCreate, ConfigError, MissingError, OutputError, TemporaryFailure
from llmcli.errors.saved_state_errors import DamagedState, UnreadableState
from llmcli.fast_dataclass import field, frozen
from llmcli.files import private_files
from llmcli.interrupt import check_interrupt, stop_requested

_MigrationStep = Callable[[sqlite3.Connection], None]
"""Changes a database of one version to the next version, inside a transaction."""


def backup_path(path: Path, version: int) -> Path:
    """Return the name of the copy of the database ``path`` that is made before it is migrated from ``version``."""
    return path.with_name(f"{path.name}.v{version}-backup")


def _back_up(path: Path, version: int) -> Path:
    """Copy the database ``path`` of schema ``version`` beside it, accessible to its owner only; return the copy's path.

    The caller holds the write lock, so that no other process changes the file meanwhile. An earlier copy of the same
    version, left by a migration that did not finish, is replaced. Raises ``OutputError`` and ``sqlite3.Error``.
    """
    target = backup_path(path, version)
    try:
        with private_files.replacing(target) as temporary:
            private_files.write_file(temporary, b"")
            with closing(sqlite3.connect(path)) as source, closing(sqlite3.connect(temporary)) as copy:
                source.backup(copy)
            private_files.sync(temporary)
    except OSError as error:
        raise OutputError(str(target), detail=error.strerror or "") from error
    return target


def _migrate(connection: sqlite3.Connection, version: int, target: int, steps: Mapping[int, _MigrationStep]) -> None:
    """Bring a database from ``version`` to ``target``; the caller commits or rolls back."""
    for each in range(version, target):
        steps[each](connection)
    connection.execute(f"PRAGMA user_version = {target}")


def split_statements(script: str) -> Iterator[str]:
    """Yield the statements of an SQL script; each ends with a semicolon at the end of a line, or with the script."""
    statement = ""
    for line in script.splitlines(keepends=True):
        statement += line
        if sqlite3.complete_statement(statement):
            yield statement
            statement = ""
    if statement.strip():
        yield statement


_BUSY_TIMEOUT_S = 10.0
"""Seconds to wait for another process that writes."""
_POLL_S = 0.02
_PROGRESS_STEPS = 50_000
"""Steps of SQLite's virtual machine between checks of the interrupt: some milliseconds."""
_DAMAGED_CODES = {sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_CORRUPT}
_BUSY_CODES = {sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED}
_IMPOSSIBLE_PATH_ERRNOS = {errno.ENOENT, errno.ENOTDIR, errno.ENAMETOOLONG, errno.ELOOP, errno.EISDIR}
"""Errors for a path that no file can have."""
_NOT_A_FILE = "not a regular file"
_NOT_WRITABLE_CODES = {sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_READONLY, sqlite3.SQLITE_PERM}


@frozen
class DatabaseSpec:
    """The contents of a file: ``schema`` creates its tables; ``description`` and ``kind`` name it in errors.

    ``tables``: those that files of every version have. ``migrations``: for each older version the step to the next one.
    """

    description: str
    kind: str
    version: int
    schema: str
    tables: frozenset[str]
    migrations: Mapping[int, _MigrationStep] = field(default_factory=dict)


class Database:
    """The file ``path``, created if it does not exist."""

    def __init__(
        self,
        path: Path,
        spec: DatabaseSpec,
        *,
        read_only: bool = False,
        private: bool = True,
    ) -> None:
        """``read_only``: nothing is written; a missing file counts as empty. ``private``: other users have no access.

        A file of an older version is copied to ``PATH.vN-backup`` and migrated; with ``read_only`` its contents are
        migrated in memory. Raises ``CannotCreate`` (an impossible path), ``OutputError``, ``TemporaryFailure`` (it is
        locked), ``BadDocument``, ``ConfigError``, and with ``read_only`` ``MissingError``.
        """
        self.path = path
        self._spec = spec
        self._damage = DamagedState if private else BadDocument
        self._read_only = read_only
        if read_only and private:
            _restrict_existing(path)
        database = _read_only_uri(path, private=private) if read_only else _create_file(path, private=private)
        with self.translate_errors():
            self._connection = sqlite3.connect(
                database,
                timeout=_BUSY_TIMEOUT_S,
                isolation_level=None,
                uri=read_only,
                check_same_thread=False,  # records are read by a thread of their own, one thread calls at a time
            )
            try:
                self._connection.set_progress_handler(stop_requested, _PROGRESS_STEPS)
                self._connection.execute("PRAGMA secure_delete = ON")  # deleted data is overwritten in the file
                self._create_tables()
            except BaseException:
                self.close()
                raise

    def close(self) -> None:
        """Close it."""
        self._connection.close()

    @contextmanager
    def read(self) -> Iterator[sqlite3.Connection]:
        """Read from the file; SQLite's errors become those of ``translate_errors``."""
        with self.translate_errors():
            yield self._connection

    @contextmanager
    def transaction(self) -> Iterator[sqlite3.Connection]:
        """Change the file in one transaction."""
        with self.translate_errors():
            self._begin_immediate()
            try:
                yield self._connection
                self._connection.execute("COMMIT")
            except BaseException:
                # an error such as a full disk may have ended the transaction already
                if self._connection.in_transaction:
                    self._connection.execute("ROLLBACK")
                raise

    def _begin_immediate(self) -> None:
        """Begin a transaction. SQLite's own wait for another process that writes would not react to signals."""
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
        """Raise the error that a change would raise if the file cannot be changed."""
        with self.translate_errors():
            self._begin_immediate()
            try:
                self._connection.execute(f"PRAGMA user_version = {self._spec.version}")
            finally:
                if self._connection.in_transaction:
                    self._connection.execute("ROLLBACK")

    def _create_tables(self) -> None:
        """Create the tables in an empty file, migrate one of an older version.

        Raises ``BadDocument`` for a file of another program, ``ConfigError`` for one of a newer version.
        """
        self._connection.execute("BEGIN")  # version and tables in one snapshot
        version = self._find_version()
        self._connection.execute("COMMIT")
        if version == self._spec.version:
            return
        if version is not None and self._read_only:
            self._copy_to_memory()
        with self.transaction() as connection:
            version = self._find_version()  # another process may have created or migrated them meanwhile
            if version is None:
                for statement in split_statements(self._spec.schema):
                    connection.execute(statement)
                connection.execute(f"PRAGMA user_version = {self._spec.version}")
            elif version < self._spec.version:
                if not self._read_only:
                    _back_up(self.path, version)
                _migrate(connection, version, self._spec.version, self._spec.migrations)

    def _copy_to_memory(self) -> None:
        """Continue on a copy in memory, since nothing may be written."""
        copy = sqlite3.connect(":memory:", isolation_level=None, check_same_thread=False)
        self._connection.backup(copy)
        self._connection.close()
        self._connection = copy

    def _find_version(self) -> int | None:
        """Return the version of the tables; None for an empty file."""
        (version,) = self._connection.execute("PRAGMA user_version").fetchone()
        tables = {name for (name,) in self._connection.execute("SELECT name FROM sqlite_master")}
        if version == 0 and not tables:
            return None
        if not tables >= self._spec.tables:
            raise self._damage(str(self.path), detail="it is another program's database", kind=self._spec.kind)
        if version > self._spec.version:
            raise ConfigError(
                str(self.path),
                detail="a newer version of llm has changed this file; it stays as it is",
                message="{subject}: {detail}",
                advice="Update llm, or name another data directory: LLMCLI_DATA_DIR=DIRECTORY",
                type_name="NewerSchema",
            )
        if version != self._spec.version and version not in self._spec.migrations:
            raise self._damage(str(self.path), detail="it is of an unknown version", kind=self._spec.kind)
        return int(version)

    @contextmanager
    def translate_errors(self) -> Iterator[None]:
        """Turn SQLite's errors into ``LlmError``s."""
        try:
            yield
        except sqlite3.DatabaseError as error:
            if isinstance(error, sqlite3.ProgrammingError):
                raise  # a bug
            whole = getattr(error, "sqlite_errorcode", None)
            code = (whole or 0) & 0xFF
            # without an error code: the module cannot decode data of the file
            if code in _DAMAGED_CODES or whole is None:
                damaged = f"the file is not {self._spec.description}, or is damaged"
                raise self._damage(str(self.path), detail=damaged, kind=self._spec.kind) from error
            if code == sqlite3.SQLITE_INTERRUPT:
                check_interrupt()
            if code in _BUSY_CODES:
                raise TemporaryFailure(str(self.path), detail="another process is writing to it") from error
            raise OutputError(str(self.path), detail=self._error_text(code, error)) from error

    def _error_text(self, code: int, error: sqlite3.Error) -> str:
        """Return the system's message for an error of a disk or a directory, otherwise SQLite's own."""
        if code == sqlite3.SQLITE_FULL:
            return os.strerror(errno.ENOSPC)
        if code in _NOT_WRITABLE_CODES and not os.access(self.path.parent, os.W_OK):
            return os.strerror(errno.EACCES)
        return str(error)


def make_parent_directory(path: Path) -> None:
    """Create the directory of the file ``path`` if it does not exist. Raises ``OutputError``."""
    try:
        private_files.make_directory(path.parent)
    except OSError as error:
        raise OutputError(str(path), detail=error.strerror or "") from error


def _create_file(path: Path, *, private: bool) -> Path:
    """Create a missing file, check that the file is writable, and with ``private`` restrict it to its owner."""
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


def _restrict_existing(path: Path) -> None:
    """Remove the permissions of other users on an existing file of this user, as far as the system allows it."""
    with suppress(OSError):  # a missing file, or a medium that cannot be changed: reading reports what matters
        status = path.stat()
        if stat.S_ISREG(status.st_mode) and status.st_mode & 0o077 and status.st_uid == os.geteuid():
            path.chmod(private_files.FILE_MODE)  # by name: closing a descriptor of the file would free SQLite's locks


def _read_only_uri(path: Path, *, private: bool) -> str:
    """Return the URI to open: the file, which SQLite may have to repair after a crash, or an empty database."""
    address = path.absolute().as_uri()
    try:
        status = path.stat()
        if not stat.S_ISREG(status.st_mode):
            raise _unreadable_error(path, _NOT_A_FILE, private=private)
        if not status.st_size:
            return "file::memory:"
        os.close(os.open(path, os.O_RDWR | os.O_CLOEXEC))
    except (FileNotFoundError, NotADirectoryError):
        return "file::memory:"
    except OSError as error:
        if error.errno not in {errno.EACCES, errno.EPERM, errno.EROFS} or not os.access(path, os.R_OK):
            raise _unreadable_error(path, error.strerror or "", private=private) from error
        return f"{address}?mode=ro"
    return f"{address}?mode=rw"


def _unreadable_error(path: Path, detail: str, *, private: bool) -> MissingError:
    """Return the error for a file that cannot be read: one that llm keeps, or one that the user named."""
    return (
        UnreadableState(str(path), detail=detail) if private else MissingError(str(path), kind="place", detail=detail)
    )


_MIN_INDEXED_CHARS = 3
"""Shorter terms have no trigram: every text is read for them."""
_TERM = re.compile(r'"([^"]*)"|(\S+)')


class TrigramIndex:
    """The index in the table ``name``; the rowid of an entry is the id of its text."""

    def __init__(self, name: str) -> None:
        self._name = name
        self.schema = f"\nCREATE VIRTUAL TABLE {name} USING fts5 (content, content = '', tokenize = 'trigram');\n"

    def add(self, connection: sqlite3.Connection, entry: int, content: str) -> None:
        """Index a text."""
        statement = f"INSERT INTO {self._name} (rowid, content) VALUES (?, ?)"  # noqa: S608 (a name of our own)
        connection.execute(statement, (entry, content.casefold()))

    def delete(self, connection: sqlite3.Connection, entries: Iterable[tuple[int, str]]) -> None:
        """Remove texts, each given as id and text."""
        statement = f"INSERT INTO {self._name} ({self._name}, rowid, content) VALUES ('delete', ?, ?)"  # noqa: S608 (a fixed name)
        connection.executemany(statement, [(entry, content.casefold()) for entry, content in entries])

    def purge(self, connection: sqlite3.Connection) -> None:
        """Rewrite the index, so that nothing of deleted texts is left in it."""
        connection.execute(f"INSERT INTO {self._name} ({self._name}) VALUES ('optimize')")  # noqa: S608 (a fixed name)


def parse_terms(text: str) -> tuple[str, ...]:
    """Return the case-folded terms of a query: its words, and phrases in double quotes."""
    terms = [quoted or word for quoted, word in _TERM.findall(text)]
    return tuple(dict.fromkeys(term.casefold() for term in terms if term))


def match_query(terms: Sequence[str]) -> str | None:
    """Return the query of FTS5 for texts with all ``terms``; None if no term can be looked up.

    Short terms are left out, so a text that is found may lack them.
    """
    indexed = [term for term in terms if len(term) >= _MIN_INDEXED_CHARS and "\0" not in term]
    return " AND ".join('"' + term.replace('"', '""') + '"' for term in indexed) or None
