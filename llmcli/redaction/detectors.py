"""The table of detectors, and the search with all of them."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import dataclass

from llmcli.redaction import number_formats, secret_formats
from llmcli.redaction.number_formats import Range


@dataclass(frozen=True, slots=True)
class PrivateSpan:
    """A private value in a text; ``kind``: "email", "phone", "card", "iban", "key", "ip", "name", or a kind that the user defined."""

    start: int
    end: int
    kind: str


@dataclass(frozen=True, slots=True)
class Detector:
    """Finds values of one kind; it runs only if the lower-case text contains one of ``needs``."""

    kind: str
    find: Callable[[str], Iterable[Range]]
    needs: tuple[str, ...] = ()


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


DETECTORS = (
    Detector("key", secret_formats.find_private_keys, ("-----begin",)),
    Detector("key", secret_formats.find_keys),
    Detector("key", secret_formats.find_webhooks, ("hooks.slack",)),
    Detector("key", secret_formats.find_url_passwords, ("://",)),
    Detector("key", secret_formats.find_login_options, ("-u", "--proxy-user")),
    Detector("key", secret_formats.find_authorizations, ("bearer", "basic", "token", "apikey")),
    Detector("key", secret_formats.find_assigned_secrets, secret_formats.SECRET_WORDS),
    Detector("iban", number_formats.find_ibans),
    Detector("card", number_formats.find_cards),
    Detector("email", find_emails, ("@", "%40", "&#64;", "&#x40;", "&commat;", "\\u0040", "(at)", "[at]")),
    Detector("key", secret_formats.find_random_tokens),
    Detector("phone", number_formats.find_phones),
    Detector("ip", number_formats.find_ip_addresses),
)
"""Ordered by priority: where two spans overlap, the kind of the first detector wins."""
KINDS = tuple(dict.fromkeys(detector.kind for detector in DETECTORS))
DEFAULT_KINDS = tuple(kind for kind in KINDS if kind != "ip")


def find_private(
    text: str, kinds: Collection[str] = DEFAULT_KINDS, more: Iterable[PrivateSpan] = ()
) -> list[PrivateSpan]:
    """Return the private values in a text, in order and disjoint; ``more``: spans found by others, which have priority.

    Overlapping spans are merged into one, of the kind with the highest priority.
    """
    lowered = secret_formats.lower(text)
    found = [(span.start, span.end, rank, span.kind) for rank, span in enumerate(more, -1_000_000)]
    for rank, detector in enumerate(DETECTORS):
        if detector.kind in kinds and (not detector.needs or any(word in lowered for word in detector.needs)):
            found += [(start, end, rank, detector.kind) for start, end in detector.find(text)]
    return _merge(text, sorted(found))


def _merge(text: str, found: list[tuple[int, int, int, str]]) -> list[PrivateSpan]:
    """Merge overlapping spans, and extend each span over digits that follow it directly."""
    merged: list[tuple[int, int, int, str]] = []
    for start, end, rank, kind in found:
        while end < len(text) and text[end].isdigit():
            end += 1  # noqa: PLW2901 (else the number of a placeholder would go on in them)
        if merged and start < merged[-1][1]:
            first, last, best, name = merged[-1]
            merged[-1] = (first, max(last, end), *min((best, name), (rank, kind)))
        else:
            merged.append((start, end, rank, kind))
    return [PrivateSpan(start, end, kind) for start, end, _, kind in merged]
