"""The header of a file on the Hub: read by ranges, within limits, from servers that misbehave."""

from __future__ import annotations

import dataclasses
import os
import signal

import pytest
from fake_hub import QUICK_RETRIES, REPO, Fault
from gguf_bytes import ARCHITECTURE, entry, gguf, tensor, text

from llmcli.errors import AccessDenied, BadModelFile, Interrupted, RemoteError, TemporaryFailure
from llmcli.models.gguf.header_parser import read_header
from llmcli.models.hub import variants
from llmcli.models.hub.download import DownloadTarget
from llmcli.models.hub.hub_client import HubClient
from llmcli.models.hub.variants import read_remote_header

FILE = "tiny.Q8_0.gguf"
PATIENCE = dataclasses.replace(QUICK_RETRIES, read_timeout_s=0.3)


@pytest.fixture
def read(hub, interrupt):
    """Return a function that puts a file on the Hub, perhaps with a claimed size, and reads its header."""

    def header(content, size=None):
        hub.repos[REPO] = {FILE: content}
        if size is not None:
            hub.sizes[REPO, FILE] = size
        client = HubClient(os.environ, PATIENCE)
        listing = client.list_repository(REPO, interrupt)
        return read_remote_header(client, DownloadTarget(REPO, listing.revision, listing.files[0], FILE), interrupt)

    return header


@pytest.fixture
def small(monkeypatch):
    """Request little at a time."""
    monkeypatch.setattr(variants, "_FIRST_WINDOW_BYTES", 1000)


@pytest.fixture
def long(tiny):
    """Return a file that continues after its header, so that not all of it has to be read."""
    return tiny("llama").read_bytes()


def test_the_header_is_that_of_the_file(read, tiny, long):
    """It equals the header that a local reader finds."""
    assert read(long) == read_header(tiny("llama"))


def test_little_is_requested(hub, read, long):
    """One range of a mebibyte is enough for most headers, also for a model of gigabytes."""
    assert read(long, size=5 * 10**9).size == 5 * 10**9
    assert hub.headers_asked() == [f"bytes=0-{(1 << 20) - 1}"]


@pytest.mark.usefixtures("small")
def test_windows_grow(hub, read, long, tiny):
    """A longer header is requested in parts, each twice as long, and none twice."""
    assert read(long, size=10**9).tensors == read_header(tiny("llama")).tensors
    ranges = [tuple(map(int, asked.removeprefix("bytes=").split("-"))) for asked in hub.headers_asked()]
    assert [end + 1 - start for start, end in ranges] == [1000 * 2**n for n in range(len(ranges))]
    assert [start for start, _ in ranges[1:]] == [end + 1 for _, end in ranges[:-1]] and len(ranges) > 2


@pytest.mark.usefixtures("small")
def test_a_server_without_ranges(hub, read, long, tiny):
    """It sends the file from its beginning, which is read up to the end of the header."""
    hub.ranges = False
    assert read(long) == read_header(tiny("llama"))
    assert len(hub.headers_asked()) == 1


@pytest.mark.usefixtures("small")
@pytest.mark.parametrize("fault", [Fault(drop=700), Fault(stall=700), Fault(shorter=300), Fault(status=503)])
def test_a_broken_connection_is_continued(hub, read, long, tiny, fault):
    """The bytes are kept, and the rest is requested."""
    hub.header_faults += [fault]
    assert read(long) == read_header(tiny("llama"))


def test_a_broken_connection_without_ranges(hub, read, long, tiny):
    """The beginning is sent again and skipped."""
    hub.ranges = False
    hub.header_faults += [Fault(drop=5000)]
    assert read(long) == read_header(tiny("llama"))


@pytest.mark.parametrize(
    ("fault", "error"),
    [
        (Fault(drop=0), TemporaryFailure),
        (Fault(status=500), TemporaryFailure),
        (Fault(status=403), AccessDenied),
        (Fault(status=416), RemoteError),
        (Fault(portal="html"), RemoteError),
        (Fault(bad_range=True), RemoteError),
        (Fault(portal="raw"), RemoteError),
    ],
)
def test_each_failure_has_its_error(hub, read, long, fault, error):
    """The caller decides how important the header is."""
    hub.header_faults += [fault] * 9
    with pytest.raises(error):
        read(long)


def test_attempts_are_few(hub, read, long):
    """Without an answer, the caller continues without the header."""
    hub.header_faults += [Fault(status=500)] * 9
    with pytest.raises(TemporaryFailure):
        read(long)
    assert len(hub.headers_asked()) == 2


@pytest.mark.usefixtures("small")
def test_a_header_without_end_is_refused(hub, read, monkeypatch):
    """Only a limited number of bytes is read, whatever it promises."""
    monkeypatch.setattr(variants, "_MAX_HEADER_BYTES", 5000)
    content = gguf(ARCHITECTURE, entry(b"x", 8, text(b"y" * 20_000)))
    with pytest.raises(BadModelFile) as caught:
        read(content, size=10**9)
    assert "is longer than" in caught.value.detail and hub.headers_asked()[-1].endswith("-4999")


def test_a_broken_header_is_refused(read):
    """By the same checks as a local file, against the size that the Hub reports."""
    content = gguf(ARCHITECTURE, tensors=(tensor(shape=(64,)),), data=128)
    with pytest.raises(BadModelFile) as caught:
        read(content)
    assert "truncated" in caught.value.detail and caught.value.subject == f"{REPO}/{FILE}"


def test_a_signal_ends_the_wait(hub, read, long, interrupt):
    """Ctrl-C ends the wait for a response."""

    class Interrupting(list):
        def pop(self, index):
            interrupt.set(signal.SIGINT)
            return super().pop(index)

    hub.header_faults = Interrupting([Fault(stall=100)])
    with pytest.raises(Interrupted):
        read(long, size=10**9)
