"""The Hugging Face cache: its directory, its contents, and compatibility with other tools."""

from __future__ import annotations

import fcntl
import hashlib
import os
from pathlib import Path

import pytest

from llmcli.errors import OutputError
from llmcli.models.files.paths import announced_sha256, hub_cache_directory
from llmcli.models.hub.hub_cache import CachedFile, HubCache

REPO, OLD, NEW = "owner/repo-GGUF", "a" * 40, "b" * 40


@pytest.fixture
def cache(tmp_path):
    return HubCache(tmp_path / "hub")


def put(cache, content=b"x", file="m.gguf", revision=OLD, branch=None) -> Path:
    digest = hashlib.sha256(content).hexdigest()
    blob = cache.blob_path(REPO, digest)
    blob.parent.mkdir(parents=True, exist_ok=True)
    blob.write_bytes(content)
    return cache.link_blob(REPO, revision, file, digest, branch=branch)


@pytest.mark.parametrize(
    ("environ", "directory"),
    [
        ({"HF_HUB_CACHE": "/x/hub", "HF_HOME": "/y"}, "/x/hub"),
        ({"HUGGINGFACE_HUB_CACHE": "/x/old"}, "/x/old"),
        ({"HF_HOME": "/y"}, "/y/hub"),
        ({"XDG_CACHE_HOME": "/z"}, "/z/huggingface/hub"),
        ({"HOME": "/home/me"}, "/home/me/.cache/huggingface/hub"),
    ],
)
def test_directory(environ, directory):
    """The environment determines the cache's directory, in the same order as for the Hub's own client."""
    assert hub_cache_directory(environ) == Path(directory)


def test_other_tools(cache):
    """The Hub's own client finds the files that llm stored, by branch and by commit."""
    from huggingface_hub import scan_cache_dir, try_to_load_from_cache

    path = put(cache, branch="main")
    assert try_to_load_from_cache(REPO, "m.gguf", cache_dir=cache.root) == str(path)
    assert try_to_load_from_cache(REPO, "m.gguf", cache_dir=cache.root, revision=OLD) == str(path)
    scan = scan_cache_dir(cache.root)
    assert not scan.warnings
    assert [repo.repo_id for repo in scan.repos] == [REPO]


def test_files(cache):
    """GGUF files are found with repository, path and commit; other files and unsafe names are not."""
    path = put(cache, file="sub/m.gguf")
    put(cache, file="config.json")
    put(cache, file="mmproj-f16.gguf")
    (cache.root / "models--..--x" / "snapshots" / OLD).mkdir(parents=True)
    (cache.root / "models--..--x" / "snapshots" / OLD / "m.gguf").write_bytes(b"x")
    assert cache.files() == [CachedFile(REPO, "sub/m.gguf", OLD, path)]


def test_main_wins(cache):
    """Of several commits the one of the main branch is listed."""
    put(cache, b"1", revision=OLD, branch="main")
    put(cache, b"2", revision=NEW)
    assert [file.revision for file in cache.files(REPO)] == [OLD]


def test_dangling(cache):
    """A link to a missing blob is no model."""
    put(cache).resolve().unlink()
    assert cache.files() == []


def test_replace(cache):
    """Storing a file again replaces the link and leaves nothing beside it."""
    put(cache, b"1")
    path = put(cache, b"2")
    assert path.read_bytes() == b"2"
    assert list(path.parent.iterdir()) == [path]


def test_announced(cache, tmp_path):
    """The announced hash is the blob's name behind the snapshot's link; other files have none."""
    path = put(cache, b"1")
    digest = hashlib.sha256(b"1").hexdigest()
    assert announced_sha256(path) == announced_sha256(cache.blob_path(REPO, digest)) == digest
    assert announced_sha256(tmp_path / digest) is None


def test_shared_store(cache):
    """A blob that links into the client's shared store still has its own name as its announced hash."""
    path = put(cache, b"1")
    blob = cache.blob_path(REPO, hashlib.sha256(b"1").hexdigest())
    store = cache.root / "blobs" / "ff" / ("f" * 64)
    store.parent.mkdir(parents=True)
    blob.replace(store)
    blob.symlink_to(store)
    assert announced_sha256(path) == blob.name


def test_remove(cache):
    """Removing a file removes its links from all snapshots, its blob, and the directories that become empty."""
    links = [put(cache, revision=OLD), put(cache, revision=NEW)]
    blob = links[0].resolve()
    assert set(cache.remove(REPO, ("m.gguf",))) == {*links, blob}
    assert not blob.exists()
    assert list((cache.repository_directory(REPO) / "snapshots").iterdir()) == []


def test_shared_blob_stays(cache):
    """A blob that another name needs stays."""
    path = put(cache, file="a.gguf")
    other = put(cache, file="b.gguf")
    assert cache.remove(REPO, ("a.gguf",)) == [path]
    assert other.read_bytes() == b"x"


@pytest.fixture
def store(cache):
    """Return a function that moves a blob into the store of the Hub's client, as the client itself does."""

    def share(path) -> Path:
        blob = cache.blob_path(REPO, path.readlink().name)
        stored = cache.root / "blobs" / "ff" / ("f" * 64)
        stored.parent.mkdir(parents=True)
        (cache.root / "blobs" / ".huggingface-shared-blobs").write_text("1\n")
        stored.with_name(f"{stored.name}.refs").write_text(f"{blob.relative_to(cache.root)}\n")
        blob.replace(stored)
        blob.symlink_to(os.path.relpath(stored, blob.parent))
        return stored

    return share


def test_remove_from_the_shared_store(cache, store):
    """A file of the store is removed with the last link to it, and the client finds the store consistent."""
    from huggingface_hub import scan_cache_dir

    stored = store(put(cache))
    assert stored in cache.remove(REPO, ("m.gguf",))
    assert not stored.exists() and not scan_cache_dir(cache.root).warnings


def test_another_repository_needs_it(cache, store):
    """A file of the store that another repository links to stays, whatever kind of repository that is."""
    stored = store(put(cache))
    other = cache.root / "datasets--other--data" / "blobs" / "x"
    other.parent.mkdir(parents=True)
    other.symlink_to(os.path.relpath(stored, other.parent))
    assert stored not in cache.remove(REPO, ("m.gguf",))
    assert other.read_bytes() == b"x"


@pytest.mark.parametrize("obstacle", ["lock", "list", "marker"])
def test_the_shared_store_in_use(cache, store, obstacle):
    """It stays while the client works with it, or if its users are unknown."""
    path = put(cache)
    stored = store(path)
    with stored.with_name(f"{stored.name}.lock").open("w") as lock:
        if obstacle == "lock":
            fcntl.flock(lock, fcntl.LOCK_EX)
        elif obstacle == "list":
            stored.with_name(f"{stored.name}.refs").unlink()
        else:
            (cache.root / "blobs" / ".huggingface-shared-blobs").write_text("2\n")
        assert stored not in cache.remove(REPO, ("m.gguf",))
    assert stored.exists() and not path.is_symlink()


def test_unwritable(cache, tmp_path):
    """A cache that cannot be written is an output error with its path."""
    (tmp_path / "hub").write_text("a file")
    with pytest.raises(OutputError) as caught:
        cache.link_blob(REPO, OLD, "m.gguf", "0" * 64)
    assert str(tmp_path / "hub") in caught.value.subject
