"""The download loop: resumes, retries, checks the hash on the way, and lets one process work for all that wait."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from llmcli.errors import RemoteError, TryAgain
from llmcli.interrupt import Interrupt
from llmcli.models.cache import HubCache
from llmcli.models.hub import Answer, Hub, RemoteFile, Retries, Unreachable
from llmcli.models.partial import Lock, Partial, Taken, check_space, hash_file, others, size_of
from llmcli.models.pump import pause
from llmcli.models.stalls import ReadTimedOut, StallDetector, Stalled
from llmcli.types import Notice, Progress

_LOOK = 0.2  # seconds between looks at another process's download
_STUCK = 600.0  # seconds without a new byte after which another process's lock is not waited for any more
_PARTIAL_CONTENT, _RANGE_REFUSED = 206, 416
_CONTENT_RANGE = re.compile(r"bytes ([0-9]{1,18})-[0-9]{1,18}/([0-9]{1,18}|\*)")
_LENGTH = re.compile(r"[0-9]{1,18}")
_MAGIC = b"GGUF"
_SHA256 = re.compile(r'(?:W/)?"?([0-9a-f]{64})"?')


@dataclass(frozen=True, slots=True)
class Wanted:
    """A file to fetch: where it is on the Hub, what was announced about it, and the name that progress shows."""

    repo: str
    revision: str
    file: RemoteFile
    label: str

    def progress(self, done: int) -> Progress:
        """Return how far it is."""
        return Progress(done, self.file.size, "bytes", self.label)


def download(hub: Hub, cache: HubCache, wanted: Wanted, interrupt: Interrupt) -> Iterator[Progress | Notice]:
    """Have the blob of ``wanted``, a GGUF file, in the cache, fetched from the Hub and its hash checked.

    Raises what ``Hub.stream`` raises, ``RemoteError`` for bytes that are not the file's, ``OutputError`` for a full
    disk, and ``Taken``. What was fetched before another failure stays for the next try; of a file with another hash
    what came before the last answer, since that one is the likeliest culprit.
    """

    def fetch(partial: Partial) -> Iterator[Progress | Notice]:
        partial.use_claimed(wanted.file.size, interrupt)
        check_space(partial.path.parent, wanted.file.size - partial.done)
        yield from _fetch(hub, partial, wanted, interrupt)
        if partial.claimed and not partial.matches():
            # the bytes that an earlier process left may be the bad ones (a power cut leaves zeros)
            yield Notice(f"{wanted.label}: the bytes of an earlier download do not fit; starting again")
            partial.restart()
            yield from _fetch(hub, partial, wanted, interrupt)

    yield from in_turn(cache, wanted, interrupt, fetch)


def check_room(cache: HubCache, repo: str, files: Iterable[RemoteFile]) -> None:
    """Raise ``OutputError`` when the disk has no room for what is missing of ``files``, all of them together."""
    missing = 0
    for file in files:
        blob = cache.blob(repo, file.sha256)
        missing += max(0, file.size - max(map(size_of, [blob, *others(blob)])))
    blobs = cache.directory(repo) / "blobs"
    cache.make_directory(blobs)
    check_space(blobs, missing)


def in_turn(
    cache: HubCache, wanted: Wanted, interrupt: Interrupt, fetch: Callable[[Partial], Iterator[Progress | Notice]]
) -> Iterator[Progress | Notice]:
    """Let ``fetch`` fill the partial file and finish it; while another process does the same, wait for its blob."""
    locked, blob = (place(wanted.repo, wanted.file.sha256) for place in (cache.lock, cache.blob))
    for path in (locked, blob):
        cache.make_directory(path.parent)
    lock = Lock(locked)
    with closing(lock):
        alone = yield from _wait_for_turn(lock, blob, wanted, interrupt)
        if size_of(blob) == wanted.file.size and hash_file(blob, interrupt) == blob.name:
            return
        with closing(Partial(blob, alone=alone)) as partial:
            yield from fetch(partial)
            partial.finish(wanted.label)


def _wait_for_turn(lock: Lock, blob: Path, wanted: Wanted, interrupt: Interrupt) -> Generator[Progress, None, bool]:
    """Wait while another process downloads the same file; return whether we hold the lock."""
    seen, since = -1, time.monotonic()
    while (taken := lock.take()) is False:
        done = max(map(size_of, blob.parent.glob(f"{blob.name}.*")), default=0)  # the Hub's own client's too
        if done != seen:
            seen, since = done, time.monotonic()
        elif time.monotonic() - since > _STUCK:  # its owner was stopped, or is gone from a network file system
            return False
        yield wanted.progress(done)
        pause(_LOOK, interrupt)
    return taken is True


def _fetch(hub: Hub, partial: Partial, wanted: Wanted, interrupt: Interrupt) -> Iterator[Progress]:
    """Append what is missing, in as many tries as patience allows. Raises ``Stalled`` for a transfer that hardly moves."""
    retries, detector = Retries(hub.patience, interrupt), hub.patience.detector(wanted.label)
    furthest = partial.done
    connected = False
    while partial.done < wanted.file.size:
        try:
            for progress in _receive(hub, partial, wanted, interrupt, detector):
                connected = True
                yield progress
        except TryAgain as error:
            if isinstance(error, Taken) or (isinstance(error, Unreachable) and not connected):
                raise
            if isinstance(error, Stalled) and not isinstance(error, ReadTimedOut):
                raise
            if partial.done > furthest:
                furthest = partial.done
                retries.progress()
            if isinstance(error, ReadTimedOut):
                detector.timed_out()
            detector.check()
            detector.paused(retries.after(error))


def _receive(
    hub: Hub, partial: Partial, wanted: Wanted, interrupt: Interrupt, detector: StallDetector
) -> Iterator[Progress]:
    """Append the bytes of one answer. Raises ``TryAgain`` where they end too early, and ``Stalled``."""
    size, start = wanted.file.size, 0
    with closing(hub.stream(wanted.repo, wanted.revision, wanted.file.file, partial.done, interrupt)) as stream:
        for item in stream:
            if isinstance(item, Answer):
                start = _first_byte(item, partial, wanted)
                partial.begin(start)
                yield wanted.progress(partial.done)
                continue
            if start == 0 and item[: len(_MAGIC)] != _MAGIC[: len(item)]:
                raise RemoteError(wanted.label, detail="what comes does not begin like a GGUF file")
            if start + len(item) > size:
                partial.undo()
                raise RemoteError(wanted.label, detail=f"more than the announced {size:,} bytes came")
            partial.append(item)
            start += len(item)
            detector.received(len(item))
            yield wanted.progress(partial.done)
    if partial.done < size:
        raise TryAgain(wanted.label, detail=f"the connection ended after {partial.done:,} of {size:,} bytes")


def _first_byte(answer: Answer, partial: Partial, wanted: Wanted) -> int:
    """Return with which byte of the file an answer begins; refuse one that cannot be the file.

    A server without ranges sends the file from its beginning.
    """
    headers, size = answer.headers, wanted.file.size
    if answer.status == _RANGE_REFUSED:
        partial.restart()
        raise TryAgain(wanted.label, detail="the server refused to go on from where the download stopped")
    if headers.get("content-type", "").startswith("text/html"):
        raise RemoteError(wanted.label, detail="a web page came instead of the file (a login page of the network?)")
    linked = _SHA256.fullmatch(headers.get("x-linked-etag", ""))
    if linked and linked.group(1) != wanted.file.sha256:
        raise RemoteError(wanted.label, detail="the server announces a file with another hash")
    if answer.status == _PARTIAL_CONTENT:
        check_range(headers, partial.done, wanted)
        return partial.done
    length = headers.get("content-length", "")
    if _LENGTH.fullmatch(length) and int(length) != size:
        raise RemoteError(wanted.label, detail=f"{size:,} bytes were announced, the server sends {int(length):,}")
    return 0


def check_range(headers: Mapping[str, str], start: int, wanted: Wanted) -> None:
    """Raise ``RemoteError`` unless an answer with status 206 begins at byte ``start`` of the file."""
    given = headers.get("content-range", "")
    match = _CONTENT_RANGE.fullmatch(given)
    if match is None or int(match.group(1)) != start or match.group(2) not in ("*", str(wanted.file.size)):
        raise RemoteError(wanted.label, detail=f"bytes from {start} on were asked for, the server sends {given!r}")
