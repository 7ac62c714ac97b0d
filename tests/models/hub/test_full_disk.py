"""A disk that is full before a download, or fills up during it: 74, and the bytes are used later."""

from __future__ import annotations

import hashlib
import os
import random
import resource
import subprocess
from pathlib import Path

import pytest
from fake_hub import QUICK_RETRIES, REPO

from llmcli.errors import OutputError
from llmcli.interrupt import Interrupt
from llmcli.models.hub.download import DownloadTarget, download
from llmcli.models.hub.hub_cache import HubCache
from llmcli.models.hub.hub_client import HubClient, RemoteFile

_MB = 1 << 20
CONTENT = b"GGUF" + 15 * random.Random(1).randbytes(_MB)
DIGEST = hashlib.sha256(CONTENT).hexdigest()


class Mounted:
    """An in-memory file system of 20 MB at ``path``."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.mount()

    def mount(self) -> None:
        subprocess.run(["mount", "-t", "tmpfs", "-o", "size=20m", "llmcli", self.path], check=True, capture_output=True)

    def fill(self) -> None:
        """Leave two megabytes."""
        free = os.statvfs(self.path).f_bavail * os.statvfs(self.path).f_frsize
        (self.path / "ballast").write_bytes(bytes(free - 2 * _MB))

    def empty(self) -> None:
        (self.path / "ballast").unlink()

    def close(self) -> None:
        subprocess.run(["umount", "-l", self.path], check=True, capture_output=True)


class Limited:
    """Without permission to mount: this process may write no more of a file, which has the same effect."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._before = resource.getrlimit(resource.RLIMIT_FSIZE)

    def fill(self) -> None:
        """Leave two megabytes."""
        written = max((file.stat().st_size for file in self.path.rglob("*") if file.is_file()), default=0)
        resource.setrlimit(resource.RLIMIT_FSIZE, (written + 2 * _MB, self._before[1]))

    def empty(self) -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, self._before)

    close = empty


@pytest.fixture
def disk(tmp_path):
    """Return a disk of 20 MB."""
    path = tmp_path / "disk"
    path.mkdir()
    try:
        made = Mounted(path)
    except (OSError, subprocess.CalledProcessError):  # not root, or not permitted here
        made = Limited(path)
    yield made
    made.close()


@pytest.fixture
def fetch(hub, disk):
    """Return a function that downloads a file of 15 MB to the disk and yields the progress."""
    hub.repos[REPO] = {"m.gguf": CONTENT}
    wanted = DownloadTarget(REPO, hub.commit, RemoteFile("m.gguf", len(CONTENT), DIGEST), "m")
    return lambda: download(HubClient(os.environ, QUICK_RETRIES), HubCache(disk.path / "hub"), wanted, Interrupt())


def test_a_disk_that_fills_up(hub, disk, fetch):
    """The bytes are kept, and the rest is fetched once there is space."""
    events = fetch()
    while next(events).done < 3 * _MB:
        pass
    disk.fill()
    with pytest.raises(OutputError) as caught:
        list(events)
    assert caught.value.exit_code == 74
    (partial,) = (disk.path / "hub").rglob("*.incomplete")
    kept = partial.stat().st_size
    assert 3 * _MB <= kept < len(CONTENT) and partial.read_bytes() == CONTENT[:kept]
    disk.empty()
    list(fetch())
    (blob,) = (disk.path / "hub").rglob("blobs/*")
    assert (blob.name, hashlib.sha256(blob.read_bytes()).hexdigest()) == (DIGEST, DIGEST)
    assert hub.asked[-1].headers["range"].startswith("bytes=")


def test_a_disk_that_is_too_small(hub, disk, monkeypatch, make_library):
    """A file that can never fit is refused before a byte is fetched."""
    monkeypatch.setenv("HF_HOME", str(disk.path))
    hub.repos[REPO] = {"m.Q8_0.gguf": CONTENT}
    hub.sizes[REPO, "m.Q8_0.gguf"] = 1 << 60
    with pytest.raises(OutputError, match=f"{1 << 60:,} bytes are needed") as caught:
        list(make_library().pull(REPO, Interrupt()))
    assert caught.value.exit_code == 74
    assert hub.paths("storage") == []
