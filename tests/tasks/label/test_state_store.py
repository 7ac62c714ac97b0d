"""The states of candidates on disk: private, bounded, and made again where they are damaged."""

from __future__ import annotations

import os
import stat

import pytest

from llmcli.documents.records.record import Record
from llmcli.tasks.label import state_store
from llmcli.tasks.label.state_store import StateStore, StoredScores, remove_states
from llmcli.types import HiddenStates

IDENTITY = {"model": "m", "weights": "q8_0", "prompt": "p"}
RECORD = Record(0, "a text", 1, fields={"id": 1})
SCORES = StoredScores({"bug": -0.25, "idea": float("-inf")}, HiddenStates("", b"\1\2\3\4", b"\5\6\7\10", (17,)))


@pytest.fixture
def open_store(tmp_path):
    """Return a function that opens a store, which is closed at the end."""
    opened = []

    def open_one(identity=IDENTITY, digest="d" * 64):
        opened.append(StateStore(tmp_path / "states", identity, digest))
        return opened[-1]

    yield open_one
    for store in opened:
        store.close()


@pytest.fixture
def kept(open_store):
    """Return the file of a store in which a record is kept."""
    store = open_store()
    store.add(RECORD, SCORES)
    store.close()
    return store.path


def test_what_is_kept_is_the_same(open_store, kept):
    """For the same text and columns, model, weights, prompt and input; only the owner may read the file."""
    assert open_store().get(RECORD) == SCORES
    assert stat.S_IMODE(kept.stat().st_mode) == 0o600 and stat.S_IMODE(kept.parent.stat().st_mode) == 0o700
    for other in (Record(0, "a text ", 1, fields={"id": 1}), Record(0, "a text", 1, fields={"id": 2})):
        assert open_store().get(other) is None
    for key in IDENTITY:
        assert open_store({**IDENTITY, key: "other"}).get(RECORD) is None
    assert open_store(digest="e" * 64).get(RECORD) is None


@pytest.mark.parametrize("damage", [lambda data: data[:-5], lambda data: b"", lambda data: b"\0" * len(data)])
def test_a_damaged_file_is_made_again(open_store, kept, damage):
    """What follows the damage is cut off, and new lines can be read."""
    kept.write_bytes(damage(kept.read_bytes()))
    store = open_store()
    assert store.get(RECORD) is None
    store.add(RECORD, SCORES)
    store.close()
    assert open_store().get(RECORD) == SCORES


def test_the_file_of_another_user_is_not_read(open_store, kept, monkeypatch):
    """Nor written."""
    before = kept.read_bytes()
    monkeypatch.setattr(os, "geteuid", lambda: os.getuid() + 1)
    store = open_store()
    assert store.get(RECORD) is None
    store.add(RECORD, SCORES)
    assert kept.read_bytes() == before


def test_permissions_of_others_are_removed(open_store, kept):
    """Also those that the user gave."""
    kept.chmod(0o644)
    open_store()
    assert stat.S_IMODE(kept.stat().st_mode) == 0o600


def test_a_link_is_not_followed(open_store, kept, tmp_path):
    """The file that it leads to stays as it is."""
    target = tmp_path / "target"
    target.write_bytes(kept.read_bytes())
    kept.unlink()
    kept.symlink_to(target)
    store = open_store()
    assert store.get(RECORD) is None
    store.add(RECORD, SCORES)
    assert len(target.read_bytes().splitlines()) == 1


def test_another_run_keeps_nothing(open_store, kept):
    """While the first one has the file."""
    first, second = open_store(), open_store()
    second.add(Record(0, "more", 1), SCORES)
    assert first.get(RECORD) == SCORES and second.get(RECORD) is None
    assert len(kept.read_bytes().splitlines()) == 1


def test_files_that_are_old_or_too_many_are_removed(open_store, kept, monkeypatch):
    """The one in use stays; a run makes its file young again."""
    other = open_store({"model": "n"}).path
    os.utime(kept, (0, 0))
    open_store({"model": "o"})
    assert not kept.exists() and other.exists()
    monkeypatch.setattr(state_store, "MAX_BYTES", 0)
    other.write_bytes(b"x")
    store = open_store()
    assert store.path.exists() and not other.exists()


def test_states_are_removed_with_their_question(open_store, kept):
    """Of all inputs; those of other questions stay."""
    second, other = open_store(digest="e" * 64).path, open_store({"model": "n"}).path
    remove_states(kept.parent, dict(reversed(IDENTITY.items())))
    assert not kept.exists() and not second.exists() and other.exists()
