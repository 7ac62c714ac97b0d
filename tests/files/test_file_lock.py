"""Lock files: one holder at a time, and no lock left behind."""

from __future__ import annotations

import fcntl
import os
import stat
import threading

import pytest

from llmcli.errors import Interrupted
from llmcli.files import file_lock
from llmcli.files.file_lock import LocksUnsupported, acquire_lock, hold_lock


def refuse(_descriptor, _operation):
    raise OSError(95, "Operation not supported")


def test_a_lock_has_one_holder(tmp_path):
    """The next one gets it when the descriptor is closed; the file is private by default."""
    path = tmp_path / "a.lock"
    held = acquire_lock(path)
    assert held is not None and acquire_lock(path) is None
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    os.close(held)
    with hold_lock(path, timeout_s=0, poll_s=0.01) as ours:
        assert ours
        with hold_lock(path, timeout_s=0.03, poll_s=0.01) as theirs:
            assert not theirs


def test_a_lock_on_a_removed_file_does_not_count(tmp_path, monkeypatch):
    """Its holder removed it between open and lock; the next attempt locks the new file."""
    path = tmp_path / "a.lock"
    lock = fcntl.flock

    def remove_first(descriptor, operation):
        path.unlink()
        lock(descriptor, operation)

    monkeypatch.setattr(fcntl, "flock", remove_first)
    assert acquire_lock(path, removable=True) is None
    monkeypatch.undo()
    held = acquire_lock(path, removable=True)
    assert held is not None
    os.close(held)


def test_missing_lock_support_has_its_own_error(tmp_path, monkeypatch):
    """Some callers continue without a lock then."""
    with pytest.raises(FileNotFoundError):
        acquire_lock(tmp_path / "none" / "a.lock")
    monkeypatch.setattr(fcntl, "flock", refuse)
    with pytest.raises(LocksUnsupported, match="not supported") as caught:
        acquire_lock(tmp_path / "a.lock")
    assert caught.value.errno == 95


def test_a_wait_can_be_ended(tmp_path):
    """What ``check`` raises ends it."""
    path = tmp_path / "a.lock"
    held = acquire_lock(path)

    def stop():
        raise Interrupted

    with pytest.raises(Interrupted), hold_lock(path, timeout_s=None, poll_s=0.01, check=stop):
        pass
    os.close(held)


def test_waiting_ends_when_the_lock_is_free(tmp_path):
    """With and without polling."""
    path = tmp_path / "a.lock"
    for polls in (True, False):
        held = acquire_lock(path)
        timer = threading.Timer(0.1, os.close, (held,))
        timer.start()
        if polls:
            with hold_lock(path, timeout_s=None, poll_s=0.01) as ours:
                assert ours
        else:
            os.close(acquire_lock(path, wait=True))
        timer.join()


def test_a_lock_file_that_is_a_link_is_refused(tmp_path):
    """Otherwise its owner could make us create files."""
    (tmp_path / "a.lock").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(OSError):
        file_lock.acquire_lock(tmp_path / "a.lock")
    assert not (tmp_path / "elsewhere").exists()
