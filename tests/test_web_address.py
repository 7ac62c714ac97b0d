"""Web addresses: what they are split into, and which are refused."""

from __future__ import annotations

import pytest

from llmcli.errors import UsageError
from llmcli.page_fetcher import parse_web_address


@pytest.mark.parametrize(
    ("text", "url"),
    [
        ("https://Example.ORG", "https://example.org/"),
        ("HTTP://a.b:80/x?y=1#part", "http://a.b/x?y=1"),
        ("https://a.b:8443/x", "https://a.b:8443/x"),
        ("https://a.b/ä b", "https://a.b/%C3%A4%20b"),
        ("https://a.b/%20?q=a%26b", "https://a.b/%20?q=a%26b"),
        ("https://münchen.de/", "https://xn--mnchen-3ya.de/"),
        ("http://[::1]:8080/a", "http://[::1]:8080/a"),
    ],
)
def test_an_address_has_one_form(text, url):
    """Scheme and host in lower case, no default port, no fragment, only ASCII."""
    assert parse_web_address(text).url == url


@pytest.mark.parametrize(
    "text", ["https://", "ftp://a.b/c", "https://a.b:99999/", "https://me:secret@a.b/", "https://a b/", "http://[::1"]
)
def test_other_texts_are_refused(text):
    """The error names the form that is read."""
    with pytest.raises(UsageError):
        parse_web_address(text)


def test_a_password_is_not_repeated():
    """An address with one is refused without showing it."""
    with pytest.raises(UsageError) as refused:
        parse_web_address("https://me:secret@a.b/")
    assert "secret" not in refused.value.subject + refused.value.detail


def test_a_redirect_may_be_relative():
    """It is resolved against the page."""
    page = parse_web_address("https://a.b/dir/page")
    assert page.redirect("other?x=1").url == "https://a.b/dir/other?x=1"
    assert page.redirect("//c.d/").url == "https://c.d/"
    with pytest.raises(UsageError):
        page.redirect("file:///etc/passwd")
