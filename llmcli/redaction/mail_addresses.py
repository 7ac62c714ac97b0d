"""Find mail addresses."""

from __future__ import annotations

import re
from collections.abc import Iterator

from llmcli.redaction.normalization import Range

_LOCAL_PART = re.compile(r"[\w.+%'-]")
_AT_DOMAIN = re.compile(
    r"(?:@|%40|&#64;|&#[xX]40;|&commat;|\\u0040|\s?[\[(](?:at|AT)[\])]\s?)(?:[^\W_](?:[\w-]{0,62})\.){1,8}(?:[^\W\d_]{2,63}|xn--[\w-]{2,59})"
)
_AUTHORITY = re.compile(r"://[^\s/@]{0,256}\Z")
_ESCAPE = re.compile(r"(?:u[0-9A-Fa-f]{4}|x[0-9A-Fa-f]{2}|[nrtbfv0])(?=.)")
_MAX_URL_CHARS = 260


def find_emails(text: str) -> Iterator[Range]:
    """Yield mail addresses: the local part before each ``@`` (or an escape of it), and the domain after it."""
    for match in _AT_DOMAIN.finditer(text):
        start = match.start()
        while start and _LOCAL_PART.match(text[start - 1]):
            start -= 1
        start += _escape_length(text, start)
        while start < match.start() and text[start] in ".'%-":
            start += 1
        local = text[start : match.start()]
        if local and local != "git" and not _AUTHORITY.search(text, max(0, start - _MAX_URL_CHARS), start):
            yield start, match.end()


def _escape_length(text: str, start: int) -> int:
    """Return how many characters at ``start`` belong to an escape sequence whose backslash stands before them."""
    slashes = start - len(text[:start].rstrip("\\")) if start and text[start - 1] == "\\" else 0
    match = _ESCAPE.match(text, start) if slashes % 2 else None
    return len(match.group()) if match else 0
