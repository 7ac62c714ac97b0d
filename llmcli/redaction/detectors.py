"""The search for private values with all formats."""

from __future__ import annotations

import functools
from collections.abc import Collection, Iterable

from llmcli.fast_dataclass import frozen, replace
from llmcli.redaction import issuer_tokens
from llmcli.redaction.format import Format
from llmcli.redaction.format_table import all_formats
from llmcli.redaction.normalization import NormalizedText, decode_spaces, normalize
from llmcli.redaction.published_examples import is_published_example
from llmcli.redaction.text_index import TextIndex


@frozen
class PrivateSpan:
    """A private value in a text.

    ``kind``: "email", "phone", "card", "iban", "id", "key", "ip", "name", or a kind that the user defined.
    """

    start: int
    end: int
    kind: str


_FINDS_TOKENS = Format("tokens of issuers", "", "", "", "", find=issuer_tokens.find_tokens)
"""All formats of tokens at once."""


@functools.cache
def _detectors() -> tuple[Format, ...]:
    """Return the formats that have a function of their own; one function finds the tokens of all issuers."""
    formats = all_formats()
    shared: dict[object, Format] = {}
    for each in formats[2:]:
        if each.find is not None:
            known = shared.get(each.find, each)
            context = tuple(dict.fromkeys(known.context + each.context)) if known.context and each.context else ()
            shared[each.find] = replace(known, context=context)
    return (*formats[:2], _FINDS_TOKENS, *shared.values())


KINDS = ("key", "iban", "card", "email", "phone", "id", "ip")
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
    """Return the values of a text in one form: their place in the original, the detector's rank and its kind."""
    decoded = decode_spaces(form.text)
    index = TextIndex(form.text)
    decoded_index = index if decoded.text == form.text else TextIndex(decoded.text)
    found = []
    for rank, detector in enumerate(_detectors()):
        if (
            detector.kind in kinds
            and detector.find is not None
            and (not detector.context or index.has_any(detector.context))
        ):
            read, read_index = (decoded, decoded_index) if detector.decodes else (form, index)
            for span in detector.find(read_index):
                if is_published_example(read.text[slice(*span)], detector.kind):
                    continue
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
