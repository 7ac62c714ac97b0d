"""The same fault before each client of the network: the same retries, pauses, exit codes and words."""

from __future__ import annotations

import email.utils
import functools
import hashlib
import os
import socket
import time
from collections.abc import Callable
from contextlib import ExitStack, closing

import pytest
from fake_hub import REPO, FakeHub
from fake_proxy import FakeProxy, reply_lines
from fake_registry import FakeRegistry
from fake_server import FakeServer, certificate
from fault_proxy import FaultProxy, hang_up, reply_status, reset_connection, stall_body, truncate_body
from page_server import Page, PageServer

from llmcli import page_fetcher
from llmcli.backends.remote.chat_client import ChatClient
from llmcli.backends.remote.protocols.openai_chat import OpenAIChat
from llmcli.backends.remote.transport.api_keys import ApiKey
from llmcli.backends.remote.transport.http_client import HttpClient
from llmcli.backends.remote.transport.remote_call import RemoteCall
from llmcli.config.backend_config import ServerConfig
from llmcli.engine_packages import installer
from llmcli.errors import LlmError
from llmcli.interrupt import Interrupt
from llmcli.models.hub.download import DownloadTarget, download
from llmcli.models.hub.hub_cache import HubCache
from llmcli.models.hub.hub_client import HubClient, RemoteFile
from llmcli.network.proxies import find_proxy
from llmcli.network.retry_policy import RetryPolicy
from llmcli.network.transfers import DownloadRetryPolicy
from llmcli.page_fetcher import PageFetcher

FILE = "tiny.Q8_0.gguf"
CONTENT = b"GGUF" + b"x" * 1000
DIGEST = hashlib.sha256(CONTENT).hexdigest()
MAX_TRIES = 3
READ_TIMEOUT_S = 0.3
DOWNLOAD_POLICY = DownloadRetryPolicy(
    max_tries=MAX_TRIES, response_timeout_s=30, read_timeout_s=READ_TIMEOUT_S, max_pause_s=60
)
"""For tests of policies, the time for the beginning of a response never ends before the fault does."""


class Client:
    """A client of the network: ``fetch`` gets from ``url`` what ``expected`` is; the server there is at ``port``.

    ``tries``: how often it tries a server that cannot be reached.
    """

    tries = MAX_TRIES
    expected: object

    def __init__(self, exits: ExitStack, scratch, monkeypatch) -> None:
        self.exits, self.scratch, self.monkeypatch = exits, scratch, monkeypatch
        self.start()

    def start(self) -> None:
        """Start the server."""
        raise NotImplementedError

    def fetch(self, url: str) -> object:
        """Get something from the server, which is reached through ``url``."""
        raise NotImplementedError


class HubListing(Client):
    """The files of a repository. Nobody waits for a Hub that cannot be reached."""

    tries = 1
    expected = (RemoteFile(FILE, len(CONTENT), DIGEST),)

    def start(self):
        self.hub = self.exits.enter_context(closing(FakeHub()))
        self.hub.repos[REPO] = {FILE: CONTENT}
        self.port = int(self.hub.endpoint.rpartition(":")[2])

    def fetch(self, url):
        return self.client(url).list_repository(REPO, Interrupt()).files

    def client(self, url):
        return HubClient({**os.environ, "HF_ENDPOINT": url}, DOWNLOAD_POLICY)


class HubDownload(HubListing):
    """A file, which is behind a redirect. If it cannot be reached, another source may have it."""

    expected = CONTENT

    def start(self):
        super().start()
        self.endpoint, self.port = self.hub.endpoint, int(self.hub.storage.rpartition(":")[2])

    def fetch(self, url):
        self.hub.storage = url
        cache = HubCache(self.scratch / "hub")
        target = DownloadTarget(REPO, self.hub.commit, RemoteFile(FILE, len(CONTENT), DIGEST), "tiny")
        list(download(self.client(self.endpoint), cache, target, Interrupt()))
        return cache.blob_path(REPO, DIGEST).read_bytes()


class PackageDownload(Client):
    """The archive of an engine package."""

    def start(self):
        self.registry = self.exits.enter_context(closing(FakeRegistry()))
        self.port, self.expected = self.registry.server.server_port, self.registry.archive
        policy = DownloadRetryPolicy(
            **{name: getattr(DOWNLOAD_POLICY, name) for name in ("max_tries", "response_timeout_s", "read_timeout_s")},
            max_connect_tries=MAX_TRIES,
        )
        self.monkeypatch.setattr(installer, "RETRY_POLICY", policy)

    def fetch(self, url):
        path = self.scratch / "archive.tgz"
        list(installer._download(self.registry.package(), path, Interrupt(), url))
        return path.read_bytes()


class ModelServer(Client):
    """The models of a server."""

    def start(self):
        server = self.exits.enter_context(closing(FakeServer()))
        self.port, self.expected = server.port, server.list_models()

    def fetch(self, url):
        server, key = ServerConfig(f"{url}/v1", timeout=READ_TIMEOUT_S), ApiKey()
        client = HttpClient(server, key, find_proxy(url, os.environ), headers={})
        policy = RetryPolicy(max_tries=MAX_TRIES, max_connect_tries=MAX_TRIES)
        with closing(client):
            return ChatClient(client, key, policy, OpenAIChat()).get_json(RemoteCall(), "/models")


class WebPage(Client):
    """A page at an address."""

    expected = b"<p>words</p>"

    def start(self):
        server = self.exits.enter_context(closing(PageServer()))
        server.pages["/"] = Page(self.expected)
        self.port = server.port
        self.monkeypatch.setattr(page_fetcher, "_SILENCE_TIMEOUT_S", READ_TIMEOUT_S)

    def fetch(self, url):
        return PageFetcher(os.environ, allows_private=True).fetch(f"{url}/").data


CLIENTS = [HubListing, HubDownload, PackageDownload, ModelServer, WebPage]


@pytest.fixture(params=CLIENTS, ids=[client.__name__ for client in CLIENTS])
def client(request, tmp_path, monkeypatch):
    """Return each of the clients, with its server."""
    for name in list(os.environ):
        if name.lower().endswith("_proxy"):
            monkeypatch.delenv(name)
    with ExitStack() as exits:
        yield request.param(exits, tmp_path, monkeypatch)


@pytest.fixture
def before(client):
    """Return a function that puts a proxy with faults before the server of the client."""
    with ExitStack() as exits:
        yield lambda tls=None: exits.enter_context(closing(FaultProxy(client.port, tls)))


@pytest.fixture
def pauses(monkeypatch):
    """Return the pauses that the policy of retries wants; none is made."""
    wanted: list[float] = []
    real = RetryPolicy.next_pause

    def next_pause(self, error, failures):
        pause = real(self, error, failures)
        if pause is None:
            return None
        wanted.append(pause)
        return 0.0

    monkeypatch.setattr(RetryPolicy, "next_pause", next_pause)
    return wanted


def fails(client: Client, url: str) -> LlmError:
    with pytest.raises(LlmError) as caught:
        client.fetch(url)
    return caught.value


def reply_date(status: int, seconds: int) -> Callable[..., None]:
    """Answer with a date in Retry-After, so many seconds after the response."""

    def spoil(proxy: FaultProxy, connected: socket.socket) -> None:
        date = email.utils.formatdate(time.time() + seconds, usegmt=True)
        reply_status(status, Retry_After=date)(proxy, connected)

    return spoil


PASSING = {
    "408": (reply_status(408), (0.25, 1)),
    "409": (reply_status(409), (0.25, 1)),
    "425": (reply_status(425), (0.25, 1)),
    "429": (reply_status(429), (0.25, 1)),
    "429, seconds": (reply_status(429, Retry_After="1"), (1, 1.5)),
    "429, date": (reply_date(429, 2), (0.5, 2.5)),
    "500": (reply_status(500), (0.25, 1)),
    "503": (reply_status(503), (0.25, 1)),
    "503, seconds": (reply_status(503, Retry_After="1"), (1, 1.5)),
    "reset": (reset_connection, (0.25, 1)),
    "stall": (stall_body, (0.25, 1)),
    "truncated body": (truncate_body, (0.25, 1)),
}


@pytest.mark.parametrize("name", PASSING)
def test_a_fault_that_passes_is_retried(client, before, pauses, name):
    """Once, after the usual pause or the one that the server asks for; the result is complete."""
    fault, (least, most) = PASSING[name]
    proxy = before()
    proxy.faults = [fault]
    assert client.fetch(proxy.url) == client.expected
    assert len(pauses) == 1 and least <= pauses[0] <= most
    assert not proxy.faults and proxy.num_connections == 2


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        (reply_status(408), "HTTP status 408"),
        (reply_status(429), "HTTP status 429"),
        (reply_status(503), "HTTP status 503"),
        (functools.partial(truncate_body, most=0), "broke"),
        (functools.partial(reset_connection, most=0), "Connection reset"),
    ],
    ids=["408", "429", "503", "truncated body", "reset"],
)
def test_a_fault_that_lasts_ends_the_tries(client, before, pauses, fault, words):
    """After as many tries as the policy has, with 75."""
    proxy = before()
    proxy.usual = fault
    error = fails(client, proxy.url)
    assert (error.exit_code, proxy.num_connections) == (75, MAX_TRIES)
    assert words in error.detail and "Errno" not in error.detail
    assert len(pauses) == MAX_TRIES - 1 and pauses == sorted(pauses)


def test_a_long_pause_is_left_to_the_user(client, before, pauses):
    """The request is not tried again; the error knows the pause."""
    proxy = before()
    proxy.usual = reply_status(429, Retry_After="3600")
    error = fails(client, proxy.url)
    assert (error.exit_code, error.retry_after, proxy.num_connections, pauses) == (75, 3600, 1, [])


FINAL = {400: 76, 501: 76, 505: 76, 401: 77, 403: 77, 451: 77, 404: 66, 410: 66}
"""Statuses that last, and the exit codes."""


@pytest.mark.parametrize("status", FINAL)
def test_a_final_status_is_not_retried(client, before, pauses, status):
    """It has the code of what it means; for the path of a server, 404 and 410 mean a wrong request."""
    proxy = before()
    proxy.usual = reply_status(status)
    is_request = isinstance(client, ModelServer) and FINAL[status] == 66
    assert fails(client, proxy.url).exit_code == (76 if is_request else FINAL[status])
    assert (proxy.num_connections, pauses) == (1, [])


def test_an_untrusted_certificate_is_named(client, before, pauses, tmp_path):
    """In our words instead of OpenSSL's, with 76 and without another try."""
    proxy = before(certificate(tmp_path))
    error = fails(client, proxy.url)
    assert error.exit_code == 76 and proxy.num_connections == 1 and pauses == []
    assert "its certificate cannot be verified: self-signed certificate" in error.detail
    assert "_ssl.c" not in error.detail and "CERTIFICATE_VERIFY_FAILED" not in error.detail


def test_a_certificate_of_the_user_is_trusted(client, before, tmp_path, monkeypatch):
    """By ``SSL_CERT_FILE``."""
    proxy = before(certificate(tmp_path))
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "cert.pem"))
    assert client.fetch(proxy.url) == client.expected


@pytest.mark.parametrize("is_there", [False, True], ids=["missing", "empty"])
def test_unusable_certificates_are_a_setting(client, before, tmp_path, monkeypatch, is_there):
    """With 78, and the variable."""
    file = tmp_path / "none.pem"
    if is_there:
        file.write_text("")
    monkeypatch.setenv("SSL_CERT_FILE", str(file))
    error = fails(client, before(certificate(tmp_path)).url)
    assert (error.exit_code, error.subject) == (78, "SSL_CERT_FILE") and str(file) in error.detail


@pytest.mark.parametrize(
    ("status", "code", "words", "tries"),
    [
        (403, 77, "does not allow connections to that host", lambda _: 1),
        (407, 77, "does not accept the user name and password", lambda _: 1),
        (502, 75, "refused the connection: HTTP status 502", lambda client: client.tries),
    ],
)
def test_a_proxy_that_refuses(client, pauses, monkeypatch, status, code, words, tries):
    """Is named, and tried again only if it may accept later."""
    with closing(FakeProxy(client.port)) as proxy:
        proxy.usual = reply_lines(f"HTTP/1.1 {status} Refused")
        monkeypatch.setenv("HTTPS_PROXY", f"http://127.0.0.1:{proxy.port}")
        error = fails(client, "https://somewhere.invalid")
        assert error.exit_code == code and len(proxy.heads) == tries(client)
        assert words in error.detail and f"the proxy 127.0.0.1:{proxy.port}" in f"{error.subject}: {error.detail}"
    assert len(pauses) == tries(client) - 1


def test_a_server_that_does_not_listen(client, pauses):
    """Is tried as often as the policy says, and the system's number of the error is not shown."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        url = f"http://127.0.0.1:{free.getsockname()[1]}"
    error = fails(client, url)
    assert error.exit_code == 75 and "Connection refused" in error.detail and "Errno" not in error.detail
    assert len(pauses) == client.tries - 1


def test_a_server_that_hangs_up(client, before, pauses):
    """A connection that ends without an answer is a failure that may pass."""
    proxy = before()
    proxy.usual = hang_up
    error = fails(client, proxy.url)
    assert error.exit_code == 75 and "broke" in error.detail
    assert proxy.num_connections == client.tries and len(pauses) == client.tries - 1
