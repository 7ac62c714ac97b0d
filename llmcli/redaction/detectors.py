"""The table of detectors, and the search with all of them."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable

from llmcli.frozen_dataclass import frozen
from llmcli.redaction import number_formats, passwords, secret_formats, wrapped_values
from llmcli.redaction.mail_addresses import find_emails
from llmcli.redaction.normalization import NormalizedText, Range, decode_spaces, normalize
from llmcli.redaction.phone_numbers import find_phones


@frozen
class PrivateSpan:
    """A private value in a text; ``kind``: "email", "phone", "card", "iban", "key", "ip", "name", or a kind that the user defined."""

    start: int
    end: int
    kind: str


@frozen
class Detector:
    """Finds values of one kind; it runs only if the lower-case text contains one of ``needs``.

    ``decodes``: it reads the text with escaped spaces, hyphens and digits decoded.
    """

    kind: str
    find: Callable[[str], Iterable[Range]]
    needs: tuple[str, ...] = ()
    decodes: bool = False


DETECTORS = (
    Detector("key", secret_formats.find_private_keys, ("-----begin",)),
    Detector("key", secret_formats.find_keys),
    Detector("key", secret_formats.find_webhooks, ("hooks.slack",)),
    Detector("key", passwords.find_url_passwords, ("://",)),
    Detector("key", passwords.find_login_options, ("-u", "--proxy-user")),
    Detector("key", passwords.find_password_options, passwords.PASSWORD_OPTIONS),
    Detector("key", secret_formats.find_authorizations, ("bearer", "basic", "token", "apikey")),
    Detector("key", passwords.find_assigned_secrets, passwords.SECRET_WORDS),
    Detector("iban", number_formats.find_ibans, decodes=True),
    Detector("iban", wrapped_values.find_wrapped_ibans, ("\n", "\\n"), decodes=True),
    Detector("card", number_formats.find_cards, decodes=True),
    Detector("card", wrapped_values.find_wrapped_cards, ("\n", "\\n"), decodes=True),
    Detector("email", find_emails, ("@", "%40", "&#64;", "&#x40;", "&commat;", "\\u0040", "(at)", "[at]")),
    Detector("email", wrapped_values.find_wrapped_emails, ("@",)),
    Detector("key", secret_formats.find_random_tokens),
    Detector("phone", find_phones, decodes=True),
    Detector("phone", wrapped_values.find_wrapped_phones, ("\n", "\\n"), decodes=True),
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
    found = [(span.start, span.end, rank, span.kind) for rank, span in enumerate(more, -1_000_000)]
    if kinds:
        for form in normalize(text):
            found += _detect(form, kinds)
    return _merge(text, sorted(found))


def _detect(form: NormalizedText, kinds: Collection[str]) -> list[tuple[int, int, int, str]]:
    """Return the values of a text in one form: where they stand in the original, the rank of the detector and its kind."""
    lowered = secret_formats.lower(form.text)
    decoded = decode_spaces(form.text)
    found = []
    for rank, detector in enumerate(DETECTORS):
        if detector.kind in kinds and (not detector.needs or any(word in lowered for word in detector.needs)):
            read = decoded if detector.decodes else form
            for span in detector.find(read.text):
                start, end = read.original_range(*span)
                if detector.decodes:
                    start, end = form.original_range(start, end)
                found.append((start, end, rank, detector.kind))
    return found


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
