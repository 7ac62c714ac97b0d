"""The download loop: resumes, retries, checks the hash meanwhile, and lets one process download for all that wait."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping
from contextlib import closing
from pathlib import Path

from llmcli.errors import RemoteError, TemporaryFailure
from llmcli.errors.network_errors import ClaimedByOther
from llmcli.fast_dataclass import frozen
from llmcli.interrupt import Interrupt
from llmcli.models.files.file_bytes import check_disk_space, file_size, hash_file
from llmcli.models.hub.hub_cache import HubCache
from llmcli.models.hub.hub_client import HubClient, RemoteFile, ResponseHead
from llmcli.models.hub.partial_file import DownloadLock, PartialFile, list_partials
from llmcli.network.transfers import DownloadAttempts, sleep_interruptibly
from llmcli.types import Notice, Progress

_POLL_S = 0.2  # seconds between checks of another process's download
_STALE_LOCK_S = 600.0  # seconds without a new byte after which another process's lock is ignored
_PARTIAL_CONTENT, _RANGE_REFUSED = 206, 416
_CONTENT_RANGE = re.compile(r"bytes ([0-9]{1,18})-[0-9]{1,18}/([0-9]{1,18}|\*)")
_CONTENT_LENGTH = re.compile(r"[0-9]{1,18}")
_GGUF_MAGIC = b"GGUF"
_ETAG_SHA256 = re.compile(r'(?:W/)?"?([0-9a-f]{64})"?')


@frozen
class DownloadTarget:
    """A file to download: its place on the Hub, its announced size and hash, and the label of its progress."""

    repo: str
    revision: str
    file: RemoteFile
    label: str

    def progress_at(self, done: int) -> Progress:
        """Return the progress with ``done`` bytes."""
        return Progress(done, self.file.size, "bytes", self.label)


def download(
    hub: HubClient, cache: HubCache, target: DownloadTarget, interrupt: Interrupt
) -> Iterator[Progress | Notice]:
    """Download the blob of ``target``, a GGUF file, from the Hub into the cache and check its hash.

    Raises what ``HubClient.stream_file`` raises, ``RemoteError`` for bytes that do not belong to the file,
    ``OutputError`` for a full disk, and ``ClaimedByOther``. After other failures the bytes are kept for the next
    attempt. If the hash is wrong, the bytes of the last response, the most likely to be wrong, are discarded.
    """

    def fetch(partial: PartialFile) -> Iterator[Progress | Notice]:
        partial.hash_claimed_bytes(target.file.size, interrupt)
        check_disk_space(partial.path.parent, target.file.size - partial.bytes_done)
        yield from _fetch_missing(hub, partial, target, interrupt)
        if partial.claimed_bytes and not partial.hash_matches():
            # the bytes of an earlier process may be wrong (a power failure leaves zeros)
            yield Notice(f"{target.label}: the bytes of an earlier download are wrong; starting again")
            partial.discard_all()
            yield from _fetch_missing(hub, partial, target, interrupt)

    yield from download_exclusively(cache, target, interrupt, fetch)


def check_download_space(cache: HubCache, repo: str, files: Iterable[RemoteFile]) -> None:
    """Raise ``OutputError`` if the disk has no room for the missing bytes of all ``files`` together."""
    missing = 0
    for file in files:
        blob = cache.blob_path(repo, file.sha256)
        missing += max(0, file.size - max(map(file_size, [blob, *list_partials(blob)])))
    blobs = cache.repository_directory(repo) / "blobs"
    cache.make_directory(blobs)
    check_disk_space(blobs, missing)


def download_exclusively(
    cache: HubCache,
    target: DownloadTarget,
    interrupt: Interrupt,
    fetch: Callable[[PartialFile], Iterator[Progress | Notice]],
) -> Iterator[Progress | Notice]:
    """Let ``fetch`` fill the partial file and publish it; if another process downloads the file, wait for its blob."""
    lock_path = cache.lock_path(target.repo, target.file.sha256)
    blob = cache.blob_path(target.repo, target.file.sha256)
    for path in (lock_path, blob):
        cache.make_directory(path.parent)
    lock = DownloadLock(lock_path)
    with closing(lock):
        locked = yield from _wait_for_lock(lock, blob, target, interrupt)
        if file_size(blob) == target.file.size and hash_file(blob, interrupt) == blob.name:
            return
        with closing(PartialFile(blob, locked=locked)) as partial:
            yield from fetch(partial)
            partial.publish(target.label)


def _wait_for_lock(
    lock: DownloadLock, blob: Path, target: DownloadTarget, interrupt: Interrupt
) -> Generator[Progress, None, bool]:
    """Wait while another process downloads the same file; return whether this process holds the lock."""
    last, since = -1, time.monotonic()
    while (acquired := lock.try_acquire()) is False:
        done = max(map(file_size, blob.parent.glob(f"{blob.name}.*")), default=0)  # also held by the Hub's own client
        if done != last:
            last, since = done, time.monotonic()
        elif time.monotonic() - since > _STALE_LOCK_S:  # its owner was stopped, or has left a network file system
            return False
        yield target.progress_at(done)
        sleep_interruptibly(_POLL_S, interrupt)
    return acquired is True


def _fetch_missing(
    hub: HubClient, partial: PartialFile, target: DownloadTarget, interrupt: Interrupt
) -> Iterator[Progress]:
    """Append the missing bytes within the retry policy. Raises ``TransferStalled`` for a very slow transfer."""
    attempts = DownloadAttempts(hub.retry_policy, target.label, interrupt)
    furthest = partial.bytes_done
    while partial.bytes_done < target.file.size:
        try:
            yield from _receive_response(hub, partial, target, interrupt, attempts)
        except ClaimedByOther:
            raise
        except TemporaryFailure as error:
            has_progressed = partial.bytes_done > furthest
            furthest = max(furthest, partial.bytes_done)
            attempts.wait_or_raise(error, has_progressed=has_progressed)


def _receive_response(
    hub: HubClient, partial: PartialFile, target: DownloadTarget, interrupt: Interrupt, attempts: DownloadAttempts
) -> Iterator[Progress]:
    """Append the bytes of one response. Raises ``TemporaryFailure`` if they end too early, and ``TransferStalled``."""
    size, start = target.file.size, 0
    with closing(
        hub.stream_file(target.repo, target.revision, target.file.file, partial.bytes_done, interrupt)
    ) as stream:
        for item in stream:
            if isinstance(item, ResponseHead):
                start = _check_response_start(item, partial, target)
                partial.begin_response(start)
                hub.meter.begin_response()
                yield target.progress_at(partial.bytes_done)
                continue
            if start == 0:
                check_magic(item, target.label)
            if start + len(item) > size:
                partial.discard_response()
                raise RemoteError(target.label, detail=f"the server sent more than the announced {size:,} bytes")
            partial.append(item)
            start += len(item)
            attempts.add_bytes(len(item))
            hub.meter.add_bytes(len(item))
            yield target.progress_at(partial.bytes_done)
    if partial.bytes_done < size:
        raise TemporaryFailure(
            target.label, detail=f"the connection ended after {partial.bytes_done:,} of {size:,} bytes"
        )


def check_magic(block: bytes, label: str) -> None:
    """Raise ``RemoteError`` unless a file that begins with ``block`` may be a GGUF file."""
    if block[: len(_GGUF_MAGIC)] != _GGUF_MAGIC[: len(block)]:
        raise RemoteError(label, detail="the response does not begin like a GGUF file (a login page of the network?)")


def _check_response_start(answer: ResponseHead, partial: PartialFile, target: DownloadTarget) -> int:
    """Return the position in the file at which a response begins; refuse a response that cannot be the file.

    A server without range support sends the file from its beginning.
    """
    headers, size = answer.headers, target.file.size
    if answer.status == _RANGE_REFUSED:
        partial.discard_all()
        raise TemporaryFailure(target.label, detail="the server refused to resume the download")
    if headers.get("content-type", "").startswith("text/html"):
        raise RemoteError(
            target.label, detail="the server sent a web page instead of the file (a login page of the network?)"
        )
    linked = _ETAG_SHA256.fullmatch(headers.get("x-linked-etag", ""))
    if linked and linked.group(1) != target.file.sha256:
        raise RemoteError(target.label, detail="the server announced a file with another hash")
    if answer.status == _PARTIAL_CONTENT:
        check_content_range(headers, partial.bytes_done, target)
        return partial.bytes_done
    length = headers.get("content-length", "")
    if _CONTENT_LENGTH.fullmatch(length) and int(length) != size:
        raise RemoteError(
            target.label, detail=f"the server sends {int(length):,} bytes instead of the announced {size:,}"
        )
    return 0


def check_content_range(headers: Mapping[str, str], start: int, target: DownloadTarget) -> None:
    """Raise ``RemoteError`` unless a response with status 206 begins at byte ``start`` of the file."""
    given = headers.get("content-range", "")
    match = _CONTENT_RANGE.fullmatch(given)
    if match is None or int(match.group(1)) != start or match.group(2) not in ("*", str(target.file.size)):
        raise RemoteError(target.label, detail=f"requested bytes from {start} on, but the server sends {given!r}")
