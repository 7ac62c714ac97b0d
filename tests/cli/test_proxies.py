"""Servers behind a proxy and TLS: what each of them sees, and the exit code when one of them fails."""

from __future__ import annotations

import base64
import json
import os
import subprocess
import time
from pathlib import Path

import pytest
from fake_proxy import FakeProxy, FakeSocksProxy, impersonate_server, open_tunnel, reply_lines, stall
from fake_server import FakeServer, certificate, stall_after, stream_answer
from remote_config import CANARY, configure

from llmcli.backends.remote.transport import http_client

NAME = "models.invalid"
URL = f"https://{NAME}/v1"
ASK = ("ask", "a secret question", "--backend", "there", "--no-stdin")


@pytest.fixture(scope="module")
def certified(tmp_path_factory):
    """Return a directory with a certificate for the server's name, and a context that uses it."""
    directory = tmp_path_factory.mktemp("tls")
    return directory / "cert.pem", certificate(directory, f"DNS:{NAME}")


@pytest.fixture
def behind(certified, server, monkeypatch):  # the plain server makes retries follow at once
    """Return a server with TLS that only a proxy can reach, and that proxy; its certificate is trusted."""
    secret = FakeServer(certified[1])
    secret.key = CANARY
    proxy = FakeProxy(secret.port)
    monkeypatch.setenv("HTTPS_PROXY", f"http://user:pass%20word@127.0.0.1:{proxy.port}")
    monkeypatch.setenv("SSL_CERT_FILE", str(certified[0]))
    monkeypatch.setenv("THE_KEY", CANARY)
    configure(there={"base_url": URL, "key_env": "THE_KEY", "model": "big", "context": 4096, "consent": True})
    yield secret, proxy
    proxy.close()
    secret.close()


def test_through_a_tunnel(llm, behind):
    """The proxy sees the server's name and its own password, but no key, question or answer."""
    secret, proxy = behind
    run = llm(*ASK)
    assert (run.code, run.out, run.err) == (0, "a secret question\n", "")
    (head,) = proxy.heads
    first, *fields = head.lower().split("\r\n")
    assert first.startswith(f"connect {NAME}:443 http/1.")
    assert f"proxy-authorization: basic {base64.b64encode(b'user:pass word').decode().lower()}" in fields
    for hidden in (CANARY, "secret question", "authorization: bearer"):
        assert hidden.lower() not in head.lower() and hidden.encode() not in proxy.seen
    (asked,) = secret.asked
    assert asked.path == "/v1/chat/completions" and asked.headers["host"] == NAME
    assert "proxy-authorization" not in asked.headers


def test_a_tunnel_is_kept(llm, behind, tmp_path):
    """Later requests reuse it; there are never more tunnels than concurrent requests."""
    secret, proxy = behind
    secret.usual = stream_answer("A summary.")
    files = [tmp_path / f"{number}.txt" for number in range(8)]
    for file in files:
        file.write_text("text\n")
    run = llm("summarize", "--backend", "there", *map(str, files))
    assert run.code == 0 and len(secret.chats()) == 8 and len(proxy.heads) <= 8


def test_another_port(llm, behind):
    """The port follows the host name."""
    configure(there={"base_url": f"https://{NAME}:8443/v1", "model": "big", "context": 4096, "consent": True})
    behind[0].key = ""
    assert llm(*ASK).code == 0
    assert behind[1].heads[0].startswith(f"CONNECT {NAME}:8443 ")


def test_no_proxy_is_respected(llm, behind):
    """Then the name is looked up, and does not resolve."""
    run = llm(*ASK, env={"NO_PROXY": "invalid"})
    assert run.code == 75 and "its name cannot be resolved" in run.err and behind[1].heads == []


@pytest.mark.parametrize(
    ("name", "trusted", "words"),
    [
        ("DNS:other.invalid", True, "Hostname mismatch"),
        (f"DNS:www.{NAME}", True, "Hostname mismatch"),
        (f"DNS:{NAME}", False, "self-signed certificate"),
    ],
)
def test_a_tunnel_to_another_host(llm, behind, tmp_path, monkeypatch, name, trusted, words):
    """The server at its end must prove its name: otherwise 76 at once, and it gets neither key nor question."""
    other = FakeServer(certificate(tmp_path, name))
    behind[1].port_behind = other.port
    if trusted:
        monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "cert.pem"))
    try:
        run = llm(*ASK)
    finally:
        other.close()
    assert run.code == 76 and "certificate cannot be verified" in run.err and words in run.err
    assert other.asked == [] and CANARY not in run.err and len(behind[1].heads) == 1


def test_a_directory_of_certificates(llm, behind, certified, tmp_path, monkeypatch):
    """SSL_CERT_DIR names it; its files are named by their subject's hash."""
    hashed = ["openssl", "x509", "-noout", "-subject_hash", "-in", str(certified[0])]
    name = subprocess.run(hashed, check=True, capture_output=True, text=True).stdout.strip()
    (tmp_path / f"{name}.0").symlink_to(certified[0])
    monkeypatch.delenv("SSL_CERT_FILE")
    monkeypatch.setenv("SSL_CERT_DIR", str(tmp_path))
    run = llm(*ASK)
    assert (run.code, run.out) == (0, "a secret question\n"), run.err


def test_a_certificate_does_not_verify_for_an_address(llm, server, tmp_path, monkeypatch):
    """A certificate for a name is not valid for an IP address, even if its issuer is trusted."""
    other = FakeServer(certificate(tmp_path, f"DNS:{NAME}"))
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "cert.pem"))
    try:
        run = llm("ask", "hi", "--base-url", other.url, "--no-stdin")
    finally:
        other.close()
    assert run.code == 76 and "IP address mismatch" in run.err and other.asked == []


@pytest.mark.parametrize(
    ("behaviour", "code", "words", "tries"),
    [
        (
            reply_lines("HTTP/1.1 407 Proxy Authentication Required", "Proxy-Authenticate: Basic"),
            77,
            "name and password",
            1,
        ),
        (reply_lines("HTTP/1.1 407 Basic dXNlcjpwYXNzIHdvcmQ="), 77, "HTTPS_PROXY", 1),
        (reply_lines("HTTP/1.1 403 Forbidden"), 77, "allow connections to that host", 1),
        (reply_lines("HTTP/1.1 400 Bad Request"), 76, "HTTP status 400", 1),
        (reply_lines("HTTP/1.1 302 Found", "Location: http://login.invalid/"), 76, "HTTP status 302", 1),
        (reply_lines("HTTP/1.1 502 Bad Gateway", body="<html>"), 75, "HTTP status 502", 2),
        (reply_lines("HTTP/1.1 429 Too Many Requests"), 75, "HTTP status 429", 2),
        (reply_lines("SSH-2.0-OpenSSH_9.9"), 76, "not HTTP", 1),
        (lambda _proxy, _client: None, 75, "closed connection", 2),
        (impersonate_server(), 76, "TLS failed", 1),
        (impersonate_server(b""), 75, "the connection broke", 4),
    ],
)
def test_a_proxy_that_does_not_play(llm, behind, behaviour, code, words, tries):
    """Each is one line with its code; only temporary failures are retried; no secret is shown."""
    secret, proxy = behind
    proxy.usual = behaviour
    run = llm(*ASK)
    assert (run.code, run.out) == (code, ""), run.err
    assert words in run.err and len(run.err.splitlines()) <= 2
    assert len(proxy.heads) == tries and secret.asked == []
    for hidden in (CANARY, "pass word", "pass%20word", "dXNlcjpwYXNzIHdvcmQ="):
        assert hidden not in run.err


def test_temporary_failures_are_retried_through_the_proxy(llm, behind):
    """As without a proxy."""
    behind[1].script = [reply_lines("HTTP/1.1 503 Service Unavailable")]
    assert llm(*ASK).out == "a secret question\n" and len(behind[1].heads) == 2


@pytest.mark.parametrize("url", [URL, f"http://{NAME}/v1"])
def test_an_unreachable_proxy_is_named(llm, behind, monkeypatch, url):
    """The error names the proxy, not the server."""
    configure(there={"base_url": url, "model": "big", "context": 4096, "consent": True})
    for variable in ("HTTPS_PROXY", "HTTP_PROXY"):
        monkeypatch.setenv(variable, "http://user:word@127.0.0.1:9")
    run = llm(*ASK)
    assert run.code == 75 and "the proxy 127.0.0.1:9: Connection refused" in run.err and "word@" not in run.err


def test_a_proxy_for_plain_http_that_requires_a_password(llm, server, monkeypatch):
    """The proxy answers instead of the server."""
    server.usual = lambda handler, _body: handler.give(407, b"no", "text/plain")
    configure(there={"base_url": f"http://{NAME}/v1", "model": "big", "context": 4096, "consent": True})
    monkeypatch.setenv("HTTP_PROXY", f"http://127.0.0.1:{server.port}")
    run = llm(*ASK)
    assert run.code == 77 and f"the proxy 127.0.0.1:{server.port} does not accept the key of HTTP_PROXY" in run.err


def test_a_silent_proxy_is_given_up(llm, behind, monkeypatch):
    """After the connection time-out, or earlier with --timeout."""
    behind[1].usual = stall()
    started = time.monotonic()
    assert llm(*ASK, "--timeout", "0.2").code == 124
    assert time.monotonic() - started < 5
    monkeypatch.setattr(http_client, "CONNECT_TIMEOUT_S", 0.1)
    run = llm(*ASK)
    assert run.code == 75 and "no connection within 0.1 seconds" in run.err


def test_a_tunnel_that_breaks_in_an_answer(llm, behind):
    """The text so far is printed, and the code is 75; a tunnel that breaks before the first word is reopened."""
    secret, proxy = behind
    secret.usual = stream_answer(" ".join(map(str, range(40_000))))
    proxy.usual = open_tunnel(most=30_000)
    run = llm(*ASK)
    assert run.code == 75 and 0 < len(run.out) < 200_000 and "broke off" in run.err
    secret.usual = stream_answer()
    proxy.script = [open_tunnel(most=0)]
    proxy.usual = open_tunnel()
    assert llm(*ASK).out == "a secret question\n"


def test_a_server_that_is_silent_behind_the_proxy(llm, behind):
    """The timeout of the configuration applies there too."""
    configure(there={"base_url": URL, "key_env": "THE_KEY", "model": "big", "context": 4096, "consent": True,
                     "timeout": 0.1})  # fmt: skip
    behind[0].usual = stall_after()
    run = llm(*ASK)
    assert run.code == 75 and "0.1 seconds" in run.err


def test_consent_names_the_server_not_the_proxy(llm, behind):
    """The server's host counts, not the proxy's."""
    configure(there={"base_url": URL, "model": "big", "context": 4096})
    run = llm(*ASK)
    assert run.code == 77 and NAME in run.err and behind[1].heads == []
    kept = Path(os.environ["LLMCLI_DATA_DIR"]) / "consents.json"
    kept.parent.mkdir(parents=True, exist_ok=True)
    kept.write_text(json.dumps({"hosts": {f"https://{NAME}": "2026-01-01"}}))
    behind[0].key = ""
    assert llm(*ASK).code == 0


@pytest.mark.slow
@pytest.mark.parametrize("scheme", ["http", "https"])
def test_a_proxy_with_tls(llm, certified, server, tmp_path, monkeypatch, scheme):
    """The connection to the proxy is encrypted itself; the one to the server is encrypted inside it."""
    secret = FakeServer(certified[1] if scheme == "https" else None)
    proxy_tls = certificate(tmp_path)
    trusted = tmp_path / "both.pem"
    trusted.write_text(certified[0].read_text() + (tmp_path / "cert.pem").read_text())
    configure(there={"base_url": f"{scheme}://{NAME}/v1", "model": "big", "context": 4096, "consent": True})
    monkeypatch.setenv("SSL_CERT_FILE", str(trusted))
    # a proxy for plain requests answers them itself
    proxy = FakeProxy(secret.port, proxy_tls) if scheme == "https" else FakeServer(proxy_tls)
    monkeypatch.setenv(f"{scheme.upper()}_PROXY", f"https://user:word@127.0.0.1:{proxy.port}")
    try:
        answer = " ".join(map(str, range(20_000)))
        secret.usual = stream_answer(answer)
        run = llm(*ASK)
        assert run.code == 0, run.err
        if scheme == "https":
            assert run.out == f"{answer}\n" and secret.asked[0].headers["host"] == NAME
            assert "Proxy-Authorization: Basic" in proxy.heads[0]
        else:
            assert run.out == "a secret question\n" and proxy.asked[0].headers["host"] == NAME
        monkeypatch.setenv("SSL_CERT_FILE", str(certified[0]))
        run = llm(*ASK)
        assert run.code == 76 and "certificate cannot be verified" in run.err
    finally:
        proxy.close()
        secret.close()


@pytest.mark.parametrize(("scheme", "port"), [("http", 80), ("https", 443)])
@pytest.mark.parametrize("credentials", [None, (b"user", b"pass word")])
def test_a_socks_proxy(llm, certified, server, monkeypatch, scheme, port, credentials):
    """It resolves the name of the server; one connection serves several requests."""
    secret = FakeServer(certified[1] if scheme == "https" else None)
    proxy = FakeSocksProxy(secret.port, credentials)
    configure(there={"base_url": f"{scheme}://{NAME}/v1", "model": "big", "context": 4096, "consent": True})
    login = "user:pass%20word@" if credentials else ""
    monkeypatch.setenv("ALL_PROXY", f"socks5://{login}127.0.0.1:{proxy.port}")
    monkeypatch.setenv("SSL_CERT_FILE", str(certified[0]))
    try:
        run = llm(*ASK)
        assert (run.code, run.out) == (0, "a secret question\n"), run.err
        assert proxy.targets == [(NAME, port)] and secret.asked[0].headers["host"] == NAME
        assert (b"secret question" in proxy.seen) == (scheme == "http")
        if credentials:
            monkeypatch.setenv("ALL_PROXY", f"socks5://user:other@127.0.0.1:{proxy.port}")
            run = llm(*ASK)
            assert run.code == 77 and "name and password" in run.err and "other" not in run.err
    finally:
        proxy.close()
        secret.close()


@pytest.mark.parametrize(
    ("replies", "code", "words"),
    [
        ((b"\x05\xff",), 77, "name and password"),
        ((b"\x05\x00", b"\x05\x02\x00\x01" + bytes(6)), 77, "allow connections to that host"),
        ((b"\x05\x00", b"\x05\x05\x00\x01" + bytes(6)), 75, "cannot connect to it: Connection refused"),
        ((b"\x05\x00", b"\x05\x99\x00\x01" + bytes(6)), 76, "not SOCKS5"),
        ((b"HTTP/1.1 400 Bad Request\r\n\r\n",), 76, "not SOCKS5"),
        ((b"",), 75, "closed connection"),
    ],
)
def test_a_socks_proxy_that_does_not_play(llm, server, monkeypatch, replies, code, words):
    """Each is one line with its code."""
    proxy = FakeSocksProxy(9, replies=replies)
    configure(there={"base_url": URL, "model": "big", "context": 4096, "consent": True})
    monkeypatch.setenv("ALL_PROXY", f"socks5h://127.0.0.1:{proxy.port}")
    try:
        run = llm(*ASK)
    finally:
        proxy.close()
    assert (run.code, run.out) == (code, "") and words in run.err, run.err
    assert len(run.err.splitlines()) <= 2
