"""Forward migration of a database: a backup of the old file first, then all steps in one transaction."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from pathlib import Path

from llmcli.errors import OutputError
from llmcli.files import private_files

MigrationStep = Callable[[sqlite3.Connection], None]
"""Changes a database of one version to the next version, inside a transaction."""


def backup_path(path: Path, version: int) -> Path:
    """Return the name of the copy of the database ``path`` that is made before it is migrated from ``version``."""
    return path.with_name(f"{path.name}.v{version}-backup")


def back_up(path: Path, version: int) -> Path:
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
            descriptor = os.open(temporary, os.O_RDONLY | os.O_CLOEXEC)
            try:
                os.fsync(descriptor)
            finally:
                os.close(descriptor)
    except OSError as error:
        raise OutputError(str(target), detail=error.strerror or "") from error
    return target


def migrate(connection: sqlite3.Connection, version: int, target: int, steps: Mapping[int, MigrationStep]) -> None:
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
