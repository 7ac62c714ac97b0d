"""The download loop: whatever the servers do, the file is right or missing, and nothing is fetched twice."""

from __future__ import annotations

import errno
import fcntl
import hashlib
import itertools
import os
import random
import re
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import pytest
from fake_hub import QUICK_RETRIES, REPO, Fault

from llmcli.errors import Interrupted, MissingError, OutputError, RemoteError, TemporaryFailure, Terminated
from llmcli.errors.network_errors import HubUnreachable, TransferStalled
from llmcli.fast_dataclass import frozen
from llmcli.interrupt import Interrupt
from llmcli.models.hub.download import DownloadTarget, check_download_space, download
from llmcli.models.hub.hub_cache import HubCache
from llmcli.models.hub.hub_client import HubClient, RemoteFile
from llmcli.models.hub.partial_file import PartialFile, orphaned_partials
from llmcli.network.transfers import DownloadRetryPolicy, StallDetector
from llmcli.types import Notice, Progress

CONTENT = b"GGUF" + random.Random(1).randbytes(1_499_996)
DIGEST = hashlib.sha256(CONTENT).hexdigest()
FILE = "tiny.Q8_0.gguf"


class World:
    """One file to fetch from ``hub`` into ``cache``."""

    def __init__(self, hub, cache) -> None:
        self.hub, self.cache = hub, cache
        self.blob = cache.blob_path(REPO, DIGEST)
        self.wanted = DownloadTarget(REPO, hub.commit, RemoteFile(FILE, len(CONTENT), DIGEST), "tiny")

    def download(self, interrupt=None, retry_policy=QUICK_RETRIES):
        return list(download(HubClient(os.environ, retry_policy), self.cache, self.wanted, interrupt or Interrupt()))

    def fails(self, error, **kwargs):
        with pytest.raises(error) as caught:
            self.download(**kwargs)
        assert not self.blob.exists()
        return caught.value

    def leave(self, content, owner="otherhost.1"):
        """Leave a partial file of another process."""
        self.blob.parent.mkdir(parents=True, exist_ok=True)
        path = self.blob.with_name(f"{DIGEST}.{owner}.incomplete")
        path.write_bytes(content)
        return path

    def partials(self):
        return sorted(self.blob.parent.glob("*.incomplete"))

    def ranges(self):
        return [asked.headers.get("range") for asked in self.hub.asked if asked.server == "storage"]


@pytest.fixture
def world(hub, tmp_path):
    hub.repos[REPO] = {FILE: CONTENT}
    return World(hub, HubCache(tmp_path / "hub"))


def own_host() -> str:
    """Return this machine's name as used in partial files."""
    return re.sub(r"[^A-Za-z0-9-]", "-", os.uname().nodename)[:40]


def dead_process() -> int:
    """Return the process id of a process that has ended."""
    process = os.fork()
    if process == 0:
        os._exit(0)
    os.waitpid(process, 0)
    return process


def test_a_complete_download(world):
    """The file is stored under its hash, nothing else remains, and progress goes from nothing to everything."""
    events = world.download()
    assert world.blob.read_bytes() == CONTENT
    assert [path.name for path in world.blob.parent.iterdir()] == [DIGEST]
    assert all(isinstance(event, Progress) and event.total == len(CONTENT) for event in events)
    assert (events[0].done, events[-1].done) == (0, len(CONTENT))


def test_a_present_file_is_not_fetched(world):
    """A correct file is not fetched again."""
    world.download()
    world.hub.asked.clear()
    assert world.download() == []
    assert world.hub.asked == []


def test_a_damaged_file_is_fetched_again(world):
    """A damaged file is fetched again."""
    world.download()
    world.blob.write_bytes(b"\0" * len(CONTENT))
    world.download()
    assert world.blob.read_bytes() == CONTENT


def test_a_dropped_connection_is_resumed(world):
    """After a dropped connection the download continues where it was."""
    world.hub.storage_faults = [Fault(drop=600_000), Fault(drop=500_000)]
    world.download()
    assert world.blob.read_bytes() == CONTENT
    starts = [int(given.removeprefix("bytes=").rstrip("-")) for given in world.ranges() if given]
    assert len(starts) == 2
    assert 0 < starts[0] <= 600_000 < starts[1] <= 1_100_000


def test_progress_resets_the_attempts(world):
    """A connection that drops more often than there are attempts, but makes progress each time, completes."""
    world.hub.storage_faults = [Fault(drop=300_000)] * 4
    world.download(retry_policy=DownloadRetryPolicy(max_tries=2, first_pause_s=0.001))
    assert world.blob.read_bytes() == CONTENT


def test_a_server_without_ranges(world):
    """A server that cannot resume sends the file from the beginning, and the result is right."""
    world.hub.ranges = False
    world.hub.storage_faults = [Fault(drop=600_000)]
    world.download()
    assert world.blob.read_bytes() == CONTENT


def test_a_server_without_ranges_keeps_matching_bytes(world):
    """Bytes are kept while a server without ranges sends them again, and a login page does not replace them."""
    world.hub.ranges = False
    world.hub.storage_faults = [Fault(drop=600_000), Fault(drop=300_000), Fault(portal="raw")]
    assert "does not begin like a GGUF file" in world.fails(RemoteError).detail
    kept = world.partials()[0].read_bytes()
    assert len(kept) > 500_000 and CONTENT.startswith(kept)


def test_a_server_without_ranges_corrects_leftovers(world):
    """If leftover bytes differ from those of a server without ranges, the server's count: one response is enough."""
    world.hub.ranges = False
    world.leave(CONTENT[:300_000] + b"x" * 400_000, f"{own_host()}.{dead_process()}")
    world.download()
    assert world.blob.read_bytes() == CONTENT
    assert world.ranges() == ["bytes=700000-"]


def test_a_download_without_progress_ends(world):
    """A connection that always breaks at the same byte ends with 75, and the bytes are kept."""
    world.hub.ranges = False
    world.hub.storage_faults = [Fault(drop=600_000)] * 9
    assert world.fails(TemporaryFailure).exit_code == 75
    assert 3 <= len(world.ranges()) <= 4
    assert len(world.partials()) == 1


def test_a_stalled_connection_is_resumed(world):
    """A stalled connection is dropped and resumed."""
    world.hub.storage_faults = [Fault(stall=600_000)]
    world.download(retry_policy=DownloadRetryPolicy(read_timeout_s=0.2, first_pause_s=0.001))
    assert world.blob.read_bytes() == CONTENT


@frozen
class SlowTransfers(DownloadRetryPolicy):
    """The retry policy under which each look at the clock finds that ``step_s`` seconds have passed."""

    step_s: float = 0.0

    def make_stall_detector(self, subject):
        clock = itertools.count(0.0, self.step_s).__next__
        return StallDetector(subject, min_bytes_per_s=self.min_bytes_per_s, clock=clock)


def test_a_very_slow_server_is_a_stall(world):
    """A server that is too slow for too long ends the download with 75; the next one continues after the bytes."""
    world.hub.always = Fault(slow=0.001)  # in blocks
    error = world.fails(TransferStalled, retry_policy=SlowTransfers(step_s=25.0, min_bytes_per_s=1e6))
    assert error.exit_code == 75 and error.detail.endswith("bytes a second for 60 seconds")
    kept = world.partials()[0].stat().st_size
    world.hub.always = Fault()
    world.hub.asked.clear()
    world.download()
    assert world.blob.read_bytes() == CONTENT
    assert kept > 0 and world.ranges() == [f"bytes={kept}-"]


@pytest.mark.slow
def test_a_server_that_stalls_after_each_piece_ends_the_download(world):
    """After several responses that stall the download ends, and the bytes are kept."""
    world.hub.always = Fault(stall=100_000)
    error = world.fails(
        TransferStalled, retry_policy=DownloadRetryPolicy(read_timeout_s=0.25, first_pause_s=0.001, max_read_timeouts=4)
    )
    assert error.detail == "the server stopped sending 4 times"
    assert world.partials()[0].read_bytes() == CONTENT[:400_000]
    # a request that a busy machine answers too late is sent again
    assert set(world.ranges()) == {None, "bytes=100000-", "bytes=200000-", "bytes=300000-"}


@pytest.mark.slow
def test_enough_progress_forgives_stalls(world):
    """A server that stops sometimes, but makes enough progress in between, completes."""
    world.hub.always = Fault(stall=300_000)
    world.download(
        retry_policy=DownloadRetryPolicy(
            read_timeout_s=0.25, first_pause_s=0.001, max_tries=2, max_read_timeouts=3, timeout_reset_bytes=600_000
        )
    )
    assert world.blob.read_bytes() == CONTENT
    assert len(world.ranges()) > 3


def test_a_flipped_bit(world):
    """One wrong bit is 76, and the bad bytes are removed."""
    world.hub.storage_faults = [Fault(flip=True)]
    error = world.fails(RemoteError)
    assert error.exit_code == 76
    assert DIGEST in error.detail
    assert world.partials() == []


def test_a_flipped_bit_keeps_earlier_bytes(world):
    """The response with the wrong bit is discarded; the bytes before it stay, and the next attempt needs no others."""
    world.hub.storage_faults = [Fault(drop=600_000), Fault(flip=True)]
    assert world.fails(RemoteError).exit_code == 76
    kept = world.partials()[0].read_bytes()
    assert len(kept) > 500_000 and CONTENT.startswith(kept)
    world.download()
    assert world.blob.read_bytes() == CONTENT
    assert world.ranges()[-1] == f"bytes={len(kept)}-"


@pytest.mark.parametrize("portal", ["html", "raw"])
def test_a_login_page(world, portal):
    """A login page instead of the file is 76, even with the file's length and type."""
    world.hub.storage_faults = [Fault(portal=portal)]
    world.fails(RemoteError)
    assert world.partials() == []


def test_a_login_page_keeps_earlier_bytes(world):
    """A login page in the middle of a download does not lose the earlier bytes."""
    world.hub.storage_faults = [Fault(drop=600_000), Fault(portal="html")]
    world.fails(RemoteError)
    assert CONTENT.startswith(world.partials()[0].read_bytes())


def test_a_shorter_file(world):
    """A server that promises another length than announced is 76."""
    world.hub.storage_faults = [Fault(shorter=5)]
    assert "1,499,995" in world.fails(RemoteError).detail


def test_a_longer_file(world):
    """More bytes than announced are 76, and the bad bytes are removed."""
    world.hub.storage_faults = [Fault(longer=9)]
    assert "more than the announced" in world.fails(RemoteError).detail
    assert world.partials() == []


def test_a_longer_file_keeps_earlier_bytes(world):
    """All bytes of a response beyond the file's end are discarded, earlier ones are kept."""
    world.hub.storage_faults = [Fault(drop=600_000), Fault(longer=9)]
    assert "more than the announced" in world.fails(RemoteError).detail
    assert 500_000 < world.partials()[0].stat().st_size <= 600_000


def test_a_wrong_range(world):
    """A server that resumes from another byte is 76."""
    world.hub.storage_faults = [Fault(drop=600_000), Fault(bad_range=True)]
    assert "bytes from" in world.fails(RemoteError).detail


def test_a_file_with_another_hash(world):
    """A server that announces another hash than the listing is refused before anything is fetched."""
    other = b"other" * 300_000
    world.hub.repos[REPO] = {FILE: other}
    assert "another hash" in world.fails(RemoteError).detail


def test_missing(world):
    """A file that is not on the Hub is 66."""
    world.hub.repos[REPO] = {}
    assert world.fails(MissingError).exit_code == 66


def test_revision_gone(world):
    """A commit that was removed from the Hub is 66, and the error says so."""
    world.hub.gone = {world.hub.commit}
    error = world.fails(MissingError)
    assert (error.exit_code, error.kind, error.detail) == (66, "file", f"Invalid rev id: {world.hub.commit}")


def test_a_moved_branch_changes_nothing(world):
    """A new commit during a download changes nothing: the listed file is fetched."""
    world.hub.storage_faults = [Fault(drop=600_000)]
    events = download(HubClient(os.environ, QUICK_RETRIES), world.cache, world.wanted, Interrupt())
    next(events)
    world.hub.push(REPO, {FILE: b"GGUF other"})
    list(events)
    assert world.blob.read_bytes() == CONTENT


def test_a_slow_server_is_waited_for(world):
    """A slow server that makes progress is waited for, however long it takes."""
    world.hub.always = Fault(slow=0.001)  # in blocks
    world.download(retry_policy=SlowTransfers(step_s=10.0, max_tries=1))
    assert world.blob.read_bytes() == CONTENT
    assert len(world.ranges()) == 1


def test_retry_after_is_respected(world, monkeypatch):
    """The pause between attempts is as long as the storage server asks."""
    waited = []
    monkeypatch.setattr(
        "llmcli.network.transfers.sleep_interruptibly", lambda seconds, _interrupt: waited.append(seconds)
    )
    world.hub.storage_faults = [Fault(status=429, headers={"Retry_After": "7"}), Fault(status=503)]
    world.download(retry_policy=DownloadRetryPolicy(first_pause_s=0.25))
    assert waited == [7, 0.5]


def test_storage_recovers(world):
    """A temporary failure of a storage server is retried."""
    world.hub.storage_faults = [Fault(status=503), Fault(status=429, headers={"Retry_After": "0"})]
    world.download()
    assert world.blob.read_bytes() == CONTENT


def test_range_not_satisfiable(world):
    """A server that refuses to resume is asked for the whole file."""
    world.hub.storage_faults = [Fault(drop=600_000), Fault(status=416)]
    world.download()
    assert world.blob.read_bytes() == CONTENT


def test_unreachable(world, monkeypatch):
    """An unreachable Hub has its own error and is not retried, since another source may have the file."""
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    world.fails(HubUnreachable)
    assert world.partials() == []


def test_a_signal_ends_a_download(world):
    """A signal ends a stalled download, and the bytes are kept."""
    world.hub.storage_faults = [Fault(stall=600_000)]
    interrupt = Interrupt()
    events = download(HubClient(os.environ, DownloadRetryPolicy()), world.cache, world.wanted, interrupt)
    while next(events).done <= 100_000:
        pass
    interrupt.set(signal.SIGINT)
    with pytest.raises(Interrupted):
        list(events)
    assert CONTENT.startswith(world.partials()[0].read_bytes())
    assert world.partials()[0].stat().st_size > 100_000


def test_the_bytes_of_a_killed_process_are_used(world):
    """The bytes of a killed process are used: only the rest is fetched, and no partial file remains."""
    world.leave(CONTENT[:700_000], f"{own_host()}.{dead_process()}")
    world.download()
    assert world.ranges() == ["bytes=700000-"]
    assert [path.name for path in world.blob.parent.iterdir()] == [DIGEST]


DOWNLOAD = """
import os, sys
from pathlib import Path
from llmcli.interrupt import Interrupt
from llmcli.models.hub.hub_cache import HubCache
from llmcli.models.hub.download import DownloadTarget, download
from llmcli.models.hub.hub_client import HubClient, RemoteFile
root, repo, commit, file, size, digest = sys.argv[1:]
wanted = DownloadTarget(repo, commit, RemoteFile(file, int(size), digest), "tiny")
for event in download(HubClient(os.environ), HubCache(Path(root)), wanted, Interrupt()):
    print(event.done, flush=True)
"""


def test_kill_storm(world):
    """Processes killed at different moments lose nothing: their bytes are used; at most one partial file remains."""
    cuts = [200_000, 500_000, 900_000, 1_200_000]
    world.hub.storage_faults = [Fault(stall=cut - start) for start, cut in itertools.pairwise([0, *cuts])]
    arguments = [str(world.cache.root), REPO, world.hub.commit, FILE, str(len(CONTENT)), DIGEST]
    for cut in cuts:
        with subprocess.Popen([sys.executable, "-c", DOWNLOAD, *arguments], stdout=subprocess.PIPE) as process:
            while int(process.stdout.readline()) < cut:
                pass
            process.kill()
        assert [path.stat().st_size for path in world.partials()] == [cut]
    world.download()
    assert world.blob.read_bytes() == CONTENT
    assert world.ranges() == [None, *(f"bytes={cut}-" for cut in cuts)]
    assert world.partials() == []


def test_the_largest_leftover_is_claimed(world):
    """The largest of several leftovers is used; the others are removed."""
    for size in (700_000, 1_000_000, 10):
        world.leave(CONTENT[:size], f"{own_host()}.{dead_process() + size}")
    world.download()
    assert world.ranges() == ["bytes=1000000-"]
    assert world.partials() == []


def test_a_wrong_leftover(world):
    """Wrong leftover bytes are detected at the end, and the file is fetched again."""
    world.leave(b"\1" * 700_000, f"{own_host()}.{dead_process()}")
    events = world.download()
    assert world.blob.read_bytes() == CONTENT
    assert [type(event) for event in events if not isinstance(event, Progress)] == [Notice]


def test_zeros_of_a_power_failure(world):
    """Trailing zeros of leftover bytes are fetched again, the bytes before them are not."""
    world.leave(CONTENT[:300_000] + bytes(1_200_000), f"{own_host()}.{dead_process()}")
    assert all(isinstance(event, Progress) for event in world.download())
    assert world.ranges() == [f"bytes={len(CONTENT[:300_000].rstrip(bytes(1)))}-"]
    assert world.blob.read_bytes() == CONTENT


def test_our_own_process_id(world):
    """A leftover of a dead process with our process id is used, whatever smaller ones there are."""
    world.leave(CONTENT[:700_000], f"{own_host()}.{os.getpid()}")
    world.leave(CONTENT[:10], f"{own_host()}.{dead_process()}")
    world.download()
    assert world.ranges() == ["bytes=700000-"]
    assert world.partials() == []


def test_a_leftover_that_is_not_used_stays(world):
    """A process that claims bytes and then cannot use or complete them leaves them for the next one."""
    world.leave(CONTENT[:700_000], f"{own_host()}.{dead_process()}")
    PartialFile(world.blob, locked=True).close()
    assert [path.read_bytes() for path in world.partials()] == [CONTENT[:700_000]]


def test_a_leftover_that_is_too_long(world):
    """A leftover longer than the file is discarded."""
    world.leave(CONTENT + b"x", f"{own_host()}.{dead_process()}")
    world.download()
    assert world.blob.read_bytes() == CONTENT


def test_living_owner_without_locks(world, monkeypatch):
    """Without working locks, the partial file of a living process is not touched."""
    monkeypatch.setattr(fcntl, "flock", _no_locks)
    theirs = world.leave(CONTENT[:700_000], f"{own_host()}.{os.getppid()}")
    world.download()
    assert (world.blob.read_bytes(), theirs.read_bytes()) == (CONTENT, CONTENT[:700_000])


def test_a_reused_process_id_without_locks(world, monkeypatch):
    """A partial file older than the process that now has its owner's process id is claimed."""
    monkeypatch.setattr(fcntl, "flock", _no_locks)
    os.utime(world.leave(CONTENT[:700_000], f"{own_host()}.{os.getppid()}"), (1, 1))
    world.download()
    assert world.ranges() == ["bytes=700000-"]
    assert world.partials() == []


def test_a_claimed_file_has_a_living_owner(world):
    """A claimed file counts as the file of its new, living owner."""
    os.utime(world.leave(CONTENT[:700_000], f"{own_host()}.{dead_process()}"), (1, 1))
    partial = PartialFile(world.blob, locked=False)
    partial.path.rename(partial.path.with_name(f"{DIGEST}.{own_host()}.{os.getppid()}.incomplete"))
    assert orphaned_partials(world.blob.parent) == []
    partial.close()


def test_an_owner_that_counted_as_dead_stops(world):
    """A process whose file was claimed writes nothing more to it, and reports 75."""
    events = download(HubClient(os.environ, QUICK_RETRIES), world.cache, world.wanted, Interrupt())
    while next(events).done <= 100_000:
        pass
    theirs = world.partials()[0].replace(world.blob.with_name(f"{DIGEST}.another-host.77.incomplete"))
    size = theirs.stat().st_size
    with pytest.raises(TemporaryFailure, match="another process") as caught:
        list(events)
    assert (caught.value.exit_code, theirs.stat().st_size, len(world.ranges())) == (75, size, 1)


def test_bytes_of_another_process_are_not_published(world):
    """A file with more bytes than were hashed is not published, though the hashed bytes are right."""
    events = download(HubClient(os.environ, QUICK_RETRIES), world.cache, world.wanted, Interrupt())
    while next(events).done <= 100_000:
        pass
    with world.partials()[0].open("ab") as file:
        file.write(b"x")
    with pytest.raises(TemporaryFailure):
        list(events)
    assert not world.blob.exists()
    world.download()
    assert world.blob.read_bytes() == CONTENT


def _no_locks(*_args):
    raise OSError(37, "No locks available")


def test_other_machine(world):
    """The partial file of another machine is not touched while it is recent, and claimed when it is old."""
    theirs = world.leave(CONTENT[:700_000], "another-host.77")
    world.download()
    assert theirs.exists()
    world.blob.unlink()
    os.utime(theirs, (0, 0))
    world.download()
    assert world.ranges() == [None, "bytes=700000-"]
    assert world.partials() == []


def test_foreign_partials(world):
    """Partial files of other tools are not touched."""
    world.blob.parent.mkdir(parents=True)
    theirs = world.blob.with_name(DIGEST + ".incomplete")
    theirs.write_bytes(b"x")
    world.download()
    assert theirs.read_bytes() == b"x"


@pytest.mark.slow
def test_one_download(world):
    """Concurrent downloads of the same file make one download."""
    world.hub.storage_faults = [Fault(stall=600_000)]
    retry_policy = DownloadRetryPolicy(read_timeout_s=0.5, first_pause_s=0.001)
    with ThreadPoolExecutor(4) as pool:
        for done in [pool.submit(world.download, retry_policy=retry_policy) for _ in range(4)]:
            done.result()
    assert world.blob.read_bytes() == CONTENT
    assert len(world.ranges()) == 2  # the one that stalled, and where it continued


def test_the_wait_for_another_download_can_be_interrupted(world):
    """A process that waits for another download reacts to a signal, and shows the other's progress."""
    world.leave(CONTENT[:700_000])
    lock = world.cache.lock_path(REPO, DIGEST)
    lock.parent.mkdir(parents=True)
    interrupt = Interrupt()
    with lock.open("w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        waiting = download(HubClient(os.environ, QUICK_RETRIES), world.cache, world.wanted, interrupt)
        assert next(waiting) == Progress(700_000, len(CONTENT), "bytes", "tiny")
        interrupt.set(signal.SIGTERM)
        with pytest.raises(Terminated):
            next(waiting)


def test_a_lock_without_progress_is_ignored(world, monkeypatch):
    """A lock whose owner makes no progress (stopped, or gone from a network file system) stops blocking others."""
    monkeypatch.setattr("llmcli.models.hub.download._STALE_LOCK_S", 0.0)
    theirs = world.leave(CONTENT[:700_000])
    lock = world.cache.lock_path(REPO, DIGEST)
    lock.parent.mkdir(parents=True)
    with lock.open("w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        world.download()
    assert (world.blob.read_bytes(), theirs.read_bytes()) == (CONTENT, CONTENT[:700_000])


def test_space_for_what_is_missing(world, monkeypatch):
    """A resumed download needs space for the rest only."""

    class Narrow:
        f_bavail, f_frsize = 800_000, 1

    world.leave(CONTENT[:700_000], f"{own_host()}.{dead_process()}")
    monkeypatch.setattr(os, "statvfs", lambda _path: Narrow)
    world.download()
    assert world.blob.read_bytes() == CONTENT


def test_space_for_all_parts(world, monkeypatch):
    """The space for all parts of a model is checked first; present parts need none."""

    class Narrow:
        f_bavail, f_frsize = 2_000_000, 1

    monkeypatch.setattr(os, "statvfs", lambda _path: Narrow)
    other = RemoteFile("other.gguf", 1_000_000, "a" * 64)
    with pytest.raises(OutputError, match="2,500,000 bytes are needed, 2,000,000 are free"):
        check_download_space(world.cache, REPO, [world.wanted.file, other])
    world.leave(CONTENT[:500_000])
    check_download_space(world.cache, REPO, [world.wanted.file, other])


def test_too_little_space(world, monkeypatch):
    """Too little space is detected before anything is fetched: 74, with the figures."""

    class Full:
        f_bavail, f_frsize = 1000, 1

    monkeypatch.setattr(os, "statvfs", lambda _path: Full)
    error = world.fails(OutputError)
    said = "No space left on device: 1,500,000 bytes are needed, 1,000 are free"
    assert (error.exit_code, error.detail) == (74, said)
    assert world.hub.asked == []


def test_disk_full_in_the_middle(world, monkeypatch):
    """A disk that fills up during the download is 74, even though closing the file fails as well."""

    class Full:
        def __init__(self, file):
            self._file = file

        def __getattr__(self, name):
            return getattr(self._file, name)

        def flush(self):
            raise OSError(errno.ENOSPC, "No space left on device")

        def close(self):
            self._file.close()
            self.flush()

    original = PartialFile.__init__

    def fill(self, *args, **kwargs):
        original(self, *args, **kwargs)
        self._file = Full(self._file)

    monkeypatch.setattr(PartialFile, "__init__", fill)
    error = world.fails(OutputError)
    assert (error.exit_code, error.detail) == (74, "No space left on device")


def test_unwritable(world):
    """A cache that cannot be written is 74, with its path."""
    world.cache.root.write_text("a file")
    assert str(world.cache.root) in world.fails(OutputError).subject
