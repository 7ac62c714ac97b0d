"""The download loop: resumes, retries, checks the hash on the way, and lets one process work for all that wait."""

from __future__ import annotations

import re
from collections.abc import Callable, Generator, Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from llmcli.errors import RemoteError, TryAgain
from llmcli.interrupt import Interrupt
from llmcli.models.cache import HubCache
from llmcli.models.hub import Answer, Hub, RemoteFile, Retries, Unreachable
from llmcli.models.partial import Lock, Partial, check_space, hash_file, others, size_of
from llmcli.models.pump import pause
from llmcli.types import Notice, Progress

_LOOK = 0.2  # seconds between looks at another process's download
_PARTIAL_CONTENT, _RANGE_REFUSED = 206, 416
_CONTENT_RANGE = re.compile(r"bytes (\d+)-\d+/(\d+|\*)")
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
    """Have the blob of ``wanted`` in the cache, fetched from the Hub and its hash checked.

    Raises what ``Hub.stream`` raises, ``RemoteError`` for a wrong hash and ``OutputError`` for a full disk. What was
    fetched before another failure stays for the next try.
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


def in_turn(
    cache: HubCache, wanted: Wanted, interrupt: Interrupt, fetch: Callable[[Partial], Iterator[Progress | Notice]]
) -> Iterator[Progress | Notice]:
    """Let ``fetch`` fill the partial file and finish it; while another process does the same, wait for its blob."""
    lock = Lock(cache.lock(wanted.repo, wanted.file.sha256))
    blob = cache.blob(wanted.repo, wanted.file.sha256)
    with closing(lock):
        alone = yield from _wait_for_turn(lock, blob, wanted, interrupt)
        if size_of(blob) == wanted.file.size and hash_file(blob, interrupt) == blob.name:
            return
        with closing(Partial(blob, alone=alone)) as partial:
            yield from fetch(partial)
            partial.finish(wanted.label)


def _wait_for_turn(lock: Lock, blob: Path, wanted: Wanted, interrupt: Interrupt) -> Generator[Progress, None, bool]:
    """Wait while another process downloads the same file; return whether we hold the lock."""
    while (taken := lock.take()) is False:
        yield wanted.progress(max(map(size_of, others(blob)), default=0))
        pause(_LOOK, interrupt)
    return taken is True


def _fetch(hub: Hub, partial: Partial, wanted: Wanted, interrupt: Interrupt) -> Iterator[Progress]:
    """Append what is missing, in as many tries as patience allows."""
    retries = Retries(hub.patience, interrupt)
    furthest = partial.done
    connected = False
    while partial.done < wanted.file.size:
        try:
            for progress in _receive(hub, partial, wanted, interrupt):
                connected = True
                yield progress
        except TryAgain as error:
            if isinstance(error, Unreachable) and not connected:
                raise
            if partial.done > furthest:
                furthest = partial.done
                retries.progress()
            retries.after(error)


def _receive(hub: Hub, partial: Partial, wanted: Wanted, interrupt: Interrupt) -> Iterator[Progress]:
    """Append the bytes of one answer. Raises ``TryAgain`` where they end too early."""
    size = wanted.file.size
    with closing(hub.stream(wanted.repo, wanted.revision, wanted.file.file, partial.done, interrupt)) as stream:
        for item in stream:
            if isinstance(item, Answer):
                _check_answer(item, partial, wanted)
                yield wanted.progress(partial.done)
                continue
            if partial.done + len(item) > size:
                partial.restart()
                raise RemoteError(wanted.label, detail=f"more than the announced {size:,} bytes came")
            partial.append(item)
            yield wanted.progress(partial.done)
    if partial.done < size:
        raise TryAgain(wanted.label, detail=f"the connection ended after {partial.done:,} of {size:,} bytes")


def _check_answer(answer: Answer, partial: Partial, wanted: Wanted) -> None:
    """Refuse an answer that cannot be the file; start again where the server does not go on from where we are."""
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
        return
    length = headers.get("content-length", "")
    if length.isdigit() and int(length) != size:
        raise RemoteError(wanted.label, detail=f"{size:,} bytes were announced, the server sends {int(length):,}")
    if partial.done:  # a server without ranges
        partial.restart()


def check_range(headers: Mapping[str, str], start: int, wanted: Wanted) -> None:
    """Raise ``RemoteError`` unless an answer with status 206 begins at byte ``start`` of the file."""
    given = headers.get("content-range", "")
    match = _CONTENT_RANGE.fullmatch(given)
    if match is None or int(match.group(1)) != start or match.group(2) not in ("*", str(wanted.file.size)):
        raise RemoteError(wanted.label, detail=f"bytes from {start} on were asked for, the server sends {given!r}")
