"""The header of a GGUF file on the Hub, read before anything is downloaded.

The parser only moves forward, so each request asks for the next bytes: 1 MiB first (enough for the whole header of most
small vocabularies), then twice as much each time. A server without range support sends the file from its start; it is
read up to the end of the header, and the connection is closed.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator
from contextlib import closing

from llmcli.errors import BadModelFile, RemoteError, TemporaryFailure
from llmcli.frozen_dataclass import replace
from llmcli.interrupt import Interrupt
from llmcli.models.gguf.header import Header
from llmcli.models.gguf.header_parser import parse_header
from llmcli.models.hub.download import DownloadTarget, check_content_range, check_magic
from llmcli.models.hub.hub_client import HubClient, ResponseHead
from llmcli.models.hub.transfers import RetryCounter

_FIRST_WINDOW_BYTES = 1 << 20
_MAX_HEADER_BYTES = 64 << 20  # a vocabulary of 262,144 tokens takes 6.5 MB
_MAX_TRIES = 2  # the header is a convenience: without a response the caller continues without it
_PARTIAL_CONTENT, _OK = 206, 200


def read_remote_header(hub: HubClient, target: DownloadTarget, interrupt: Interrupt) -> Header:
    """Return the header of a file on the Hub; for a part of a split model, the part's.

    Raises what ``HubClient.stream_file`` raises, ``RemoteError`` for a response that cannot be the file, such as the
    login page of a network, and ``BadModelFile``, also for a header above the size limit.
    """
    with closing(_iter_blocks(hub, target, interrupt)) as blocks:
        return parse_header(_BlockStream(blocks), target.file.size, f"{target.repo}/{target.file.file}")


class _BlockStream:
    """The blocks as a stream."""

    def __init__(self, blocks: Iterator[bytes]) -> None:
        self._blocks = blocks
        self._unread = b""

    def read(self, size: int, /) -> bytes:
        """Return up to ``size`` bytes."""
        data = self._unread or next(self._blocks, b"")
        self._unread = data[size:]
        return data[:size]


def _iter_blocks(hub: HubClient, target: DownloadTarget, interrupt: Interrupt) -> Generator[bytes, None, None]:
    """Yield the file from its start, window after window, until the reader stops."""
    retries = RetryCounter(replace(hub.retry_policy, max_tries=_MAX_TRIES), interrupt)
    detector = hub.retry_policy.make_stall_detector(target.label)
    size, bound = target.file.size, min(target.file.size, _MAX_HEADER_BYTES)
    done, window = 0, _FIRST_WINDOW_BYTES
    while done < bound:
        end = min(done + window, bound)
        try:
            for block in _fetch_window(hub, target, interrupt, done, end):
                if done == 0:
                    check_magic(block, target.label)
                done += len(block)
                detector.add_bytes(len(block))
                yield block
        except TemporaryFailure as error:
            detector.raise_if_stalled()
            detector.exclude_pause(retries.wait_or_raise(error))
            continue
        if done < end:
            detector.exclude_pause(
                retries.wait_or_raise(
                    TemporaryFailure(target.label, detail=f"the connection ended after {done:,} bytes")
                )
            )
            continue
        retries.reset()
        window *= 2
    if done < size:
        raise BadModelFile(target.label, detail=f"its header is longer than {done:,} bytes")


def _fetch_window(
    hub: HubClient, target: DownloadTarget, interrupt: Interrupt, start: int, end: int
) -> Iterator[bytes]:
    """Yield the bytes from ``start`` to ``end``; more if the server does not support ranges."""
    skip = 0
    with closing(hub.stream_file(target.repo, target.revision, target.file.file, start, interrupt, end=end)) as stream:
        for item in stream:
            if isinstance(item, ResponseHead):
                if item.headers.get("content-type", "").startswith("text/html"):
                    raise RemoteError(target.label, detail="the server sent a web page instead of the file")
                if item.status == _PARTIAL_CONTENT:
                    check_content_range(item.headers, start, target)
                elif item.status == _OK:
                    skip, end = start, _MAX_HEADER_BYTES
                else:
                    raise RemoteError(target.label, detail=f"the server refused to send bytes from {start} on")
                continue
            block, skip = item[skip:], max(0, skip - len(item))
            block = block[: end - start]
            start += len(block)
            if block:
                yield block
            if start >= end:
                return
