"""Files of older versions."""

import sqlite3
from dataclasses import replace

import pytest

from llmcli.errors import ConfigError
from llmcli.store.database import Database, DatabaseSpec


def add_column(connection):
    """Change the first version into the second."""
    connection.execute("ALTER TABLE a ADD COLUMN y")
    connection.execute("UPDATE a SET y = 7")


FIRST = DatabaseSpec("an example", "example", 1, "CREATE TABLE a (x)", frozenset({"a"}))
THIRD = replace(
    FIRST,
    version=3,
    schema="CREATE TABLE a (x, y);\nCREATE TABLE b (z);\n",
    migrations={1: add_column, 2: lambda connection: connection.execute("CREATE TABLE b (z)")},
)


@pytest.fixture
def old_file(tmp_path):
    """Return a file of the first version with one row."""
    database = Database(tmp_path / "db", FIRST)
    with database.transaction() as connection:
        connection.execute("INSERT INTO a VALUES (1)")
    database.close()
    return tmp_path / "db"


def test_a_file_of_an_older_version_is_migrated(old_file):
    """Version by version, and its rows stay."""
    database = Database(old_file, THIRD)
    with database.read() as connection:
        assert connection.execute("SELECT x, y FROM a").fetchall() == [(1, 7)]
        assert connection.execute("SELECT count(*) FROM b").fetchone() == (0,)
        assert connection.execute("PRAGMA user_version").fetchone() == (3,)
    database.close()


def test_a_failed_migration_changes_nothing(old_file):
    """All steps are one transaction."""
    steps = {1: add_column, 2: lambda connection: connection.execute("DROP TABLE nothing")}
    with pytest.raises(Exception, match="nothing"):
        Database(old_file, replace(THIRD, migrations=steps))
    with sqlite3.connect(old_file) as connection:
        assert connection.execute("PRAGMA user_version").fetchone() == (1,)
        assert [row[1] for row in connection.execute("PRAGMA table_info(a)")] == ["x"]


def test_a_newer_version_is_refused(old_file):
    """A file that a later version of llm wrote is not touched."""
    Database(old_file, THIRD).close()
    with pytest.raises(ConfigError, match="a newer version of llm"):
        Database(old_file, FIRST)
