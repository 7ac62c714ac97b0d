"""Segments: the regions of a document that hold words, found without taking the document apart.

A format finds regions (offsets into the text); joining replaces those that were translated. All the rest is never
touched, so a document without translations is itself, byte for byte, whatever the format understood of it.
"""

from __future__ import annotations

import re
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


_NEWLINES = re.compile("\r\n?|[\x0b\x0c\x85\u2028\u2029]")
_CONTROLS = re.compile("[\x00-\x08\x0e-\x1f\x7f-\x9f\ud800-\udfff\ufeff\ufffe\uffff]")
_ESCAPE_SEQUENCES = re.compile("\x1b(?:\\][^\x07\x1b]*(?:\x07|\x1b\\\\)?|\\[[0-?]*[ -/]*[@-~]|[@-Z\\\\-_])")
"""What drives a terminal (ECMA-48)."""
_BREAKABLE_BLANKS = re.compile(r"[^\S\u00a0\u202f]+")
"""White space but for blanks that hold words together, as French has them before a colon."""
_EMPTY_LINES = re.compile(r"[^\S\n]*\n\s*")


def clean_translation(text: str) -> str:
    r"""Return a translation without characters that no document should hold, its lines ending with "\n"."""
    return _CONTROLS.sub("", _NEWLINES.sub("\n", _ESCAPE_SEQUENCES.sub("", text)))


def detect_newline(text: str) -> str:
    """Return what ends the lines of a document, for lines that a translation adds."""
    if "\r\n" in text:
        return "\r\n"
    return "\r" if "\r" in text and "\n" not in text else "\n"


def collapse_whitespace(text: str) -> str:
    """Return the text with one blank for each run of white space; blanks that hold words together stay."""
    return _BREAKABLE_BLANKS.sub(" ", text)


def remove_empty_lines(text: str) -> str:
    """Return the text without empty lines and without blanks around its line ends."""
    return _EMPTY_LINES.sub("\n", text)


class LineNormalizer:
    """Cleans parts of a translation, one after the other, so that it has no line ends where its source has none.

    Nor more empty lines than that: those too many become line ends.
    """

    def __init__(self, source: str) -> None:
        ends = [match.group().count("\n") for match in _EMPTY_LINES.finditer(clean_translation(source))]
        self._has_newlines = bool(ends)
        self._empty_lines_left = sum(count > 1 for count in ends)

    def __call__(self, text: str) -> str:
        """Return the next part as it may stand."""
        return _EMPTY_LINES.sub(self._replace_line_end, clean_translation(text))

    def _replace_line_end(self, match: re.Match[str]) -> str:
        if not self._has_newlines:
            return " "
        if match.group().count("\n") == 1:
            return match.group()
        self._empty_lines_left -= 1
        return match.group() if self._empty_lines_left >= 0 else "\n"


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
