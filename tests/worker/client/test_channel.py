"""Connections to a worker's socket, and single requests."""

from __future__ import annotations

import socket
import tempfile
import threading
from pathlib import Path

import pytest

from llmcli.errors import AccessDenied, RemoteError
from llmcli.worker.client import channel
from llmcli.worker.client.channel import WorkerGone, connect_socket, is_listening, request_json


@pytest.fixture
def listening():
    """Yield a socket that listens at a short path."""
    with tempfile.TemporaryDirectory(dir="/tmp") as directory, socket.socket(socket.AF_UNIX) as made:
        made.bind(f"{directory}/s")
        made.listen(8)
        yield made


def answering(listening, answer):
    """Answer the next request with these bytes; return a list that will contain the request."""
    heard = []

    def serve():
        connected, _ = listening.accept()
        with connected:
            heard.append(connected.recv(1 << 16))
            connected.sendall(answer)

    threading.Thread(target=serve, daemon=True).start()
    return heard


def test_a_request_is_answered_in_json(listening):
    """The body of the request is JSON too."""
    heard = answering(listening, b'HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n{"ends": true}')
    assert request_json(listening.getsockname(), "POST", "/llm/stop", {"a": 1}) == {"ends": True}
    assert heard[0].startswith(b"POST /llm/stop HTTP/1.1\r\n") and heard[0].endswith(b'\r\n\r\n{"a": 1}')


@pytest.mark.parametrize("answer", [b"HTTP/1.1 500 No\r\n\r\n{}", b"HTTP/1.1 200 OK\r\n\r\n<html>"])
def test_an_unexpected_response_is_an_error(listening, answer):
    """Another status, or invalid JSON."""
    answering(listening, answer)
    with pytest.raises(RemoteError):
        request_json(listening.getsockname(), "GET", "/llm/status")


@pytest.mark.parametrize("answer", [b"", b"what?\r\n\r\n"])
def test_no_answer_means_that_the_worker_is_gone(listening, answer):
    """It has ended, or is not a worker."""
    answering(listening, answer)
    with pytest.raises(WorkerGone):
        request_json(listening.getsockname(), "GET", "/llm/status")


def test_a_socket_without_a_listener_is_reported(listening):
    """Its process ended without removing it."""
    path = listening.getsockname()
    assert is_listening(path)
    listening.close()
    assert Path(path).exists() and not is_listening(path)
    with pytest.raises(WorkerGone):
        connect_socket(path)


def test_a_listener_of_another_user_is_refused(listening, monkeypatch):
    """It gets no byte."""
    monkeypatch.setattr(channel, "peer_credentials", lambda _: (1, -1))
    with pytest.raises(AccessDenied):
        connect_socket(listening.getsockname())
    assert is_listening(listening.getsockname())
