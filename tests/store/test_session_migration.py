"""Files of saved chats that an earlier or a later version of llm wrote, and their permissions."""

from __future__ import annotations

import sqlite3

import pytest

from llmcli.errors import BadDocument, ConfigError, OutputError
from llmcli.store import database, session_tables
from llmcli.store.session_store import SessionStore
from llmcli.types import Role

VERSION_1 = """
CREATE TABLE sessions (
    id TEXT NOT NULL UNIQUE, name TEXT NOT NULL UNIQUE, model TEXT NOT NULL, system TEXT NOT NULL,
    created REAL NOT NULL, updated REAL NOT NULL
);
CREATE TABLE turns (
    session TEXT NOT NULL, number INTEGER NOT NULL, role TEXT NOT NULL CHECK (role IN ('user', 'assistant')),
    content TEXT NOT NULL, interrupted INTEGER NOT NULL, time REAL NOT NULL, PRIMARY KEY (session, number)
) WITHOUT ROWID;
INSERT INTO sessions VALUES ('a1', 'work', 'small', 'Be kind.', 10.0, 30.0), ('b2', 'empty', '', '', 11.0, 20.0);
INSERT INTO turns VALUES ('a1', 0, 'user', 'What is rain?', 0, 12.0), ('a1', 1, 'assistant', 'Wat', 1, 13.0),
    ('a1', 2, 'user', 'Go on', 0, 14.0), ('a1', 3, 'assistant', 'Water.', 0, 15.0);
PRAGMA user_version = 1;
"""


@pytest.fixture
def old(tmp_path):
    """Return the path of a file that version 1 wrote."""
    path = tmp_path / "sessions.db"
    connection = sqlite3.connect(path)
    connection.executescript(VERSION_1)
    connection.close()
    path.chmod(0o600)
    return path


def assert_migrated(store):
    """Assert that everything of the old file is there, as a tree without branches."""
    work, empty = (each.session for each in store.list())
    assert (work.id, work.name, work.model, work.system, work.created, work.updated) == (
        ("a1", "work", "small", "Be kind.", 10.0, 30.0)
    )
    turns = store.load_turns(work)
    assert [(turn.role, turn.content, turn.interrupted, turn.time) for turn in turns] == [
        (Role.USER, "What is rain?", False, 12.0),
        (Role.ASSISTANT, "Wat", True, 13.0),
        (Role.USER, "Go on", False, 14.0),
        (Role.ASSISTANT, "Water.", False, 15.0),
    ]
    assert turns == store.load_tree(work) and empty.head == 0 and store.load_turns(empty) == ()
    assert [(match.name, match.number) for match in store.search("water")] == [("work", 4)]


def test_an_old_file_is_migrated_after_a_backup(old):
    """The backup is the old file, for its owner only; later openings change neither."""
    before = old.read_bytes()
    with SessionStore(old) as store:
        assert_migrated(store)
    backup = database.backup_path(old, 1)
    assert backup.stat().st_mode & 0o777 == 0o600
    connection = sqlite3.connect(backup)
    assert connection.execute("SELECT count(*) FROM turns WHERE number >= 0").fetchone() == (4,)
    assert connection.execute("PRAGMA user_version").fetchone() == (1,)
    connection.close()
    assert old.read_bytes() != before
    backup.unlink()
    with SessionStore(old) as store:
        assert_migrated(store)
    assert {path.name for path in old.parent.glob("sessions*")} == {"sessions.db"}


def test_reading_an_old_file_changes_nothing(old):
    """Its contents are migrated in memory."""
    before = old.read_bytes()
    with SessionStore(old, read_only=True) as store:
        assert_migrated(store)
    assert old.read_bytes() == before and {path.name for path in old.parent.glob("sessions*")} == {"sessions.db"}


def test_a_migration_that_fails_changes_nothing(old, monkeypatch):
    """The file keeps its version, and the next attempt succeeds."""
    before = old.read_bytes()

    def fail(*_, **__):
        raise sqlite3.OperationalError("out of luck")

    with monkeypatch.context() as patch:
        patch.setattr(session_tables, "insert_turn", fail)
        with pytest.raises(BadDocument):
            SessionStore(old)
    assert old.read_bytes() == before
    with SessionStore(old) as store:
        assert_migrated(store)


def test_without_space_for_the_backup_nothing_is_migrated(old, monkeypatch):
    """The error names the backup."""
    before = old.read_bytes()

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(database.private_files, "write_file", full)
    with pytest.raises(OutputError) as caught:
        SessionStore(old)
    assert caught.value.subject.endswith("sessions.db.v1-backup") and old.read_bytes() == before
    with SessionStore(old, read_only=True) as store:
        assert_migrated(store)


@pytest.mark.parametrize("read_only", [False, True])
def test_a_newer_file_is_refused_and_unchanged(tmp_path, read_only):
    """An older llm must not write to what it does not know: 78."""
    path = tmp_path / "sessions.db"
    with SessionStore(path):
        pass
    connection = sqlite3.connect(path)
    connection.execute("PRAGMA user_version = 99")
    connection.close()
    before = path.read_bytes()
    with pytest.raises(ConfigError) as caught:
        SessionStore(path, read_only=read_only)
    assert (caught.value.exit_code, caught.value.type_name) == (78, "NewerSchema")
    assert path.read_bytes() == before and [each.name for each in tmp_path.glob("sessions*")] == ["sessions.db"]


@pytest.mark.parametrize("read_only", [False, True])
def test_wider_permissions_are_removed(old, read_only):
    """A copy or an old umask may have left them."""
    old.chmod(0o664)
    with SessionStore(old, read_only=read_only):
        assert old.stat().st_mode & 0o777 == 0o600
