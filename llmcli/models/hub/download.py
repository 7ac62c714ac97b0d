"""The download loop: resumes, retries, checks the hash on the way, and lets one process work for all that wait."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from llmcli.errors import RemoteError, TemporaryFailure
from llmcli.interrupt import Interrupt
from llmcli.models.hub.hub_cache import HubCache
from llmcli.models.hub.hub_client import HubClient, HubUnreachable, RemoteFile, ResponseHead, RetryCounter
from llmcli.models.hub.partial_file import (
    ClaimedByOther,
    DownloadLock,
    PartialFile,
    check_disk_space,
    file_size,
    hash_file,
    list_partials,
)
from llmcli.models.hub.stalls import ReadTimedOut, StallDetector, TransferStalled
from llmcli.models.hub.threaded_iterator import sleep_interruptibly
from llmcli.types import Notice, Progress

_POLL_S = 0.2  # seconds between looks at another process's download
_STALE_LOCK_S = 600.0  # seconds without a new byte after which another process's lock is not waited for any more
_PARTIAL_CONTENT, _RANGE_REFUSED = 206, 416
_CONTENT_RANGE = re.compile(r"bytes ([0-9]{1,18})-[0-9]{1,18}/([0-9]{1,18}|\*)")
_CONTENT_LENGTH = re.compile(r"[0-9]{1,18}")
_GGUF_MAGIC = b"GGUF"
_ETAG_SHA256 = re.compile(r'(?:W/)?"?([0-9a-f]{64})"?')


@dataclass(frozen=True, slots=True)
class DownloadTarget:
    """A file to fetch: where it is on the Hub, what was announced about it, and the name that progress shows."""

    repo: str
    revision: str
    file: RemoteFile
    label: str

    def progress_at(self, done: int) -> Progress:
        """Return how far it is."""
        return Progress(done, self.file.size, "bytes", self.label)


def download(
    hub: HubClient, cache: HubCache, wanted: DownloadTarget, interrupt: Interrupt
) -> Iterator[Progress | Notice]:
    """Have the blob of ``wanted``, a GGUF file, in the cache, fetched from the Hub and its hash checked.

    Raises what ``Hub.stream`` raises, ``RemoteError`` for bytes that are not the file's, ``OutputError`` for a full
    disk, and ``Taken``. What was fetched before another failure stays for the next try; of a file with another hash
    what came before the last answer, since that one is the likeliest culprit.
    """

    def fetch(partial: PartialFile) -> Iterator[Progress | Notice]:
        partial.hash_claimed_bytes(wanted.file.size, interrupt)
        check_disk_space(partial.path.parent, wanted.file.size - partial.bytes_done)
        yield from _fetch_missing(hub, partial, wanted, interrupt)
        if partial.claimed_bytes and not partial.hash_matches():
            # the bytes that an earlier process left may be the bad ones (a power cut leaves zeros)
            yield Notice(f"{wanted.label}: the bytes of an earlier download do not fit; starting again")
            partial.discard_all()
            yield from _fetch_missing(hub, partial, wanted, interrupt)

    yield from download_exclusively(cache, wanted, interrupt, fetch)


def check_download_space(cache: HubCache, repo: str, files: Iterable[RemoteFile]) -> None:
    """Raise ``OutputError`` when the disk has no room for what is missing of ``files``, all of them together."""
    missing = 0
    for file in files:
        blob = cache.blob_path(repo, file.sha256)
        missing += max(0, file.size - max(map(file_size, [blob, *list_partials(blob)])))
    blobs = cache.repository_directory(repo) / "blobs"
    cache.make_directory(blobs)
    check_disk_space(blobs, missing)


def download_exclusively(
    cache: HubCache,
    wanted: DownloadTarget,
    interrupt: Interrupt,
    fetch: Callable[[PartialFile], Iterator[Progress | Notice]],
) -> Iterator[Progress | Notice]:
    """Let ``fetch`` fill the partial file and finish it; while another process does the same, wait for its blob."""
    locked, blob = (place(wanted.repo, wanted.file.sha256) for place in (cache.lock_path, cache.blob_path))
    for path in (locked, blob):
        cache.make_directory(path.parent)
    lock = DownloadLock(locked)
    with closing(lock):
        alone = yield from _wait_for_lock(lock, blob, wanted, interrupt)
        if file_size(blob) == wanted.file.size and hash_file(blob, interrupt) == blob.name:
            return
        with closing(PartialFile(blob, alone=alone)) as partial:
            yield from fetch(partial)
            partial.publish(wanted.label)


def _wait_for_lock(
    lock: DownloadLock, blob: Path, wanted: DownloadTarget, interrupt: Interrupt
) -> Generator[Progress, None, bool]:
    """Wait while another process downloads the same file; return whether we hold the lock."""
    seen, since = -1, time.monotonic()
    while (taken := lock.try_acquire()) is False:
        done = max(map(file_size, blob.parent.glob(f"{blob.name}.*")), default=0)  # the Hub's own client's too
        if done != seen:
            seen, since = done, time.monotonic()
        elif time.monotonic() - since > _STALE_LOCK_S:  # its owner was stopped, or is gone from a network file system
            return False
        yield wanted.progress_at(done)
        sleep_interruptibly(_POLL_S, interrupt)
    return taken is True


def _fetch_missing(
    hub: HubClient, partial: PartialFile, wanted: DownloadTarget, interrupt: Interrupt
) -> Iterator[Progress]:
    """Append what is missing, in as many tries as retry_policy allows. Raises ``Stalled`` for a transfer that hardly moves."""
    retries, detector = RetryCounter(hub.retry_policy, interrupt), hub.retry_policy.make_stall_detector(wanted.label)
    furthest = partial.bytes_done
    connected = False
    while partial.bytes_done < wanted.file.size:
        try:
            for progress in _receive_response(hub, partial, wanted, interrupt, detector):
                connected = True
                yield progress
        except TemporaryFailure as error:
            if isinstance(error, ClaimedByOther) or (isinstance(error, HubUnreachable) and not connected):
                raise
            if isinstance(error, TransferStalled) and not isinstance(error, ReadTimedOut):
                raise
            if partial.bytes_done > furthest:
                furthest = partial.bytes_done
                retries.reset()
            if isinstance(error, ReadTimedOut):
                detector.add_timeout()
            detector.raise_if_stalled()
            detector.exclude_pause(retries.wait_or_raise(error))


def _receive_response(
    hub: HubClient, partial: PartialFile, wanted: DownloadTarget, interrupt: Interrupt, detector: StallDetector
) -> Iterator[Progress]:
    """Append the bytes of one answer. Raises ``TemporaryFailure`` where they end too early, and ``Stalled``."""
    size, start = wanted.file.size, 0
    with closing(
        hub.stream_file(wanted.repo, wanted.revision, wanted.file.file, partial.bytes_done, interrupt)
    ) as stream:
        for item in stream:
            if isinstance(item, ResponseHead):
                start = _check_response_start(item, partial, wanted)
                partial.begin_response(start)
                yield wanted.progress_at(partial.bytes_done)
                continue
            if start == 0 and item[: len(_GGUF_MAGIC)] != _GGUF_MAGIC[: len(item)]:
                raise RemoteError(wanted.label, detail="what comes does not begin like a GGUF file")
            if start + len(item) > size:
                partial.discard_response()
                raise RemoteError(wanted.label, detail=f"more than the announced {size:,} bytes came")
            partial.append(item)
            start += len(item)
            detector.add_bytes(len(item))
            yield wanted.progress_at(partial.bytes_done)
    if partial.bytes_done < size:
        raise TemporaryFailure(
            wanted.label, detail=f"the connection ended after {partial.bytes_done:,} of {size:,} bytes"
        )


def _check_response_start(answer: ResponseHead, partial: PartialFile, wanted: DownloadTarget) -> int:
    """Return with which byte of the file an answer begins; refuse one that cannot be the file.

    A server without ranges sends the file from its beginning.
    """
    headers, size = answer.headers, wanted.file.size
    if answer.status == _RANGE_REFUSED:
        partial.discard_all()
        raise TemporaryFailure(wanted.label, detail="the server refused to go on from where the download stopped")
    if headers.get("content-type", "").startswith("text/html"):
        raise RemoteError(wanted.label, detail="a web page came instead of the file (a login page of the network?)")
    linked = _ETAG_SHA256.fullmatch(headers.get("x-linked-etag", ""))
    if linked and linked.group(1) != wanted.file.sha256:
        raise RemoteError(wanted.label, detail="the server announces a file with another hash")
    if answer.status == _PARTIAL_CONTENT:
        check_content_range(headers, partial.bytes_done, wanted)
        return partial.bytes_done
    length = headers.get("content-length", "")
    if _CONTENT_LENGTH.fullmatch(length) and int(length) != size:
        raise RemoteError(wanted.label, detail=f"{size:,} bytes were announced, the server sends {int(length):,}")
    return 0


def check_content_range(headers: Mapping[str, str], start: int, wanted: DownloadTarget) -> None:
    """Raise ``RemoteError`` unless an answer with status 206 begins at byte ``start`` of the file."""
    given = headers.get("content-range", "")
    match = _CONTENT_RANGE.fullmatch(given)
    if match is None or int(match.group(1)) != start or match.group(2) not in ("*", str(wanted.file.size)):
        raise RemoteError(wanted.label, detail=f"bytes from {start} on were asked for, the server sends {given!r}")
