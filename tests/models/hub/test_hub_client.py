"""Requests to the Hub: what is sent, how responses are parsed, and the error of every failure."""

from __future__ import annotations

import hashlib
import os
import signal
import socket
import threading

import pytest
from fake_hub import QUICK_RETRIES, REPO, Fault

from llmcli.errors import AccessDenied, ConfigError, Interrupted, MissingError, RemoteError, TemporaryFailure
from llmcli.errors.network_errors import HubUnreachable
from llmcli.interrupt import Interrupt
from llmcli.models.hub.hub_client import HubClient, RemoteFile, ResponseHead
from llmcli.network.transfers import DownloadRetryPolicy


@pytest.fixture
def client(hub):
    """Return a client of a Hub that has one file."""
    hub.repos[REPO] = {"tiny.Q8_0.gguf": b"content"}
    return HubClient(os.environ, QUICK_RETRIES)


def fails(client, error, interrupt=None):
    with pytest.raises(error) as caught:
        client.list_repository(REPO, interrupt or Interrupt())
    return caught.value


def test_listing(client, interrupt):
    """Files with an announced hash are listed with size and hash, at a commit."""
    listing = client.list_repository(REPO, interrupt)
    digest = hashlib.sha256(b"content").hexdigest()
    assert listing.revision == "c" * 40
    assert listing.files == (RemoteFile("tiny.Q8_0.gguf", 7, digest),)


def test_nothing_else_is_requested(hub, client, interrupt):
    """Only the paths that the user's command needs are requested: no telemetry, no registry."""
    client.list_repository(REPO, interrupt)
    list(client.stream_file(REPO, "c" * 40, "tiny.Q8_0.gguf", 0, interrupt))
    assert hub.paths("hub") == [f"/api/models/{REPO}", f"/{REPO}/resolve/{'c' * 40}/tiny.Q8_0.gguf"]
    assert len(hub.paths("storage")) == 1


def test_token(hub, client, monkeypatch, interrupt):
    """The token of the environment is sent to the Hub."""
    hub.token = "hf_secret"
    monkeypatch.setenv("HF_TOKEN", " hf_secret\n")
    assert HubClient(os.environ, QUICK_RETRIES).list_repository(REPO, interrupt).files


def test_token_file(hub, client, tmp_path, interrupt):
    """The token of the standard file is sent to the Hub."""
    hub.token = "hf_secret"
    home = tmp_path / "home" / "huggingface"
    home.mkdir(parents=True)
    (home / "token").write_text("hf_secret\n")
    assert HubClient(os.environ, QUICK_RETRIES).list_repository(REPO, interrupt).files


def test_token_stays(hub, client, monkeypatch, interrupt):
    """The token does not follow a redirect to another host."""
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    list(HubClient(os.environ, QUICK_RETRIES).stream_file(REPO, "c" * 40, "tiny.Q8_0.gguf", 0, interrupt))
    sent = {asked.server: asked.headers.get("authorization") for asked in hub.asked}
    assert sent == {"hub": "Bearer hf_secret", "storage": None}


def test_impossible_token(hub, monkeypatch):
    """A token that cannot be sent is a configuration error that does not show the token."""
    monkeypatch.setenv("HF_TOKEN", "hf_sec\u00e9ret")
    with pytest.raises(ConfigError) as caught:
        HubClient(os.environ, QUICK_RETRIES)
    assert "sec" not in str(caught.value)


def test_stream(client, interrupt):
    """The bytes of a file come after the head of the response, whose headers include the redirect's."""
    head, *chunks = client.stream_file(REPO, "c" * 40, "tiny.Q8_0.gguf", 3, interrupt)
    assert isinstance(head, ResponseHead)
    assert (head.status, head.headers["content-range"], b"".join(chunks)) == (206, "bytes 3-6/7", b"tent")
    assert hashlib.sha256(b"content").hexdigest() in head.headers["x-linked-etag"]


def test_refused_connection(monkeypatch, interrupt):
    """A Hub that refuses connections is unreachable: 75."""
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        monkeypatch.setenv("HF_ENDPOINT", f"http://127.0.0.1:{unused.getsockname()[1]}")
        error = fails(HubClient(os.environ, QUICK_RETRIES), HubUnreachable)
    assert error.exit_code == 75
    assert "127.0.0.1" in error.detail


def test_no_answer(hub, client):
    """A Hub that accepts the connection but does not answer is unreachable too."""
    hub.listing_faults = [Fault(silent=True)]
    fails(HubClient(os.environ, DownloadRetryPolicy(response_timeout_s=0.1)), HubUnreachable)


def test_interrupted(hub, client):
    """A signal is noticed while the Hub does not answer."""
    hub.listing_faults = [Fault(silent=True)]
    interrupt = Interrupt()
    interrupt.set(signal.SIGINT)
    fails(HubClient(os.environ, DownloadRetryPolicy(response_timeout_s=60)), Interrupted, interrupt=interrupt)


def test_missing_repository(hub, client):
    """A repository that does not exist is missing (66), although the Hub answers 401 without a token."""
    hub.repos.clear()
    error = fails(client, MissingError)
    assert (error.kind, error.subject) == ("repository", REPO)


def test_missing_file(client, interrupt):
    """A file that is not in the repository is missing, as a file."""
    with pytest.raises(MissingError) as caught:
        list(client.stream_file(REPO, "c" * 40, "no.gguf", 0, interrupt))
    assert (caught.value.kind, caught.value.subject) == ("file", f"{REPO}/no.gguf")


@pytest.mark.parametrize(
    ("status", "headers"),
    [
        (401, {"X_Error_Message": "Invalid credentials in Authorization header"}),
        (403, {"X_Error_Code": "GatedRepo"}),
        (401, {"X_Error_Code": "GatedRepo"}),
        (403, {}),
    ],
)
def test_access(hub, client, status, headers):
    """Wrong tokens and gated repositories are 77, with the address to ask for access."""
    hub.listing_faults = [Fault(status=status, headers=headers)]
    error = fails(client, AccessDenied)
    assert (error.exit_code, error.url) == (77, f"{hub.endpoint}/{REPO}")


def test_gated_file(hub, client, interrupt):
    """A repository that can be listed but is gated reports this when a file is requested."""
    hub.file_faults = [Fault(status=403, headers={"X_Error_Code": "GatedRepo", "X_Error_Message": "accept it"})]
    with pytest.raises(AccessDenied) as caught:
        list(client.stream_file(REPO, "c" * 40, "tiny.Q8_0.gguf", 0, interrupt))
    assert (caught.value.url, caught.value.detail) == (f"{hub.endpoint}/{REPO}", "accept it")


@pytest.mark.parametrize("token", ["", "hf_mine"])
def test_gated_repository(hub, client, monkeypatch, interrupt, token):
    """A gated repository can be listed; a download says where to accept its terms."""
    hub.gated.add(REPO)
    monkeypatch.setenv("HF_TOKEN", token)
    mine = HubClient(os.environ, QUICK_RETRIES)
    assert mine.list_repository(REPO, interrupt).files
    with pytest.raises(AccessDenied) as caught:
        list(mine.stream_file(REPO, "c" * 40, "tiny.Q8_0.gguf", 0, interrupt))
    assert caught.value.url == f"{hub.endpoint}/{REPO}"


def test_wrong_token(hub, client, monkeypatch):
    """An unknown token needs no terms to be accepted: 77 without an address."""
    hub.token = "hf_secret"
    monkeypatch.setenv("HF_TOKEN", "hf_wrong")
    error = fails(HubClient(os.environ, QUICK_RETRIES), AccessDenied)
    assert (error.exit_code, error.url) == (77, "")
    assert "hf_wrong" not in str(error)


@pytest.mark.parametrize("status", [429, 500, 502, 503])
def test_a_server_that_recovers_is_asked_again(hub, client, interrupt, status):
    """A server that recovers is asked again."""
    hub.listing_faults = [Fault(status=status), Fault(status=status)]
    assert client.list_repository(REPO, interrupt).files
    assert len(hub.asked) == 3


@pytest.mark.parametrize("status", [429, 500])
def test_retries_are_bounded(hub, client, status):
    """A server that does not recover is 75 after the maximum number of attempts."""
    hub.listing_faults = [Fault(status=status)] * 10
    assert fails(client, TemporaryFailure).exit_code == 75
    assert len(hub.asked) == QUICK_RETRIES.max_tries


def test_retry_after(hub, client):
    """A server that asks for too long a pause is not asked again, and the pause is reported."""
    hub.listing_faults = [Fault(status=429, headers={"Retry_After": "7200"})]
    assert fails(client, TemporaryFailure).retry_after == 7200
    assert len(hub.asked) == 1


def test_portal(hub, client):
    """A login page instead of the listing is 76, in one sentence."""
    hub.listing_faults = [Fault(portal="html")]
    error = fails(client, RemoteError)
    assert (error.exit_code, error.detail) == (76, f"{hub.endpoint} does not answer like the Hub")


def test_no_commit(hub, client):
    """A listing without a commit is 76."""
    hub.commit = "main"
    fails(client, RemoteError)


def test_wrong_endpoint(monkeypatch):
    """An HF_ENDPOINT that is not an address is a configuration error."""
    monkeypatch.setenv("HF_ENDPOINT", "hub.example")
    assert fails(HubClient(os.environ, QUICK_RETRIES), ConfigError).subject == "HF_ENDPOINT"


def test_an_answer_that_is_not_http(interrupt):
    """The response of such a server is quoted without Python's notation."""
    with socket.create_server(("127.0.0.1", 0)) as server:

        def answer():
            with server.accept()[0] as connection:
                connection.recv(65536)
                connection.sendall(b"garbage\r\n\r\n")

        thread = threading.Thread(target=answer)
        thread.start()
        client = HubClient({"HF_ENDPOINT": f"http://127.0.0.1:{server.getsockname()[1]}"}, QUICK_RETRIES)
        error = fails(client, HubUnreachable, interrupt)
        thread.join()
    assert "garbage" in error.detail and "bytearray" not in error.detail
