"""The store of copies in other types: what it finds, refuses, evicts and removes."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
from types import SimpleNamespace

import pytest
from terminal import ROOT

from llmcli.errors import CannotCreate, Interrupted
from llmcli.errors.model_errors import NoRoomForWeights
from llmcli.interrupt import Interrupt
from llmcli.models.files.paths import list_copied_types
from llmcli.models.library import derived_weights
from llmcli.models.library.derived_weights import DerivedKey, DerivedWeightsStore

KEY = DerivedKey("ab" * 32, "bf16", "build 1")
HOLD_AND_WAIT = """
import sys
from pathlib import Path
from llmcli.models.library.derived_weights import DerivedKey
from llmcli.models.library.derived_weights import DerivedWeightsStore
with DerivedWeightsStore(Path(sys.argv[1]), 0).hold(DerivedKey(*sys.argv[2:])):
    print("held", flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def store(tmp_path):
    """Return an empty store."""
    return DerivedWeightsStore(tmp_path / "derived", 10_000)


def put(store, key=KEY, content=b"weights", used=None):
    """Add a copy; ``used``: when it was used last."""
    with store.claim(key) as temporary:
        temporary.write_bytes(content)
        copy = store.add(key, "tiny", temporary, Interrupt())
    if used is not None:
        os.utime(copy.path.with_suffix(".json"), (used, used))
    return copy


def key(number):
    """Return the key of a model of that number."""
    return DerivedKey(f"{number:02x}" * 32, "bf16", "build 1")


def files(store):
    return sorted(path.name for path in store.directory.iterdir())


def test_a_copy_that_was_added_is_found(store):
    """With its size and hash, and nothing else remains in the directory."""
    copy = put(store)
    found = store.find(KEY)
    assert found.path == copy.path and found.path.read_bytes() == b"weights"
    assert (found.size, found.sha256, found.model, found.divergence) == (7, copy.sha256, "tiny", None)
    assert files(store) == [f"{KEY.stem}.gguf", f"{KEY.stem}.json"]


@pytest.mark.parametrize(
    "other",
    [
        DerivedKey("ac" * 32, "bf16", "build 1"),
        DerivedKey("ab" * 32, "f16", "build 1"),
        DerivedKey("ab" * 32, "bf16", "build 2"),
    ],
)
def test_another_model_type_or_build_has_another_copy(store, other):
    """A copy is found only under everything that it was made for."""
    put(store)
    assert store.find(other) is None


def test_only_the_owner_may_read_copies(store):
    """They reveal which models are used, and determine answers."""
    old = os.umask(0)
    try:
        put(store)
    finally:
        os.umask(old)
    modes = {stat.S_IMODE(path.stat().st_mode) for path in store.directory.iterdir()}
    assert modes == {0o600} and stat.S_IMODE(store.directory.stat().st_mode) == 0o700


def test_a_directory_that_others_may_enter_is_not_used(store):
    """Neither for reading nor for writing."""
    put(store)
    store.directory.chmod(0o755)
    assert store.find(KEY) is None and store.list_copies() == [] and store.total_bytes == 0
    with pytest.raises(CannotCreate), store.claim(key(1)):
        pass


def test_the_types_of_a_model_s_copies_are_known_by_their_names(store):
    """A warm command reads no record; an unfinished copy has none, and copies of other models do not count."""
    assert list_copied_types(store.directory, KEY.source) == []
    for each in (KEY, DerivedKey(KEY.source, "q8_0", "build 1"), DerivedKey(KEY.source, "q8_0", "build 2"), key(1)):
        put(store, each)
    put(store, DerivedKey(KEY.source, "f16", "build 1")).path.with_suffix(".json").unlink()
    assert list_copied_types(store.directory, KEY.source) == ["bf16", "q8_0"]
    assert list_copied_types(store.directory, "") == []


@pytest.mark.parametrize("content", [b"weightz", b"weigh", b"weights and more", b""])
def test_a_changed_copy_is_removed(store, content):
    """It counts as absent, so that it is made again."""
    copy = put(store)
    copy.path.write_bytes(content)
    os.utime(copy.path, ns=(1, 1))
    assert store.find(KEY) is None and files(store) == []
    assert put(store).path.read_bytes() == b"weights" and store.find(KEY) is not None


def test_a_copy_that_was_only_touched_stays(store, monkeypatch):
    """It is hashed once, and then again only after another change."""
    copy = put(store)
    os.utime(copy.path, ns=(1, 1))
    assert store.find(KEY) is not None
    monkeypatch.setattr(derived_weights, "hash_file", None)
    assert store.find(KEY).mtime_ns == 1


@pytest.mark.parametrize("record", [b"", b"{}", b"[1]", b"\xff", b'{"source": 1}'])
def test_a_copy_without_a_valid_record_is_absent(store, record):
    """It is an unfinished one, which the next derivation replaces."""
    copy = put(store)
    copy.path.with_suffix(".json").write_bytes(record)
    assert store.find(KEY) is None and store.list_copies() == []
    put(store)
    assert store.find(KEY) is not None


def test_an_error_while_a_copy_is_written_leaves_nothing(store):
    """The claim removes its temporary file and its lock."""

    def fail():
        with store.claim(KEY) as temporary:
            temporary.write_bytes(b"half")
            raise ValueError("broken")

    with pytest.raises(ValueError, match="broken"):
        fail()
    assert files(store) == []


def test_an_interrupt_while_a_copy_is_hashed_leaves_nothing(store):
    """Nor does it leave a copy without a record."""
    stopped = Interrupt()
    stopped.set(2)
    with store.claim(KEY) as temporary:
        temporary.write_bytes(b"weights")
        with pytest.raises(Interrupted):
            store.add(KEY, "tiny", temporary, stopped)
    assert files(store) == [] and store.find(KEY) is None


def test_the_leftovers_of_a_killed_process_are_removed(store):
    """By the next derivation: an unfinished file of any copy, and a copy without a record."""
    put(store)
    for name in (f"{key(1).stem}.tmp", f"{key(1).stem}.lock", f"{key(2).stem}.gguf", f"{KEY.stem}.tmp"):
        (store.directory / name).write_bytes(b"half")
    put(store, key(3))
    stems = {path.stem for path in store.directory.iterdir()}
    assert stems == {KEY.stem, key(3).stem} and not list(store.directory.glob("*.tmp"))


def test_who_waits_for_a_copy_gets_the_finished_one(store):
    """Nothing is made twice."""
    made = []

    def finish():
        if not made:
            made.append(put(store, key(1)))
            claimed.__exit__(None, None, None)

    claimed = store.claim(KEY)
    temporary = claimed.__enter__()
    temporary.write_bytes(b"weights")
    store.add(KEY, "tiny", temporary, Interrupt())
    with store.claim(KEY, finish) as again:
        assert again is None
    assert made


def test_who_waits_for_a_copy_can_be_interrupted(store):
    """What the check raises ends the wait."""

    def stop():
        raise Interrupted

    with store.claim(KEY), pytest.raises(Interrupted), store.claim(KEY, stop):
        pass


def test_the_copies_of_earlier_builds_are_replaced(store):
    """They are never found again."""
    old = put(store, DerivedKey(KEY.source, KEY.weights, "build 0"))
    put(store)
    assert not old.path.exists() and store.find(KEY)


def test_the_least_recently_used_copies_make_room(store):
    """As many as are needed, by their last use."""
    copies = [put(store, key(number), bytes(3000), used=1000 - number) for number in range(3)]
    store.hold(key(2)).close()  # now it is the last one that was used
    store.make_room("tiny", 3000)
    assert [copy.path.exists() for copy in copies] == [True, False, True]


def test_a_copy_in_use_is_not_evicted(store):
    """Another process that holds it is enough; then there is no room."""
    copy = put(store, KEY, bytes(8000))
    command = [sys.executable, "-c", HOLD_AND_WAIT, str(store.directory), KEY.source, KEY.weights, KEY.build]
    environ = {**os.environ, "PYTHONPATH": str(ROOT)}
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environ) as holder:
        assert holder.stdout.readline() == b"held\n"
        with pytest.raises(NoRoomForWeights) as caught:
            store.make_room("tiny", 4000)
        holder.stdin.close()
        holder.wait()
    assert (caught.value.needed, caught.value.limit) == (4000, 10_000) and caught.value.available < 2000
    assert caught.value.exit_code == 73 and copy.path.exists()
    store.make_room("tiny", 4000)
    assert not copy.path.exists()


def test_more_than_the_limit_is_refused_without_evicting(store):
    """The figures are those of the setting."""
    copy = put(store)
    with pytest.raises(NoRoomForWeights) as caught:
        store.make_room("tiny in bf16", 10_001)
    assert (caught.value.needed, caught.value.available, caught.value.limit) == (10_001, 10_000, 10_000)
    assert caught.value.subject == "tiny in bf16" and copy.path.exists()


def test_a_disk_that_is_too_small_is_refused_without_evicting(store, monkeypatch):
    """The figures are those of the disk."""
    copy = put(store)
    monkeypatch.setattr(derived_weights.os, "statvfs", lambda _: SimpleNamespace(f_bavail=2, f_frsize=1000))
    with pytest.raises(NoRoomForWeights) as caught:
        store.make_room("tiny", 5000)
    assert (caught.value.needed, caught.value.available, caught.value.limit) == (5000, 2000, None)
    assert copy.path.exists()


def test_a_directory_that_cannot_be_created_is_named(tmp_path):
    """The path names the obstacle."""
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(CannotCreate), DerivedWeightsStore(tmp_path / "file" / "derived", 10).claim(KEY):
        pass


def test_the_copies_of_a_model_are_removed_together(store):
    """Those of other models stay."""
    for weights in ("bf16", "f16"):
        put(store, DerivedKey(KEY.source, weights, "build 1"))
    other = put(store, key(1))
    assert len(store.remove(KEY.source)) == 2
    assert [copy.path for copy in store.list_copies()] == [other.path]
    assert store.remove(KEY.source) == []


def test_what_no_model_needs_is_listed(store):
    """Copies of missing models with their records, and leftovers; not the copies of known models."""
    put(store)
    orphan = put(store, key(1), bytes(100))
    (store.directory / f"{key(2).stem}.tmp").write_bytes(b"half")
    found = {path.name: (size, what) for path, size, what in store.find_unneeded({KEY.source})}
    assert set(found) == {orphan.path.name, f"{key(1).stem}.json", f"{key(2).stem}.tmp"}
    assert found[orphan.path.name] == (100, "derived weights of tiny, a missing model")
    assert found[f"{key(2).stem}.tmp"] == (4, "unfinished derived weights")


def test_a_copy_that_is_being_made_is_needed(store):
    """Another process writes it."""
    with store.claim(KEY):
        assert store.find_unneeded(set()) == []


def test_verification_finds_bytes_that_changed_alone(store):
    """Size and time are unchanged, so nothing else finds it."""
    copy = put(store)
    status = copy.path.stat()
    copy.path.write_bytes(b"weightz")
    os.utime(copy.path, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert store.find(KEY) is not None

    def outcome():
        steps = store.verify(copy, Interrupt())
        try:
            while True:
                assert next(steps).unit == "bytes"
        except StopIteration as end:
            return end.value

    assert outcome() is False and store.find(KEY) is None
    copy = put(store)
    assert outcome() is True and store.find(KEY) is not None


def test_the_divergence_is_part_of_the_record(store):
    """It is None until it was measured."""
    copy = put(store)
    store.record_divergence(copy, 0.0021)
    assert store.find(KEY).divergence == 0.0021


def test_copies_can_be_used_from_a_cache_that_cannot_be_written(store, monkeypatch):
    """Only their last use is not recorded."""
    put(store)

    def refuse(*_, **__):
        raise PermissionError(13, "read-only")

    monkeypatch.setattr(derived_weights.os, "utime", refuse)
    with store.hold(KEY) as held:
        assert held.copy.path.read_bytes() == b"weights"


def test_a_copy_in_use_is_not_removed_as_unused(store):
    """Another measurement of the same model may still time it."""
    copy = put(store)
    with store.hold(KEY):
        store.remove_unused(copy)
        assert copy.path.exists()
    store.remove_unused(copy)
    assert files(store) == []
