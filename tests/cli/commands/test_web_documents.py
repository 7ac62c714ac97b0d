"""Pages at web addresses as inputs of the verbs: only where the command line names them."""

from __future__ import annotations

import json

import pytest
from page_server import Page, PageServer
from scripted import all_messages
from source_files import make_pdf

ALLOWED = {"LLMCLI_WEB_ALLOW_PRIVATE": "on"}
HTML = b"<!DOCTYPE html><title>News</title><nav>menu</nav><main><p>the wanted words</p></main>"


@pytest.fixture
def pages():
    """Return a server of pages, among them one in each kind of format."""
    server = PageServer()
    server.pages["/"] = Page(HTML)
    server.pages["/latin"] = Page("<p>the wanted wörds</p>".encode("latin-1"), "text/html; charset=iso-8859-1")
    server.pages["/get?id=1.x"] = Page(make_pdf("the wanted words"), "application/pdf")
    server.pages["/report.pdf"] = Page(make_pdf("the wanted words"), "application/octet-stream")
    server.pages["/notes.md"] = Page(b"# Title\n\nthe wanted words", "text/plain")
    yield server
    server.close()


@pytest.mark.parametrize("path", ["/", "/latin", "/get?id=1.x", "/report.pdf", "/notes.md"])
def test_a_page_is_read(llm, pages, path):
    """Its main content in any format; the reference names the address."""
    url = pages.url + path
    for argv in (["summarize", url], ["ask", "Q", "-f", url], ["summarize", url.replace("http", "HTTP")]):
        run = llm(*argv, env=ALLOWED, answer=lambda _: "S")
        assert (run.code, run.out, run.err) == (0, "S\n", "")
        sent = all_messages(run.backend.requests[0])
        assert "the wanted w" in sent and "menu" not in sent and "<p>" not in sent
    assert "wörds" in sent or path != "/latin"


def test_a_reference_names_the_address(llm, pages):
    """As the user wrote it."""
    run = llm("ask", "Q", "--cite", "--json", "-f", pages.url, env=ALLOWED, answer=lambda _: "A [1]")
    assert [each["source"] for each in json.loads(run.out)["references"]] == [pages.url]


def test_check_reads_addresses(llm, pages, tmp_path):
    """As sources."""
    (tmp_path / "answer.txt").write_text("These are the wanted words.")
    argv = ["check", str(tmp_path / "answer.txt"), "--against", pages.url, "--threshold", "0"]
    run = llm(*argv, env=ALLOWED, scores=False)
    assert run.code == 0 and "wanted" in run.out and pages.url in run.out


@pytest.mark.parametrize(
    ("argv", "env"), [(["--offline"], {}), ([], {"LLMCLI_OFFLINE": "on"}), ([], {"HF_HUB_OFFLINE": "1"})]
)
def test_offline_refuses_addresses(llm, pages, argv, env):
    """With 69 and the origin of the setting, before any connection."""
    run = llm("summarize", pages.url, *argv, env={**ALLOWED, **env})
    assert (run.code, run.out, pages.asked, run.backend) == (69, "", [], None)
    assert (argv or list(env))[0] in run.err


def test_private_addresses_need_the_setting(llm, pages):
    """77, with the setting; an error of one address leaves the other inputs whole."""
    run = llm("summarize", pages.url)
    assert (run.code, run.out, pages.asked) == (77, "", []) and "web.allow_private" in run.err
    run = llm("summarize", pages.url, f"{pages.url}/none", env=ALLOWED, answer=lambda _: "S")
    assert run.code == 3 and "S\n" in run.out and "404" in run.err


@pytest.mark.parametrize(
    ("page", "code", "said"),
    [
        (Page(b"\x89PNG\r\n\x1a\n\0\0", "image/png"), 65, "PNG"),
        (Page(b"%PDF-1.7 and no more", "text/html"), 65, ""),
        (Page(HTML, "application/pdf"), 65, "not a PDF document, but an HTML page"),
        (Page(b"<script>go()</script>"), 65, "empty"),
        (Page(b"no", status=503), 75, "503"),
        (Page(b"no", status=404), 66, "404"),
        (Page(b"no", status=403), 77, "403"),
        (Page(status=302, fields={"Location": "file:///etc/passwd"}), 76, "redirects"),
    ],
)
def test_what_cannot_be_read_has_its_code(llm, pages, page, code, said):
    """One line with the address, and what to do next."""
    pages.pages["/"] = page
    run = llm("summarize", pages.url + "/", env=ALLOWED)
    assert (run.code, run.out) == (code, "")
    assert pages.url in run.err and said in run.err and "Traceback" not in run.err and len(run.err.splitlines()) <= 2


def test_a_busy_page_says_when_to_come_back(llm, pages):
    """A pause that exceeds the time for a page is left to you."""
    pages.pages["/"] = Page(b"", status=429, fields={"Retry-After": "90"})
    run = llm("summarize", pages.url + "/", env=ALLOWED)
    assert run.code == 75 and "Try again in 90 seconds." in run.err and len(pages.asked) == 1


def test_an_address_inside_a_text_is_never_fetched(llm, pages, tmp_path):
    """Neither in a document, nor in the question, nor in an answer."""
    (tmp_path / "notes.txt").write_text(f"See {pages.url}/ for more.\n")
    (tmp_path / "page.html").write_text(f'<img src="{pages.url}/"><iframe src="{pages.url}/"></iframe><p>x</p>')
    for argv in (
        ["summarize", "notes.txt", "page.html"],
        ["ask", f"What is at {pages.url}/ ?", "-f", "notes.txt"],
        ["ask", f"{pages.url}/"],
    ):
        named = [str(tmp_path / each) if each.startswith(("notes", "page")) else each for each in argv]
        run = llm(*named, env=ALLOWED, answer=lambda _: f"Look at {pages.url}/")
        assert run.code == 0
    assert llm("ask", stdin=f"{pages.url}/".encode(), env=ALLOWED).code == 0
    assert pages.asked == []
