"""Pruning: unused files are removed, files that may be in use stay."""

from __future__ import annotations

import fcntl
import hashlib
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from llmcli.errors import OutputError
from llmcli.models.hub import partial_file
from llmcli.models.hub.hub_cache import HubCache
from llmcli.models.library.prune import PruneCandidate, find_prune_candidates, remove_candidate

REPO, OLD, NEW = "owner/repo-GGUF", "a" * 40, "b" * 40
HASH = "0" * 64
DAY = 24 * 3600


@pytest.fixture
def cache(tmp_path):
    return HubCache(tmp_path / "hub")


@pytest.fixture
def find(cache, tmp_path):
    """Return a function that returns the candidates as pairs of name and kind."""

    def found():
        waste = find_prune_candidates(cache, tmp_path / "own", tmp_path / "scratch", tmp_path / "models.json")
        return [(each.path.name, each.description) for each in waste]

    return found


def put(cache, content=b"x", file="m.gguf", revision=OLD, age=DAY) -> Path:
    """Name a file in the cache that was written some seconds ago, and return its blob."""
    digest = hashlib.sha256(content).hexdigest()
    blob = write(cache.blob_path(REPO, digest), content, age)
    cache.link_blob(REPO, revision, file, digest)
    return blob


def write(path: Path, content=b"x", age=DAY) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    os.utime(path, (time.time() - age,) * 2)
    return path


@pytest.fixture
def dead():
    """Return the process id of a process that has ended."""
    child = subprocess.Popen([sys.executable, "-c", ""])
    child.wait()
    return child.pid


@pytest.fixture
def alive():
    """Return the process id of a living process."""
    return os.getppid()


def partial_of(cache, pid, digest=HASH, host=None) -> Path:
    return cache.blob_path(REPO, digest).with_name(f"{digest}.{host or partial_file._host_name()}.{pid}.incomplete")


# ---- what is waste ---------------------------------------------------------------------------------------------------


def test_nothing(cache, find):
    """If everything is in order, or there is nothing, nothing is found."""
    assert find() == []
    put(cache)
    assert find() == []


@pytest.mark.parametrize("age", [0, DAY])
def test_a_partial_file_without_an_owner(cache, find, dead, age):
    """The leftover of an ended process is found, however recent it is."""
    path = write(partial_of(cache, dead), age=age)
    assert find() == [(path.name, "unfinished download")]


def test_a_partial_file_with_an_owner(cache, find, alive):
    """The file of a living process stays."""
    write(partial_of(cache, alive), age=0)
    assert find() == []


@pytest.mark.parametrize(("age", "there"), [(0, 0), (DAY, 1)])
def test_a_partial_file_of_another_machine(cache, find, age, there):
    """A file that another machine wrote within the hour stays."""
    write(partial_of(cache, 1, host="elsewhere"), age=age)
    assert len(find()) == there


@pytest.mark.parametrize("name", [f"{HASH}.incomplete", f"{HASH}.0123abcd.incomplete", f"{'1' * 40}.incomplete"])
def test_a_partial_file_of_the_hubs_client(cache, find, name):
    """Its name does not show its process: it is abandoned if it was not written for a day and is not locked."""
    path = write(cache.blob_path(REPO, HASH).with_name(name), age=DAY - 100)
    assert find() == []
    write(path, age=DAY + 100)
    assert find() == [(name, "unfinished download")]


def test_a_partial_file_whose_lock_is_held(cache, find):
    """A process that sleeps for days still holds its lock."""
    write(cache.blob_path(REPO, HASH).with_name(f"{HASH}.0123abcd.incomplete"), age=2 * DAY)
    lock = cache.lock_path(REPO, HASH)
    lock.parent.mkdir(parents=True)
    with lock.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        assert find() == []
    assert len(find()) == 1


def test_a_file_without_a_name(cache, find):
    """A blob that no snapshot links to; also blobs of other kinds of files."""
    put(cache, b"needed")
    write(cache.blob_path(REPO, HASH))
    write(cache.blob_path(REPO, "1" * 40))
    assert find() == [(HASH, "unreferenced file"), ("1" * 40, "unreferenced file")]


@pytest.mark.parametrize("fresh", ["itself", "another"])
def test_a_file_that_is_not_linked_yet(cache, find, fresh):
    """Present parts of a model have no name yet: if one is recent, none is removed."""
    write(cache.blob_path(REPO, HASH), age=0 if fresh == "itself" else DAY)
    write(cache.blob_path(REPO, "1" * 64), age=0)
    assert find() == []


def test_a_part_of_a_download_under_way(cache, find, alive, dead):
    """While a living process fetches another file of the repository, nothing of it counts as unused."""
    write(cache.blob_path(REPO, HASH))
    fetching = write(partial_of(cache, alive, "1" * 64), age=0)
    left = write(partial_of(cache, dead, "2" * 64))
    assert find() == [(left.name, "unfinished download")]
    fetching.unlink()
    assert find() == [(left.name, "unfinished download"), (HASH, "unreferenced file")]


def test_a_file_that_another_repository_needs(cache, find):
    """A link may come from anywhere in the cache: from another repository, or from a blob that is a link itself."""
    for number, place in enumerate(["snapshots/" + OLD + "/m.gguf", "blobs/" + "2" * 64]):
        blob = write(cache.blob_path(REPO, str(number) * 64))
        link = cache.repository_directory("other/repo") / place
        link.parent.mkdir(parents=True, exist_ok=True)
        link.symlink_to(os.path.relpath(blob, link.parent))
        os.utime(link, (1, 1), follow_symlinks=False)
    assert find() == [("2" * 64, "unreferenced file")]


def test_a_file_of_the_shared_store(cache, find, tmp_path):
    """A file without any link is found after an hour, and removed with the list of its links."""
    stored = write(cache.root / "blobs" / "ff" / ("f" * 64), b"123")
    references = write(stored.with_name(f"{stored.name}.refs"), b"")
    write(cache.root / "blobs" / ".huggingface-shared-blobs", b"1\n")
    link = cache.blob_path(REPO, HASH)
    link.parent.mkdir(parents=True)
    link.symlink_to(os.path.relpath(stored, link.parent))
    (cache.repository_directory(REPO) / "snapshots" / OLD).mkdir(parents=True)
    (cache.repository_directory(REPO) / "snapshots" / OLD / "m.gguf").symlink_to(f"../../blobs/{HASH}")
    assert find() == []
    link.unlink()
    (waste,) = [
        each
        for each in find_prune_candidates(cache, tmp_path, tmp_path, tmp_path / "models.json")
        if each.path == stored
    ]
    assert waste.size == 3
    remove_candidate(waste, cache)
    assert not stored.exists() and not references.exists()


def test_a_cache_that_is_reached_through_a_link(cache, tmp_path, find):
    """Under whatever path the cache is reached, its files are needed under their names."""
    put(cache)
    (tmp_path / "link").symlink_to(tmp_path / "hub")
    for root in (tmp_path / "link", tmp_path / "hub" / ".." / "hub", tmp_path / "link" / ".." / "hub"):
        assert (
            find_prune_candidates(HubCache(root), tmp_path / "own", tmp_path / "scratch", tmp_path / "models.json")
            == []
        )


def test_names_by_hard_link(cache, find, monkeypatch):
    """Without symbolic links, a blob has more than one name."""

    def refuse(*_):
        raise OSError

    monkeypatch.setattr(Path, "symlink_to", refuse)
    put(cache)
    assert find() == []


def test_a_directory_that_cannot_be_read(cache, find, monkeypatch):
    """Its contents would seem unused, so nothing is found at all."""
    put(cache)
    real = os.scandir

    def refuse(path):
        if str(path).endswith("snapshots"):
            raise PermissionError(13, "Permission denied", str(path))
        return real(path)

    monkeypatch.setattr(os, "scandir", refuse)
    with pytest.raises(OutputError, match="Permission denied"):
        find()


def test_a_name_without_a_file(cache, find):
    """A link whose blob is gone; not a link into a store that is not mounted now."""
    put(cache).unlink()
    away = put(cache, b"y", "n.gguf")
    away.unlink()
    away.symlink_to("/not/mounted/now")
    os.utime(away, (1, 1), follow_symlinks=False)
    assert find() == [("m.gguf", "name without a file")]


def test_an_abandoned_import(find, tmp_path, alive, dead):
    """The leftovers of a killed import; copies and running imports stay."""
    write(tmp_path / "own" / f"import.{partial_file._host_name()}.{alive}.incomplete" / "mine.gguf")
    left = write(tmp_path / "own" / f"import.{partial_file._host_name()}.{dead}.incomplete" / "mine.gguf").parent
    write(tmp_path / "own" / "mine.gguf")
    write(tmp_path / "own" / "notes.incomplete")
    assert find() == [(left.name, "unfinished import")]


@pytest.mark.parametrize(("age", "there"), [(0, 0), (2 * DAY, 1)])
def test_an_abandoned_wheel(find, tmp_path, age, there):
    """The leftovers of a killed pip are removed after a day."""
    file = write(tmp_path / "scratch" / "wheel-x" / "part", b"12345")
    os.utime(file.parent, (time.time() - age,) * 2)
    write(tmp_path / "scratch" / "other" / "part")
    assert len(find()) == there


# ---- removing --------------------------------------------------------------------------------------------------------


@pytest.fixture
def stocked(make_library, cache, dead):
    """Return a library with some unused files, and those files."""
    library = make_library()
    cache.root = library.cache.root
    put(cache, b"needed")
    write(partial_of(cache, dead), b"12345")
    write(cache.blob_path(REPO, "1" * 64), b"123")
    gone = cache.blob_path(REPO, "2" * 64)
    link = cache.link_blob(REPO, NEW, "gone.gguf", gone.name)
    wheel = write(library._scratch_directory / "wheel-x" / "part", b"12").parent
    os.utime(wheel, (1, 1))
    waste = library.remover.find_prune_candidates()
    assert {each.path.name: each.size for each in waste} == {
        partial_of(cache, dead).name: 5,
        "1" * 64: 3,
        link.name: 0,
        "wheel-x": 2,
    }
    return library, waste


def test_prune(stocked, cache):
    """All of it is removed, the rest stays, and a second run finds nothing."""
    library, waste = stocked
    assert library.remover.prune(waste) == waste
    assert library.remover.find_prune_candidates() == [] and not any(os.path.lexists(each.path) for each in waste)
    assert [file.file for file in cache.files(REPO)] == ["m.gguf"]


def test_only_confirmed_files_are_removed(stocked):
    """Files that are found after the confirmation stay."""
    library, waste = stocked
    assert library.remover.prune(waste[:1]) == waste[:1]
    assert library.remover.find_prune_candidates() == waste[1:]


def test_files_claimed_meanwhile_stay(stocked, alive):
    """Another process may have claimed a file since it was found."""
    library, waste = stocked
    left = next(each.path for each in waste if each.path.suffix == ".incomplete")
    name = left.name.split(".")
    claimed = left.rename(left.with_name(f"{name[0]}.{name[1]}.{alive}.incomplete"))
    removed = library.remover.prune(waste)
    assert claimed.exists() and PruneCandidate(left, 5, "unfinished download") not in removed


def test_records_of_missing_files_are_removed(make_library, interrupt, tmp_path, tiny):
    """Records of missing files are removed, with the times of their use; other records stay."""
    paths = [tmp_path / "a.gguf", tmp_path / "b.gguf"]
    for path, name in zip(paths, ("llama", "chatml"), strict=True):
        path.write_bytes(tiny(name).read_bytes())
        make_library().ensure_verified(str(path), interrupt)
    paths[0].unlink()
    library = make_library()
    assert len(library.last_used.marker_files()) == 2
    library.remover.prune([])
    assert (
        list(make_library().registry.sections["files"])
        == list(make_library().registry.sections["names"])
        == [str(paths[1])]
    )
    assert list(library.last_used.marker_files()) == [hashlib.sha256(paths[1].read_bytes()).hexdigest()]
