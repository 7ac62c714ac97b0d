"""Segments: the regions of a document that contain words, by their offsets in the document.

A format finds the regions (offsets into the text); joining replaces the translated ones. Everything else is never
changed, so a document without translations stays the same byte for byte, however the format parsed it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence

from llmcli.fast_dataclass import frozen


@frozen
class Span:
    """A part of a segment's text that must be in the translation exactly once, unchanged.

    ``kind``: "code", "url", "email", "tag", "placeholder", "link" (what opens a link), "target" (what closes it, with
    its address), "math", "reference" (a footnote mark), "entity", "break" (a significant line break), "number",
    "control".
    """

    start: int
    end: int
    kind: str


@frozen
class Edit:
    """An edit elsewhere in the document that comes with a translation: ``text`` replaces ``start`` to ``end``."""

    start: int
    end: int
    text: str


@frozen
class Segment:
    """A region of a document's text, and the text that a translator reads there."""

    start: int
    """Offsets of the region in the document's text that a translation replaces."""
    end: int
    text: str
    """Unescaped, without indent, quotes and markers; it has visible characters at both ends."""
    encode: Callable[[str], str]
    """Returns the text for the region from a translation; for ``text`` itself, it may differ from the source."""
    protected: tuple[Span, ...] = ()
    """In order, disjoint."""
    kind: str = "paragraph"
    """Or "heading", "cell", "label" (the copy of a cell in a chart), "item", "message", "cue", "attribute"."""
    path: tuple[str, ...] = ()
    """The headings or the path of keys above it: context for the model."""
    note: str = ""
    """The document's notes for translators."""
    max_width: int | None = None
    """The most characters of a line, None without a limit."""
    emphasis: bool = False
    """Whether ``*``, ``_`` and ``~~`` emphasize words in it, as in Markdown; in a message its words decide."""
    existing_translation: str | None = None
    """The translation that the document already holds; such a segment needs none."""
    damage: str = ""
    """What is wrong with it in the document, so that it is reported instead of translated."""
    extra_edits: tuple[Edit, ...] = ()
    """Edits that come with a translation of this segment (remove the fuzzy flag, set a header)."""
    fallback: tuple[int, str] | None = None
    """The text for the region if this segment has no translation but another one of its group has.

    (Number of the group, text): a message must have all of its plural forms, or none.
    """
    part: str = ""
    """The file that it is in, if the document is an archive."""


def join_segments(text: str, segments: Sequence[Segment], translations: Sequence[str | None]) -> str:
    """Return the document with the translations in their regions; None or a blank leaves a region unchanged."""
    parts, at = [], 0
    for start, end, words in find_changes(segments, translations):
        parts += [text[at:start], words]
        at = end
    return "".join([*parts, text[at:]])


def find_changes(segments: Sequence[Segment], translations: Sequence[str | None]) -> list[tuple[int, int, str]]:
    """Return the regions that change, in order, and the new text of each; None or a blank changes nothing."""
    pairs = list(zip(segments, translations, strict=True))
    done = [segment for segment, words in pairs if words and words.strip()]
    groups = {segment.fallback[0] for segment in done if segment.fallback}
    changes: list[tuple[int, int, str]] = []
    for segment, words in pairs:
        if words and words.strip():
            changes.append((segment.start, segment.end, segment.encode(words)))
        elif segment.fallback and segment.fallback[0] in groups:
            changes.append((segment.start, segment.end, segment.fallback[1]))
    changes += [(edit.start, edit.end, edit.text) for edit in {edit: None for s in done for edit in s.extra_edits}]
    changes.sort(key=lambda change: change[:2])  # stable: insertions at the same offset stay in order
    return changes


def has_letters(text: str, spans: Iterable[Span] = ()) -> bool:
    """Whether there is a letter outside of the spans."""
    at = 0
    for span in spans:
        if any(map(str.isalpha, text[at : span.start])):
            return True
        at = span.end
    return any(map(str.isalpha, text[at:]))


def split_at_protected(translation: str, wanted: Sequence[str]) -> list[tuple[str, bool]]:
    """Split a translation into protected texts (True), each as often as in ``wanted``, and the text between them."""
    found, at = [], 0
    for text in wanted:  # the usual case: all are present, in order
        start = translation.find(text, at)
        if start < 0:
            found = _find_in_any_order(translation, wanted)
            break
        at = start + len(text)
        found.append((start, at))
    parts, at = [], 0
    for start, end in found:
        if start > at:
            parts.append((translation[at:start], False))
        parts.append((translation[start:end], True))
        at = end
    return [*parts, (translation[at:], False)] if at < len(translation) else parts


def _find_in_any_order(translation: str, wanted: Sequence[str]) -> list[tuple[int, int]]:
    left = Counter(wanted)
    lengths: dict[str, list[int]] = {}
    for text in left:
        lengths.setdefault(text[:2], []).append(len(text))
    order = {head: sorted(set(sizes), reverse=True) for head, sizes in lengths.items()}
    found, at = [], 0
    while at < len(translation):
        sizes = [*order.get(translation[at : at + 2], ()), *order.get(translation[at], ())]
        size = next((size for size in sizes if left.get(translation[at : at + size], 0) > 0), 0)
        if size:
            left[translation[at : at + size]] -= 1
            found.append((at, at + size))
        at += size or 1
    return found


def protected_texts(text: str, spans: Iterable[Span]) -> tuple[str, ...]:
    """Return the protected texts."""
    return tuple(text[span.start : span.end] for span in spans)
