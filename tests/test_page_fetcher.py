"""Pages over real connections: redirects, limits, failures, and that the checked address is the one connected to."""

from __future__ import annotations

import gzip
import socket
import zlib
from concurrent.futures import ThreadPoolExecutor

import pytest
from fake_proxy import FakeProxy, reply_lines
from fake_server import certificate
from page_server import Page, PageServer

from llmcli import page_fetcher
from llmcli.errors import AccessDenied, BadDocument, MissingError, RemoteError, Unauthorized
from llmcli.errors.network_errors import PageUnavailable, UntrustedPage
from llmcli.network.cancellation import Cancelled
from llmcli.network.retry_policy import RetryPolicy
from llmcli.page_fetcher import PageFetcher

QUICK = RetryPolicy(max_tries=3, first_pause_s=0.001)


@pytest.fixture
def pages():
    """Return a server of pages."""
    server = PageServer()
    yield server
    server.close()


@pytest.fixture
def names(monkeypatch):
    """Return a dictionary from host names to the answers of the name server, one for each question."""
    answers: dict[str, list[list[str]]] = {}
    real = socket.getaddrinfo

    def resolve(host, port, *args, **kwargs):
        if host not in answers:
            return real(host, port, *args, **kwargs)
        found = answers[host].pop(0)
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port)) for address in found]

    monkeypatch.setattr(socket, "getaddrinfo", resolve)
    return answers


@pytest.fixture
def loopback_is_public(monkeypatch):
    """Let the server of the tests pass for one of the internet; other private addresses are still refused."""
    real = page_fetcher.is_public
    monkeypatch.setattr(page_fetcher, "is_public", lambda address: address == "127.0.0.1" or real(address))


def fetch(url, **options):
    return PageFetcher(options.pop("environ", {}), **{"allows_private": True, "retry_policy": QUICK, **options}).fetch(
        url
    )


def test_a_page_is_fetched(pages):
    """With its media type and encoding."""
    pages.pages["/a?b=c"] = Page(b"<p>words</p>", "Text/HTML; charset=ISO-8859-1")
    page = fetch(f"{pages.url}/a?b=c#part")
    assert (page.data, page.media_type, page.charset) == (b"<p>words</p>", "text/html", "iso-8859-1")
    assert pages.asked == [(f"127.0.0.1:{pages.port}", "/a?b=c")]


def test_private_addresses_are_refused(pages, names):
    """By number and by name, before a connection is made."""
    names["inside.example"] = [["127.0.0.1"]]
    for host in ("127.0.0.1", "localhost", "inside.example", "2130706433", "0x7f.1"):
        with pytest.raises(AccessDenied, match="not a public address"):
            fetch(f"http://{host}:{pages.port}/", allows_private=False)
    assert pages.asked == []


def test_each_redirect_is_checked(pages, names, loopback_is_public):
    """A page of the internet cannot send llm into a private network."""
    pages.pages["/"] = Page(status=302, fields={"Location": "http://inside.example/secret"})
    names["inside.example"] = [["10.0.0.1"]]
    with pytest.raises(AccessDenied, match="not a public address") as refused:
        fetch(f"{pages.url}/", allows_private=False)
    assert "inside.example is 10.0.0.1" in refused.value.detail


def test_a_name_is_resolved_once(pages, names, loopback_is_public):
    """The connection goes to the address that was checked, whatever the name server says next (rebinding)."""
    names["page.example"] = [["127.0.0.1"], ["10.0.0.1"]]
    pages.pages["/"] = Page(b"words")
    assert fetch(f"http://page.example:{pages.port}/", allows_private=False).data == b"words"
    assert names["page.example"] == [["10.0.0.1"]]
    assert pages.asked == [(f"page.example:{pages.port}", "/")]


def test_tls_checks_the_name_of_the_address(names, tmp_path, monkeypatch):
    """The connection goes to an IP address; the certificate has to be that of the name."""
    server = PageServer(certificate(tmp_path, "DNS:page.example"))
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "cert.pem"))
    names["page.example"] = [["127.0.0.1"]]
    names["other.example"] = [["127.0.0.1"]]
    server.pages["/"] = Page(b"words")
    try:
        assert fetch(f"https://page.example:{server.port}/").data == b"words"
        with pytest.raises(UntrustedPage) as refused:
            fetch(f"https://other.example:{server.port}/")
        assert "certificate" in refused.value.detail
        server.pages["/"] = Page(status=301, fields={"Location": "http://page.example/"})
        names["page.example"] = [["127.0.0.1"]]
        with pytest.raises(UntrustedPage) as refused:
            fetch(f"https://page.example:{server.port}/")
        assert "not encrypted" in refused.value.detail
    finally:
        server.close()


def test_redirects_are_followed(pages):
    """Relative ones too, up to a limit."""
    pages.pages["/a/b"] = Page(status=308, fields={"Location": "c"})
    pages.pages["/a/c"] = Page(b"words")
    assert fetch(f"{pages.url}/a/b").address.url == f"{pages.url}/a/c"
    pages.pages["/loop"] = Page(status=302, fields={"Location": "/loop"})
    with pytest.raises(RemoteError):
        fetch(f"{pages.url}/loop")
    assert pages.asked.count((f"127.0.0.1:{pages.port}", "/loop")) == page_fetcher.MAX_REDIRECTS + 1


@pytest.mark.parametrize("target", ["file:///etc/passwd", "ftp://a.b/", "data:text/plain,x"])
def test_a_redirect_out_of_the_web_is_refused(pages, target):
    """No file and no other protocol is read."""
    pages.pages["/"] = Page(status=302, fields={"Location": target})
    with pytest.raises(UntrustedPage):
        fetch(f"{pages.url}/")


@pytest.mark.parametrize(
    ("status", "error"),
    [
        (404, MissingError),
        (410, MissingError),
        (401, AccessDenied),
        (403, AccessDenied),
        (429, PageUnavailable),
        (503, PageUnavailable),
        (418, RemoteError),
    ],
)
def test_a_status_is_an_error(pages, status, error):
    """Each kind has its exit code."""
    pages.pages["/"] = Page(b"no", status=status)
    with pytest.raises(error) as raised:
        fetch(f"{pages.url}/")
    assert str(status) in raised.value.detail


def test_a_large_page_is_refused(pages, monkeypatch):
    """As it arrives, and as it is unpacked; a damaged one too."""
    monkeypatch.setattr(page_fetcher, "MAX_PAGE_BYTES", 1 << 20)
    pages.pages["/plain"] = Page(bytes(1 << 20) + b"+")
    pages.pages["/bomb"] = Page(gzip.compress(bytes(4 << 20)), fields={"Content-Encoding": "gzip"})
    for path in ("/plain", "/bomb"):
        with pytest.raises(BadDocument) as refused:
            fetch(pages.url + path)
        assert "larger than" in refused.value.detail
    pages.pages["/gz"] = Page(gzip.compress(b"words"), fields={"Content-Encoding": "gzip"})
    pages.pages["/z"] = Page(zlib.compress(b"words"), fields={"Content-Encoding": "deflate"})
    assert fetch(f"{pages.url}/gz").data == fetch(f"{pages.url}/z").data == b"words"
    pages.pages["/bad"] = Page(b"no gzip at all", fields={"Content-Encoding": "gzip"})
    pages.pages["/br"] = Page(b"words", fields={"Content-Encoding": "br"})
    for path in ("/bad", "/br"):
        with pytest.raises(RemoteError):
            fetch(pages.url + path)


def test_a_slow_page_ends_at_the_limit(pages):
    """A server that stops in the middle does not hold the command."""
    pages.pages["/"] = Page(b"the beginning", stalls=True, fields={"Content-Length": "1000"})
    with pytest.raises(PageUnavailable) as raised:
        fetch(f"{pages.url}/", timeout=0.1)
    assert "in time" in raised.value.detail


def test_a_broken_page_is_not_delivered(pages):
    """One that is shorter than announced is an error, since its end is missing; and one that nothing serves."""
    pages.pages["/"] = Page(b"the beginning", fields={"Content-Length": "1000", "Connection": "close"})
    with pytest.raises(PageUnavailable) as raised:
        fetch(f"{pages.url}/")
    assert "broke" in raised.value.detail
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    with pytest.raises(PageUnavailable) as raised:
        fetch(f"http://127.0.0.1:{port}/")
    assert "refused" in raised.value.detail


def test_a_proxy_gets_the_name(pages):
    """Names that only the proxy knows are left to it; private ones are refused here."""
    proxy = FakeProxy(pages.port)
    proxy.usual = reply_lines("HTTP/1.1 403 Forbidden")
    environ = {"HTTPS_PROXY": f"http://127.0.0.1:{proxy.port}"}
    try:
        with pytest.raises(AccessDenied, match="not a public address"):
            fetch("https://10.0.0.1/", environ=environ, allows_private=False)
        assert proxy.heads == []
        with pytest.raises(Unauthorized, match="does not allow connections to that host"):
            fetch("https://known.invalid/", environ=environ, allows_private=False)
        assert proxy.heads and "known.invalid" in proxy.heads[0]
    finally:
        proxy.close()


def test_a_fetch_can_be_cancelled(pages):
    """By another thread, so that a chat that was interrupted keeps no connection."""
    pages.pages["/"] = Page(b"the beginning", stalls=True, fields={"Content-Length": "1000"})
    fetcher = PageFetcher({}, allows_private=True)
    with ThreadPoolExecutor(1) as pool:
        fetching = pool.submit(fetcher.fetch, f"{pages.url}/")
        with pytest.raises(TimeoutError):
            fetching.result(0.1)
        fetcher.cancel()
        assert isinstance(fetching.exception(10), Cancelled)
