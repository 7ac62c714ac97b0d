"""Segments: the regions of a document that hold words, found without taking the document apart.

A format finds regions (offsets into the text); joining replaces those that were translated. All the rest is never
touched, so a document without translations is itself, byte for byte, whatever the format understood of it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Span:
    """A part of a segment's text that must come back exactly once, unchanged.

    ``kind``: "code", "url", "email", "tag", "placeholder", "link" (what opens a link), "target" (what closes it, with
    its address), "math", "reference" (a footnote's mark), "entity", "break" (a line break that counts), "number".
    """

    start: int
    end: int
    kind: str


@dataclass(frozen=True, slots=True)
class Edit:
    """A change elsewhere in the document that a translation brings along: ``text`` replaces ``start`` to ``end``."""

    start: int
    end: int
    text: str


@dataclass(frozen=True, slots=True)
class Segment:
    """A region of a document's text, and what a translator reads there."""

    start: int
    """Offsets of the region in the document's text that a translation replaces."""
    end: int
    text: str
    """Unescaped, without indent, quotes and markers; it has visible characters at both ends."""
    encode: Callable[[str], str]
    """From a translation of ``text`` to what stands in the region; of ``text`` it need not be the region as it was."""
    protected: tuple[Span, ...] = ()
    """In order, disjoint."""
    kind: str = "paragraph"
    """Or "heading", "cell", "item", "message", "cue", "attribute"."""
    path: tuple[str, ...] = ()
    """Headings above it, or keys down to it: context for the model."""
    note: str = ""
    """What the document says to translators."""
    max_width: int | None = None
    """Characters that a line may have, None where there is no limit."""
    emphasis: bool = False
    """Whether ``*``, ``_`` and ``~~`` emphasize words in it, as in Markdown."""
    existing_translation: str | None = None
    """A translation that the document holds already: it needs none."""
    extra_edits: tuple[Edit, ...] = ()
    """Edits that a translation of this segment brings along (a fuzzy flag goes, a header is set)."""
    fallback: tuple[int, str] | None = None
    """What stands in the region as long as this segment has no translation, and another one of its group has.

    (Number of the group, text): all plural forms of a message have to be there, or none.
    """


def join_segments(text: str, segments: Sequence[Segment], translations: Sequence[str | None]) -> str:
    """Return the document with the translations in their regions; where there is none (or a blank) a region stays."""
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
    changes.sort(key=lambda change: change[:2])  # stable: what is put in at one place stays in order
    parts, at = [], 0
    for start, end, words in changes:
        parts += [text[at:start], words]
        at = end
    return "".join([*parts, text[at:]])


def has_letters(text: str, spans: Iterable[Span] = ()) -> bool:
    """Whether there is a letter outside of the spans."""
    at = 0
    for span in spans:
        if any(map(str.isalpha, text[at : span.start])):
            return True
        at = span.end
    return any(map(str.isalpha, text[at:]))


def split_at_protected(translation: str, wanted: Sequence[str]) -> list[tuple[str, bool]]:
    """Cut a translation into protected texts (True), each as often as ``wanted`` has it, and what stands between."""
    found, at = [], 0
    for text in wanted:  # the usual case: all are there, in order
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
        sizes = order.get(translation[at : at + 2]) or order.get(translation[at]) or ()
        size = next((size for size in sizes if left.get(translation[at : at + size], 0) > 0), 0)
        if size:
            left[translation[at : at + size]] -= 1
            found.append((at, at + size))
        at += size or 1
    return found


def protected_texts(text: str, spans: Iterable[Span]) -> tuple[str, ...]:
    """Return the protected texts."""
    return tuple(text[span.start : span.end] for span in spans)


class LineNumbers:
    """From offsets in a text to lines, from 1."""

    def __init__(self, text: str) -> None:
        self._text = text

    def line_at(self, offset: int) -> int:
        """Return the line that the offset is in; a line ends with LF, CRLF or CR."""
        before = self._text[:offset]
        return before.count("\n") + before.count("\r") - before.count("\r\n") + 1
